import { z } from 'zod';
import { isRawNumber, type RawNumber } from './rawNumber.js';

/** What the shapes of the REST API are made of: each checks a value of our own answers, and says in JSON Schema what it is. */

const digits = (id: string, pattern: RegExp, description: string) =>
  z
    .custom<RawNumber>((value) => isRawNumber(value) && pattern.test(value.rawJSON), 'expected a number as we write it')
    // JSON Schema knows nothing of a number that keeps its digits.
    .meta({ id, type: 'number', description });

/** Major units with exactly the currency's decimals. */
export const amount = digits(
  'Amount',
  /^-?(0|[1-9]\d*)(\.\d{2,4})?$/,
  'Major units with all decimals of the currency: 49.00 USD, 1500 JPY, 1.250 KWD. Read it as a decimal, not as a float.',
);

/** A quantity, a price of one, a rate: as many decimals as it has. */
export const decimal = digits('Decimal', /^-?(0|[1-9]\d*)(\.\d*[1-9])?$/, 'An exact decimal');

/** A count. As a JavaScript number, or as the log has it. */
export const whole = z
  .custom<number | RawNumber>(
    (value) => Number.isSafeInteger(value) || (isRawNumber(value) && /^-?\d+$/.test(value.rawJSON)),
    'expected a whole number',
  )
  .meta({ type: 'integer' });

/** A TypeID: `inv_` and 26 characters. */
export const id = (prefix: string) => z.string().regex(new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`));

export const instant = z.iso.datetime({ precision: 3 });
/** A day of the account's calendar. */
export const day = z.iso.date();
export const currency = z
  .string()
  .regex(/^[A-Z]{3}$/)
  .meta({ description: 'ISO 4217' });
export const text = z.string();
export const flag = z.boolean();

/** What the API calls one of our states: `PAST_DUE` is `past_due`. */
export const lowerCase = <Text extends string>(name: Text): Lowercase<Text> => name.toLowerCase() as Lowercase<Text>;

/**
 * JSON Schema (draft 2020-12) of a shape. Further members are allowed, though we send none: a receiver must bear those that a
 * later version adds.
 */
export function jsonSchemaOf(shape: z.ZodType, io: 'input' | 'output' = 'output'): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(shape, { io, unrepresentable: 'any' });
  return tidy(schema) as JsonSchema;
}

/** Says the same in less: the format without the expression behind it, `null` as a type among types. */
function tidy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidy);
  if (typeof value !== 'object' || value === null) return value;
  const schema = Object.fromEntries(Object.entries(value).map(([key, of]) => [key, tidy(of)]));
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  if (typeof schema.format === 'string') delete schema.pattern;
  const [some, none] = Array.isArray(schema.anyOf) ? schema.anyOf : [];
  if (typeof some?.type !== 'string' || some.enum || none?.type !== 'null') return schema;
  const { anyOf: _, ...rest } = schema;
  return { ...some, ...rest, type: [some.type, 'null'] };
}

export type JsonSchema = Readonly<Record<string, unknown>>;
