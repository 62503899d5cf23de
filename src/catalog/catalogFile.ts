import { z } from 'zod';
import { isCurrency, parseMoney } from '../domain/money.js';
import type { ChargeModel } from '../domain/rating.js';
import { readYaml } from '../platform/yamlFile.js';
import { chargeInFile, unitCharge } from './chargeFile.js';
import { type CatalogCoupon, couponInFile } from './couponFile.js';
import { atLeastZero, canonical, code, oneOf, whole } from './fileValues.js';
import { aggregations, billingAnchors, intervals, overagePolicies } from './plan.entity.js';

const metric = z
  .strictObject({
    code,
    name: z.string().min(1),
    unit: code.optional(),
    aggregation: oneOf(aggregations),
    /** With UNIQUE: the event property whose values are counted. */
    property: z.string().min(1).max(200).optional(),
  })
  .superRefine(({ aggregation, property }, { addIssue }) => {
    const mistake = (message: string): void => addIssue({ code: 'custom', path: ['property'], message });
    if (aggregation === 'UNIQUE' && property === undefined)
      mistake('aggregation: unique needs the property whose values it counts, such as user_id');
    if (aggregation !== 'UNIQUE' && property !== undefined) mistake('property needs aggregation: unique');
  });

const grantedFeature = z
  .strictObject({
    /** Absent or null: unlimited; what is charged is then charged from the first unit. */
    limit: atLeastZero.nullish(),
    overage: oneOf(overagePolicies).optional(),
    /** Short for a charge of the model `unit`. */
    unit_price: atLeastZero.optional(),
    charge: chargeInFile.optional(),
  })
  .superRefine(({ overage, unit_price, charge }, { addIssue }) => {
    const mistake = (field: string, message: string): void => addIssue({ code: 'custom', path: [field], message });
    if (unit_price !== undefined && charge !== undefined) mistake('charge', 'expected unit_price or charge, not both');
    if (overage === 'CHARGE' && unit_price === undefined && charge === undefined)
      mistake('unit_price', 'overage: charge needs a unit_price or a charge');
    if (overage !== 'CHARGE' && unit_price !== undefined) mistake('unit_price', 'unit_price needs overage: charge');
    if (overage !== undefined && overage !== 'CHARGE' && charge !== undefined)
      mistake('charge', `charge needs overage: charge, and not ${overage.toLowerCase()}`);
  });

const plan = z.strictObject({
  code,
  name: z.string().min(1),
  price: atLeastZero,
  currency: z.string().refine(isCurrency, 'expected an ISO 4217 code such as USD'),
  interval: oneOf(intervals),
  interval_count: whole(1).default(1),
  trial_days: whole(0).default(0),
  anchor: oneOf(billingAnchors).default('ANNIVERSARY'),
  minimum_spend: atLeastZero.optional(),
  /** Feature key (`storage_gb`) → its limit, or the limit with what happens beyond it. */
  features: z
    .record(
      code,
      z.preprocess((value) => (typeof value === 'string' ? { limit: value } : value), grantedFeature),
    )
    .default({}),
});

const catalog = z
  .strictObject({
    metrics: z.array(metric).default([]),
    features: z.array(z.strictObject({ code, name: z.string().min(1) })).default([]),
    plans: z.array(plan).default([]),
    coupons: z.array(couponInFile).default([]),
  })
  .refine(({ plans, coupons }) => plans.length + coupons.length > 0, {
    path: ['plans'],
    error: 'expected at least one plan or coupon',
  });

export interface CatalogFeature {
  code: string;
  name: string;
  metricCode: string | null;
  limit: string | null;
  overage: (typeof overagePolicies)[number];
  /** Only with CHARGE. */
  charge: ChargeModel | null;
}
export interface CatalogPlan {
  code: string;
  name: string;
  priceMinor: bigint;
  currency: string;
  interval: (typeof intervals)[number];
  intervalCount: number;
  trialDays: number;
  anchor: (typeof billingAnchors)[number];
  minimumSpendMinor: bigint | null;
  features: CatalogFeature[];
}
export interface CatalogMetric {
  code: string;
  name: string;
  unit: string | null;
  aggregation: (typeof aggregations)[number];
  property: string | null;
}
export interface Catalog {
  metrics: CatalogMetric[];
  plans: CatalogPlan[];
  coupons: CatalogCoupon[];
}

/**
 * Reads a catalog from YAML. Throws INVALID with every mistake, each with its place (`line 12: plans.0.price: …`).
 * A plan's feature is a metric's key (code, `_`, unit) or a feature without a metric from `features`.
 */
export function parseCatalog(yaml: string): Catalog {
  const { data, mistake, refuse } = readYaml(yaml, catalog);

  const byKey = new Map<string, { name: string; metricCode: string | null }>();
  const define = (path: PropertyKey[], key: string, name: string, metricCode: string | null): void => {
    if (byKey.has(key)) mistake(path, `'${key}' is defined twice`);
    byKey.set(key, { name, metricCode });
  };
  for (const [i, m] of data.metrics.entries()) define(['metrics', i, 'code'], featureKey(m), m.name, m.code);
  for (const [i, f] of data.features.entries()) define(['features', i, 'code'], f.code, f.name, null);

  const { plans: plansInFile, coupons } = data;
  const onlyOnce = (list: 'plans' | 'coupons', codes: readonly string[]): void => {
    for (const [i, each] of codes.entries())
      if (codes.indexOf(each) !== i) mistake([list, i, 'code'], `'${each}' is defined twice`);
  };
  onlyOnce(
    'plans',
    plansInFile.map((p) => p.code),
  );
  onlyOnce(
    'coupons',
    coupons.map((c) => c.code),
  );

  const plans = plansInFile.map((p, i): CatalogPlan => {
    const minorOf = (field: 'price' | 'minimum_spend', amount: string): bigint =>
      priceOf(amount, p.currency, (message) => mistake(['plans', i, field], message));
    return {
      code: p.code,
      name: p.name,
      priceMinor: minorOf('price', p.price),
      currency: p.currency,
      interval: p.interval,
      intervalCount: p.interval_count,
      trialDays: p.trial_days,
      anchor: p.anchor,
      minimumSpendMinor: minorOf('minimum_spend', p.minimum_spend ?? '0') || null,
      features: Object.entries(p.features).map(([key, { limit, overage, unit_price, charge }]): CatalogFeature => {
        const defined = byKey.get(key);
        if (!defined)
          mistake(['plans', i, 'features', key], `unknown feature; expected one of ${[...byKey.keys()].join(', ')}`);
        const charged = charge ?? (unit_price === undefined ? null : unitCharge(canonical(unit_price)));
        if (charged && defined?.metricCode === null)
          mistake(['plans', i, 'features', key], 'has no metric, so there is nothing to charge for');
        return {
          code: key,
          name: defined?.name ?? key,
          metricCode: defined?.metricCode ?? null,
          limit: limit == null ? null : canonical(limit),
          overage: overage ?? (charged ? 'CHARGE' : limit == null ? 'ALLOW' : 'BLOCK'),
          charge: charged,
        };
      }),
    };
  });
  refuse();
  const metrics = data.metrics.map((m) => ({
    code: m.code,
    name: m.name,
    unit: m.unit ?? null,
    aggregation: m.aggregation,
    property: m.property ?? null,
  }));
  return { metrics, plans, coupons };
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
