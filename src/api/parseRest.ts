import { z } from 'zod';
import { isRawNumber, plainDigits, type RawNumber } from '../platform/exactJson.js';
import { type IdKind, idPrefixes, uuidOf } from '../platform/ids.js';
import type { CorrectionInput } from '../usage/parseCorrection.js';
import type { UsageEventInput } from '../usage/recordUsage.js';
import { timestampOf } from '../usage/usageEvent.js';
import { InvalidRequest, type Mistake } from './problem.js';

/** How the body of a route is read. Members that aren't listed are ignored: older callers may send more. */
export interface Body<Input> {
  readonly members: readonly string[];
  /** What it reads, for those who describe it. */
  readonly schema: z.ZodType;
  /** Throws InvalidRequest with all mistakes, each with its JSON pointer. */
  read(json: unknown): Input;
}

const body = <Shape extends z.ZodRawShape>(shape: Shape): Body<z.output<z.ZodObject<Shape>>> => {
  const schema = z.object(shape);
  return { members: Object.keys(shape), schema, read: (json) => checked(schema, json, pointerAt('')) };
};

/** Reads the query of a URL, each mistake with its parameter. */
export const readQuery = <Output>(schema: z.ZodType<Output>, query: unknown): Output =>
  checked(schema, query, (path) => ({ parameter: String(path[0]) }));

type Place = { pointer: string } | { parameter: string };

const pointerAt =
  (prefix: string) =>
  (path: readonly PropertyKey[]): Place => ({
    pointer: prefix + path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''),
  });

function checked<Output>(
  schema: z.ZodType<Output>,
  value: unknown,
  placeOf: (path: readonly PropertyKey[]) => Place,
): Output {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [first, ...others] = result.error.issues.map(
    ({ path, message }): Mistake => ({ ...placeOf(path), detail: message }),
  );
  throw new InvalidRequest([first!, ...others.slice(0, 19)]);
}

const expected = (what: string) => ({
  error: ({ input }: { input?: unknown }) => `expected ${what}, found ${found(input)}`,
});
function found(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return value.length > 40 ? `'${value.slice(0, 40)}…'` : `'${value}'`;
  if (Array.isArray(value)) return 'a list';
  if (isRawNumber(value)) return value.rawJSON;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
const shortText = expected('a text of 1 to 255 characters');
const text = z.string(shortText).min(1, shortText).max(255, shortText);
const longText = z.string(expected('a text'));
const orNothing = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);
const oneOf = <const Names extends readonly [string, ...string[]]>(names: Names, fallback: Uppercase<Names[number]>) =>
  z
    .enum(names, expected(`one of ${names.join(', ')}`))
    .nullish()
    .transform((name) => (name?.toUpperCase() as Uppercase<Names[number]> | undefined) ?? fallback);

/** A decimal as plain digits. A number may have an exponent (JSON.stringify(1e-7) has); a use case judges the rest. */
const decimal = z
  .union(
    [z.string(), z.custom<RawNumber>(isRawNumber).meta({ type: 'number' })],
    expected('a number, or a decimal in a string, such as "49.00"'),
  )
  .transform((value) => (typeof value === 'string' ? value : plainDigits(value)));

const quantityText = expected('a whole number from 1 to 1000000');
/** A number or plain digits; how many there may be, the use case says. */
const quantity = orNothing(decimal.refine((digits) => /^[1-9]\d{0,6}$/.test(digits), quantityText).transform(Number));

export const subscribeBody = body({ plan_id: text, quantity, payment_method_id: orNothing(text) });
export const changePlanBody = body({
  plan_id: text,
  quantity,
  timing: oneOf(['auto', 'immediate', 'period_end'], 'AUTO'),
  proration: oneOf(['per_day', 'per_second', 'none'], 'PER_DAY'),
});
export const paymentMethodBody = body({ type: text, token: text });
export const topUpBody = body({ amount: decimal, payment_method_id: orNothing(text), currency: orNothing(text) });
export const autoRechargeBody = body({
  enabled: z.boolean(expected('true or false')),
  threshold: orNothing(decimal),
  amount: orNothing(decimal),
  monthly_limit: decimal.nullish(),
});
const eventFilter = orNothing(z.array(text, expected('a list of event types')));
export const webhookBody = body({ url: longText, events: eventFilter });
export const updateWebhookBody = body({
  url: orNothing(longText),
  events: eventFilter,
  enabled: orNothing(z.boolean(expected('true or false'))),
});
export const testWebhookBody = body({ type: orNothing(text) });

