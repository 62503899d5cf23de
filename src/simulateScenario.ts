import { z } from 'zod';
import { dunningEnds } from './account/account.entity.js';
import { type Catalog, parseCatalog } from './catalog/catalogFile.js';
import { parseDecimal } from './domain/decimal.js';
import { BillingError } from './domain/errors.js';
import { isEventType } from './domain/events.js';
import { isCurrency } from './domain/money.js';
import { isTimeZone } from './domain/period.js';
import { readYaml } from './platform/yamlFile.js';
import { timestampOf } from './usage/usageEvent.js';

const text = z.string().min(1);
const instant = z
  .string()
  .transform(timestampOf)
  .refine((at) => !Number.isNaN(at.getTime()), 'expected an RFC 3339 instant such as 2026-04-01T00:00:00Z');
const decimal = z
  .string()
  .refine((value) => parseDecimal(value) !== undefined, 'expected a plain decimal such as 49.00');
const whole = (min: number, max = 1_000_000) => z.coerce.number().int().min(min).max(max);
const flag = z.enum(['true', 'false'], 'expected true or false').transform((value) => value === 'true');
const upper = z.string().transform((value) => value.toUpperCase());
const nothing = z.union([z.null(), z.strictObject({})]).transform(() => ({}));
const oneOf = <const Names extends readonly string[]>(names: Names) =>
  z.preprocess((value) => (typeof value === 'string' ? value.toUpperCase() : value), z.enum(names));

const settings = z.strictObject({
  grace_hours: whole(0, 72).optional(),
  retry_days: z.array(whole(1, 60)).optional(),
  dunning_end: z.enum(dunningEnds).optional(),
  tax_exempt: flag.optional(),
  tax_rates: z.array(z.strictObject({ name: text, percent: decimal, inclusive: flag.default(false) })).optional(),
});
export type ScenarioSettings = z.output<typeof settings>;

const line = z.strictObject({
  description: text.optional(),
  amount: decimal.optional(),
  discount: decimal.optional(),
  quantity: decimal.optional(),
  period: z.tuple([instant, instant]).optional(),
});
const invoice = z.strictObject({
  number: whole(1),
  status: upper.optional(),
  subtotal: decimal.optional(),
  discount: decimal.optional(),
  tax: decimal.optional(),
  total: decimal.optional(),
  credit: decimal.optional(),
  wallet: decimal.optional(),
  paid: decimal.optional(),
  due: decimal.optional(),
  issued_at: instant.optional(),
  paid_at: instant.nullish(),
  next_attempt: instant.nullish(),
  failed_attempts: whole(0).optional(),
  period: z.tuple([instant, instant]).optional(),
  lines: z.array(line).optional(),
});
export type ExpectedInvoice = z.output<typeof invoice>;

const creditNote = z.strictObject({
  number: whole(1),
  status: upper.optional(),
  total: decimal.optional(),
  tax: decimal.optional(),
  /** The parts of the total: what lowered its invoice's debt, went back to cards and to the wallet, and is left as credit. */
  applied: decimal.optional(),
  refunded: decimal.optional(),
  to_wallet: decimal.optional(),
  balance: decimal.optional(),
});
export type ExpectedCreditNote = z.output<typeof creditNote>;

const proposal = z.strictObject({
  kind: oneOf(['CREDIT_NOTE', 'EXTRA_LINE']),
  metric: text.optional(),
  previous: decimal.optional(),
  corrected: decimal.optional(),
  /** What to book. */
  amount: decimal.optional(),
});

