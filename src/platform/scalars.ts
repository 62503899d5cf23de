import { type ASTNode, GraphQLError, GraphQLScalarType, Kind, print, valueFromASTUntyped } from 'graphql';
import { Decimal, parseDecimal } from '../domain/decimal.js';
import { isCurrency } from '../domain/money.js';

/** A scalar that is a string on the wire. */
interface StringScalar<T> {
  name: string;
  description: string;
  /** Ends the sentence "DateTime is 'x', expected …". */
  expected: string;
  /** Are JSON integers taken too? They must be safe integers: beyond those JSON.parse has already lost digits. */
  takesIntegers?: boolean;
  /** `undefined` for text that is none of these. */
  read(text: string): T | undefined;
  /** `undefined` for a value that is none of these. */
  write(value: unknown): string | undefined;
}

/**
 * Input that doesn't fit is a GraphQLError with `extensions.code` INVALID. Output that doesn't fit is our own fault, not
 * the caller's, so it is a TypeError, which the doors report as INTERNAL.
 */
function defineScalar<T>(spec: StringScalar<T>): GraphQLScalarType<T, string> {
  const { name, description, expected, takesIntegers, read, write } = spec;
  const parse = (text: string | undefined, found: string, nodes?: ASTNode): T => {
    const value = text === undefined ? undefined : read(text);
    if (value !== undefined) return value;
    const hint = takesIntegers && /^-?\d/.test(found) ? `; quote it ("${found}"): a JSON number is not exact` : '';
    throw new GraphQLError(`${name} is ${found}, expected ${expected}${hint}`, {
      nodes,
      extensions: { code: 'INVALID' },
    });
  };
  return new GraphQLScalarType<T, string>({
    name,
    description,
    serialize(value) {
      const text = write(value);
      if (text === undefined) throw new TypeError(`${name} can't print ${show(value)}`);
      return text;
    },
    parseValue(value) {
      const isInteger = takesIntegers && Number.isSafeInteger(value);
      return parse(typeof value === 'string' ? value : isInteger ? String(value) : undefined, show(value));
    },
    parseLiteral(node) {
      const isText = node.kind === Kind.STRING || (takesIntegers && node.kind === Kind.INT);
      return parse(isText ? node.value : undefined, shorten(print(node)), node);
    },
  });
}

const shorten = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

const show = (value: unknown): string =>
  shorten(
    typeof value === 'object'
      ? (JSON.stringify(value) ?? 'undefined')
      : typeof value === 'string'
        ? `"${value}"`
        : String(value),
  );

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;
const calendarDate = /^\d{4}-\d\d-\d\d$/;
const plainDecimal = /^-?\d+(\.\d+)?$/;
const integer = /^-?(0|[1-9]\d{0,18})$/;

/**
 * `undefined` where Temporal throws: no such day or hour. It also reads more than RFC 3339 (calendars, zones, basic
 * format), so each caller matches a pattern first.
 */
function tryTemporal<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

const readDate = (text: string): string | undefined =>
  calendarDate.test(text) ? tryTemporal(() => Temporal.PlainDate.from(text).toString()) : undefined;

const readBigInt = (text: string): bigint | undefined =>
  integer.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? BigInt(text) : undefined;

/** RFC 3339; `undefined` for text that is no instant. */
export const parseInstant = (text: string): Date | undefined =>
  instant.test(text) ? tryTemporal(() => new Date(Temporal.Instant.from(text).epochMilliseconds)) : undefined;

/** A `Date` inside; printed in UTC with milliseconds. What is finer than a millisecond is cut off (`timestamptz(3)`). */
export const DateTime = defineScalar<Date>({
  name: 'DateTime',
  description: 'RFC 3339 instant, UTC',
  expected: 'an RFC 3339 instant with an offset or Z, such as "2026-11-22T21:45:00.000Z"',
  read: parseInstant,
  write: (value) => {
    if (!(value instanceof Date) || Number.isNaN(value.getTime())) return undefined;
    const text = value.toISOString();
    return instant.test(text) ? text : undefined;
  },
});

/** The string `YYYY-MM-DD` inside, too. Not called Date, like the global. */
export const CalendarDate = defineScalar<string>({
  name: 'Date',
  description: "Calendar date in the account's time zone",
  expected: 'a calendar date that exists, such as "2026-11-22"',
  read: readDate,
  write: (value) => (typeof value === 'string' ? readDate(value) : undefined),
});

/** A Decimal inside. A string (a `numeric` column, `majorUnits`) is printed as it is, so that "49.00" keeps its zeros. */
export const DecimalScalar = defineScalar<Decimal>({
  name: 'Decimal',
  description: 'Exact decimal in a JSON string, e.g. "45.7"',
  expected: 'a decimal with at most 20 digits before the point and 12 after it, such as "45.7"',
  takesIntegers: true,
  read: parseDecimal,
  write: (value) => {
    if (typeof value === 'string') return plainDecimal.test(value) ? value : undefined;
    return Decimal.isDecimal(value) && value.isFinite() ? value.toFixed() : undefined;
  },
});

/** A bigint inside, or the string that PostgreSQL's driver makes of a `bigint` column. */
export const BigIntScalar = defineScalar<bigint>({
  name: 'BigInt',
  description: 'Signed 64-bit integer in a JSON string',
  expected: 'an integer between -2^63 and 2^63 - 1, such as "4900"',
  takesIntegers: true,
  read: readBigInt,
  write: (value) =>
    typeof value === 'bigint' || typeof value === 'string' ? readBigInt(value.toString())?.toString() : undefined,
});

export const CurrencyScalar = defineScalar<string>({
  name: 'Currency',
  description: 'ISO 4217 code',
  expected: 'a string with an ISO 4217 code in capitals, such as "EUR"',
  read: (text) => (isCurrency(text) ? text : undefined),
  write: (value) => (typeof value === 'string' && isCurrency(value) ? value : undefined),
});

/** Any JSON value. A literal may hold variables; one that isn't given is left out. */
export const JSONScalar = new GraphQLScalarType<unknown, unknown>({
  name: 'JSON',
  parseValue: (value) => value,
  parseLiteral: (node, variables) => valueFromASTUntyped(node, variables),
});