const instant = z
  .string(expected('an RFC 3339 instant'))
  .transform(timestampOf)
  .refine((at) => !Number.isNaN(at.getTime()), 'expected an RFC 3339 instant such as 2026-04-01T00:00:00Z');
export const createClockBody = body({ now: instant });
export const advanceClockBody = body({ to: instant });
export const redeliverBody = body({
  from: instant,
  to: orNothing(instant),
  only_failed: orNothing(z.boolean(expected('true or false'))),
});

const properties = z
  .custom<object>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value),
    expected('an object'),
  )
  .meta({ type: 'object' });
const usageEvent = z
  .object(
    {
      transaction_id: longText,
      metric: longText,
      value: orNothing(decimal),
      timestamp: orNothing(longText),
      properties: orNothing(properties),
      account_id: orNothing(longText),
    },
    expected('a usage event'),
  )
  .transform(
    ({ transaction_id, account_id, timestamp, ...rest }): UsageEventInput => ({
      ...rest,
      transactionId: transaction_id,
      accountId: account_id,
      timestamp: timestamp === undefined ? undefined : timestampOf(timestamp),
    }),
  );
const usageEvents = z.array(usageEvent, expected('a list of usage events'));

/** `{"events": […]}`, a list of events (which ndjson is), or a single one. */
export const usageEventsBody: Body<UsageEventInput[]> = {
  members: ['events'],
  schema: z.union([z.object({ events: usageEvents }), usageEvents, usageEvent]),
  read: (json) => {
    if (Array.isArray(json)) return checked(usageEvents, json, pointerAt(''));
    if (typeof json === 'object' && json !== null && 'events' in json) {
      return checked(usageEvents, json.events, pointerAt('/events'));
    }
    return [checked(usageEvent, json, pointerAt(''))];
  },
};

const usageCorrection = z
  .object(
    {
      transaction_id: longText,
      action: z.enum(['void', 'replace'], expected('one of void, replace')),
      value: orNothing(decimal),
      timestamp: orNothing(longText),
      properties: orNothing(properties),
      reason: orNothing(longText),
    },
    expected('a correction'),
  )
  .transform(
    ({ transaction_id, action, timestamp, ...rest }): CorrectionInput => ({
      ...rest,
      transactionId: transaction_id,
      action: action === 'void' ? 'VOID' : 'REPLACE',
      timestamp: timestamp === undefined ? undefined : timestampOf(timestamp),
    }),
  );
export const usageCorrectionsBody = body({ corrections: z.array(usageCorrection, expected('a list of corrections')) });

const wholeNumber = (most: number) => {
  const what = expected(`a whole number from 1 to ${most}`);
  return z
    .string(what)
    .regex(/^[1-9]\d{0,3}$/, what)
    .transform(Number)
    .refine((n) => n <= most, what);
};
/** A list without `limit` is as long as lists get: the guide's callers don't know of pages. */
const limit = wholeNumber(100).default(100);

/** `?limit=&after=`, where `after` is the id of the last item seen; its uuid is the cursor. */
export const pageQuery = (kind: IdKind) =>
  z.object({
    limit,
    after: z
      .string(expected('one id'))
      .refine((id) => uuidOf(kind, id) !== undefined, expected(`an id such as ${idPrefixes[kind]}_…`))
      .transform((id) => uuidOf(kind, id))
      .optional(),
  });

const statuses = ['draft', 'open', 'paid', 'uncollectible', 'void'] as const;

/** `status` may be given more than once, or as a list with commas. */
export const invoicesQuery = pageQuery('invoice').extend({
  status: z
    .preprocess(
      (value) => (value === undefined ? undefined : [value].flat().flatMap((names) => String(names).split(','))),
      z.array(z.enum(statuses, expected(`one of ${statuses.join(', ')}`))).optional(),
    )
    .transform((names) => names?.map((name) => name.toUpperCase() as Uppercase<typeof name>))
    .meta({ type: 'string', description: `One or more of ${statuses.join(', ')}, with commas between` }),
});

/** `after` is the `sequence` of the last event seen; without it the log is read from its beginning. */
export const eventsQuery = z.object({
  limit,
  after: z
    .string(expected('one sequence'))
    .regex(/^\d{1,18}$/, expected('the sequence of an event'))
    .transform(BigInt)
    .optional(),
});

export const cancelQuery = z.object({ timing: oneOf(['immediate', 'period_end'], 'PERIOD_END') });

const months = expected('a number of months from 1m to 24m');
export const historyQuery = z.object({
  period: z
    .string(months)
    .regex(/^([1-9]|1\d|2[0-4])m$/, months)
    .default('6m')
    .transform((period) => Number.parseInt(period, 10)),
});