const expectation = z.strictObject({
  subscription: z
    .strictObject({
      status: upper.optional(),
      plan: text.optional(),
      quantity: whole(1).optional(),
      period: z.tuple([instant, instant]).optional(),
      pending_plan: text.nullish(),
      cancel_at: instant.nullish(),
      canceled_at: instant.nullish(),
      trial_ends_at: instant.nullish(),
    })
    .optional(),
  /** Metric → used. */
  usage: z.record(text, decimal).optional(),
  wallet: z
    .strictObject({
      balance: decimal.optional(),
      held: decimal.optional(),
      available: decimal.optional(),
      /** What is left of each grant, in the order in which they came. */
      grants: z.array(decimal).optional(),
    })
    .optional(),
  /** Of the step before. */
  error: upper.optional(),
  /** All of them, in order. */
  invoices: z.array(invoice).optional(),
  credit_notes: z.array(creditNote).optional(),
  /** Of the last correction of usage. */
  proposals: z.array(proposal).optional(),
  /** What cards have paid so far. */
  charged: decimal.optional(),
  /** Types since the last expectation of events, in order; with `subset` others may stand between. */
  events: z.array(z.string().refine(isEventType, 'expected the type of an event')).optional(),
  subset: flag.optional(),
  ledger: z.literal('sound').optional(),
});
export type Expectation = z.output<typeof expectation>;

const usageEvent = z.strictObject({
  metric: text,
  value: decimal.optional(),
  id: text.optional(),
  at: instant.optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
});
const timing = oneOf(['AUTO', 'IMMEDIATE', 'PERIOD_END']);
const span = z.strictObject({ days: whole(0).default(0), hours: whole(0).default(0), minutes: whole(0).default(0) });

/** Every step there is, with what it takes. A step does what its namesake among the use cases does. */
const stepSchemas = {
  card: z.union([
    text.transform((token) => ({ token, default: true })),
    z.strictObject({ token: text, default: flag.default(true) }),
  ]),
  subscribe: z.strictObject({ plan: text, quantity: whole(1).optional(), coupon: text.optional() }),
  change_plan: z.strictObject({
    plan: text,
    quantity: whole(1).optional(),
    timing: timing.default('AUTO'),
    proration: oneOf(['PER_DAY', 'PER_SECOND', 'NONE']).default('PER_DAY'),
  }),
  cancel: z.union([
    nothing.transform(() => ({ timing: 'PERIOD_END' as const })),
    z.strictObject({ timing: oneOf(['IMMEDIATE', 'PERIOD_END']).default('PERIOD_END') }),
  ]),
  undo: nothing,
  pause: z.union([
    nothing.transform(() => ({ resume_at: undefined })),
    z.strictObject({ resume_at: instant.optional() }),
  ]),
  resume: nothing,
  publish: z.strictObject({ plan: text, price: decimal }),
  migrate: z.strictObject({ plan: text, timing: oneOf(['IMMEDIATE', 'PERIOD_END']).default('PERIOD_END') }),
  usage: z.array(usageEvent).min(1),
  correct_usage: z
    .array(z.strictObject({ id: text, action: oneOf(['VOID', 'REPLACE']), value: decimal.optional() }))
    .min(1),
  top_up: decimal,
  grant: z.strictObject({ amount: decimal, expires_at: instant.optional(), priority: whole(0, 100).optional() }),
  hold: z.strictObject({ amount: decimal, expires_at: instant.optional() }),
  capture: z.strictObject({ hold: whole(1), amount: decimal.optional() }),
  release: whole(1),
  refund_top_up: z.strictObject({ top_up: whole(1), amount: decimal.optional() }),
  auto_recharge: z.strictObject({
    enabled: flag.default(true),
    threshold: decimal.optional(),
    amount: decimal.optional(),
    monthly_limit: decimal.nullish(),
  }),
  low_balance: decimal,
  apply_coupon: text,
  remove_coupon: z.union([nothing.transform(() => null), text]),
  invoice_item: z.strictObject({ description: text, amount: decimal }),
  create_invoice: nothing,
  credit_note: z.strictObject({
    invoice: whole(1),
    kind: oneOf(['CREDIT', 'REFUND']).default('CREDIT'),
    lines: z
      .union([z.literal('all'), z.array(z.strictObject({ line: whole(1), amount: decimal.optional() }))])
      .default('all'),
  }),
  void_credit_note: whole(1),
  pay_invoice: whole(1),
  settings,
  /** A span of time, an instant, or to the end of the subscription's period. */
  advance: z.union([z.literal('period'), instant, span]),
  expect: expectation,
} as const;

