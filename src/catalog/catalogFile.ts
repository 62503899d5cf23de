import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { Decimal, parseDecimal } from '../domain/decimal.js';
import { BillingError } from '../domain/errors.js';
import { isCurrency, parseMoney } from '../domain/money.js';
import { aggregations, intervals, overagePolicies } from './plan.entity.js';

const code = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, 'expected lower-case letters, digits and _, starting with a letter');
/** Amounts are read as text, so that 49.00 never becomes a binary float. */
const decimal = z.string().refine((text) => parseDecimal(text) !== undefined, 'expected a plain decimal such as 49.00');
const supportedAggregations: readonly string[] = ['COUNT', 'SUM', 'MAX', 'LATEST'];
const oneOf = <const T extends readonly string[]>(names: T) =>
  z.preprocess((value) => (typeof value === 'string' ? value.toUpperCase() : value), z.enum(names));
const whole = (min: number) => z.coerce.number().int().min(min).max(1_000);

const metric = z.strictObject({
  code,
  name: z.string().min(1),
  unit: code.optional(),
  aggregation: oneOf(aggregations).refine((a) => supportedAggregations.includes(a), {
    error: (issue) =>
      `${String(issue.input)} is not supported yet; expected one of ${supportedAggregations.join(', ')}`,
  }),
});

const limitedFeature = z
  .strictObject({
    /** Absent or null: unlimited. */
    limit: decimal.refine((text) => !text.startsWith('-'), 'expected zero or more').nullish(),
    overage: oneOf(overagePolicies).optional(),
    unit_price: decimal.refine((text) => !text.startsWith('-'), 'expected zero or more').optional(),
  })
  .refine((f) => f.overage !== 'CHARGE' || f.unit_price !== undefined, {
    path: ['unit_price'],
    error: 'overage: charge needs a unit_price',
  })
  .refine((f) => f.overage === 'CHARGE' || f.unit_price === undefined, {
    path: ['unit_price'],
    error: 'unit_price needs overage: charge',
  });

const plan = z.strictObject({
  code,
  name: z.string().min(1),
  price: decimal.refine((text) => !text.startsWith('-'), 'expected zero or more'),
  currency: z.string().refine(isCurrency, 'expected an ISO 4217 code such as USD'),
  interval: oneOf(intervals),
  interval_count: whole(1).default(1),
  trial_days: whole(0).default(0),
  /** Feature key (`storage_gb`) → its limit, or the limit with what happens beyond it. */
  features: z.record(code, z.union([decimal.transform((limit) => ({ limit })), limitedFeature])).default({}),
});

const catalog = z.strictObject({
  metrics: z.array(metric).default([]),
  features: z.array(z.strictObject({ code, name: z.string().min(1) })).default([]),
  plans: z.array(plan).min(1),
});

export interface CatalogFeature {
  code: string;
  name: string;
  metricCode: string | null;
  limit: string | null;
  overage: (typeof overagePolicies)[number];
  unitPrice: string | null;
}
export interface CatalogPlan {
  code: string;
  name: string;
  priceMinor: bigint;
  currency: string;
  interval: (typeof intervals)[number];
  intervalCount: number;
  trialDays: number;
  features: CatalogFeature[];
}
export interface CatalogMetric {
  code: string;
  name: string;
  unit: string | null;
  aggregation: (typeof aggregations)[number];
}
export interface Catalog {
  metrics: CatalogMetric[];
  plans: CatalogPlan[];
}

/**
 * Reads a catalog from YAML. Throws INVALID with every mistake, each with its place (`line 12: plans.0.price: …`).
 * A plan's feature is a metric's key (code, `_`, unit) or a feature without a metric from `features`.
 */
export function parseCatalog(yaml: string): Catalog {
  const lines = new LineCounter();
  const document = parseDocument(yaml, { lineCounter: lines, schema: 'failsafe', prettyErrors: true });
  if (document.errors.length > 0) throw new BillingError('INVALID', document.errors.map((e) => e.message).join('\n'));
  const parsed = catalog.safeParse(nullsOf(document.toJS()));
  const mistakes: string[] = [];
  const placeOf = (path: readonly PropertyKey[]): string => {
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as { range?: [number, number, number] } | undefined;
      if (node?.range) return `line ${lines.linePos(node.range[0]).line}: `;
    }
    return '';
  };
  const mistake = (path: readonly PropertyKey[], message: string): void => {
    mistakes.push(`${placeOf(path)}${path.join('.')}: ${message}`);
  };
  for (const issue of parsed.error?.issues ?? []) mistake(issue.path, issue.message);
  if (!parsed.data) throw new BillingError('INVALID', mistakes.join('\n'));

  const byKey = new Map<string, { name: string; metricCode: string | null }>();
  const define = (path: PropertyKey[], key: string, name: string, metricCode: string | null): void => {
    if (byKey.has(key)) mistake(path, `'${key}' is defined twice`);
    byKey.set(key, { name, metricCode });
  };
  for (const [i, m] of parsed.data.metrics.entries()) define(['metrics', i, 'code'], featureKey(m), m.name, m.code);
  for (const [i, f] of parsed.data.features.entries()) define(['features', i, 'code'], f.code, f.name, null);

  const plans = parsed.data.plans.map((p, i): CatalogPlan => {
    if (parsed.data.plans.findIndex((other) => other.code === p.code) !== i)
      mistake(['plans', i, 'code'], `'${p.code}' is defined twice`);
    return {
      code: p.code,
      name: p.name,
      priceMinor: priceOf(p.price, p.currency, (message) => mistake(['plans', i, 'price'], message)),
      currency: p.currency,
      interval: p.interval,
      intervalCount: p.interval_count,
      trialDays: p.trial_days,
      features: Object.entries(p.features).map(([key, feature]): CatalogFeature => {
        const defined = byKey.get(key);
        if (!defined)
          mistake(['plans', i, 'features', key], `unknown feature; expected one of ${[...byKey.keys()].join(', ')}`);
        const { overage, unit_price } = feature as { overage?: CatalogFeature['overage']; unit_price?: string };
        return {
          code: key,
          name: defined?.name ?? key,
          metricCode: defined?.metricCode ?? null,
          limit: feature.limit == null ? null : new Decimal(feature.limit).toFixed(),
          overage: overage ?? (feature.limit == null ? 'ALLOW' : 'BLOCK'),
          unitPrice: unit_price === undefined ? null : new Decimal(unit_price).toFixed(),
        };
      }),
    };
  });
  if (mistakes.length > 0) throw new BillingError('INVALID', mistakes.join('\n'));
  const metrics = parsed.data.metrics.map((m) => ({
    code: m.code,
    name: m.name,
    unit: m.unit ?? null,
    aggregation: m.aggregation,
  }));
  return { metrics, plans };
}

/** `storage` in `gb` → `storage_gb`; a metric without a unit is its own key. */
export const featureKey = ({ code, unit }: { code: string; unit?: string | null | undefined }): string =>
  unit ? `${code}_${unit}` : code;

function priceOf(price: string, currency: string, mistake: (message: string) => void): bigint {
  try {
    return parseMoney(price, currency).minorUnits;
  } catch (error) {
    mistake((error as Error).message);
    return 0n;
  }
}

/** The failsafe schema reads every scalar as text; an empty one or `null` means none. */
function nullsOf(value: unknown): unknown {
  if (value === '' || value === 'null' || value === '~') return null;
  if (Array.isArray(value)) return value.map(nullsOf);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, nullsOf(part)]));
}