export type StepName = keyof typeof stepSchemas;
export type StepArgs = { [Name in StepName]: z.output<(typeof stepSchemas)[Name]> };
const stepNames = Object.keys(stepSchemas) as StepName[];

/** `- undo` is short for `- undo:`. */
const step = z
  .preprocess(
    (value) => (typeof value === 'string' ? { [value]: null } : value),
    z.strictObject({
      at: instant.optional(),
      ...(Object.fromEntries(stepNames.map((name) => [name, stepSchemas[name].optional()])) as {
        [Name in StepName]: z.ZodOptional<(typeof stepSchemas)[Name]>;
      }),
    }),
  )
  .refine(
    (one) => stepNames.filter((name) => one[name] !== undefined).length === 1,
    `expected one of ${stepNames.join(', ')}, and beside it at most 'at'`,
  );

const scenario = z.strictObject({
  name: text,
  /** Why the numbers are what they are: worked out by hand, not copied from a run. */
  arithmetic: text,
  account: z
    .strictObject({
      currency: z.string().refine(isCurrency, 'expected an ISO 4217 code such as USD').default('USD'),
      time_zone: z.string().refine(isTimeZone, 'expected an IANA time zone such as Europe/Berlin').default('UTC'),
      settings: settings.default({}),
    })
    .default({ currency: 'USD', time_zone: 'UTC', settings: {} }),
  catalog: z.unknown().refine((value) => value != null, 'expected metrics and plans, as in billing plan example'),
  start: instant,
  steps: z.array(step).min(1),
});

/** One step: first the clock goes to `at`, then `name` is done with `args`. */
export type ScenarioStep = {
  [Name in StepName]: { name: Name; args: StepArgs[Name]; at: Date | undefined; place: Place };
}[StepName];

/** Where things stand in the file. */
export interface Place {
  /** Of the step. */
  line: number;
  /** Of a part of the step's arguments, `['invoices', 1, 'total']`. */
  lineOf(path: readonly PropertyKey[]): number;
}

export interface Scenario {
  name: string;
  account: { currency: string; timeZone: string; settings: ScenarioSettings };
  catalog: Catalog;
  start: Date;
  steps: ScenarioStep[];
}

/** Reads a scenario from YAML. Throws INVALID with every mistake, each with its line. */
export function parseScenario(yaml: string): Scenario {
  const { data, lineOf } = readYaml(yaml, scenario);
  return {
    name: data.name,
    account: {
      currency: data.account.currency,
      timeZone: data.account.time_zone,
      settings: data.account.settings,
    },
    catalog: catalogOf(yaml, lineOf(['catalog'])!),
    start: data.start,
    steps: data.steps.map((one, i): ScenarioStep => {
      const name = stepNames.find((known) => one[known] !== undefined)!;
      const line = lineOf(['steps', i]) ?? 1;
      const place: Place = { line, lineOf: (path) => lineOf(['steps', i, name, ...path]) ?? line };
      return { name, args: one[name], at: one.at, place } as ScenarioStep;
    }),
  };
}

/** The catalog is read by its own rules: from its lines alone, with empty ones before them so that places stay right. */
function catalogOf(yaml: string, line: number): Catalog {
  const lines = yaml.split('\n');
  const end = lines.findIndex((one, i) => i >= line && /^\S/.test(one) && !one.startsWith('#'));
  const own = lines.slice(line - 1, end < 0 ? undefined : end);
  if (/^\S/.test(own[0]!))
    throw new BillingError('INVALID', `line ${line}: catalog: expected metrics and plans on lines of their own`);
  return parseCatalog([...lines.slice(0, line - 1).map(() => ''), ...own].join('\n'));
}
