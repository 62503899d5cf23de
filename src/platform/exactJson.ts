import { Decimal } from '../domain/decimal.js';

/** A number kept as it is written; `JSON.stringify` prints `rawJSON` as it stands. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** What ES2026 adds to JSON (TC39 "JSON.parse source text access") and TypeScript's library doesn't declare yet. */
const json = JSON as unknown as {
  rawJSON(text: string): RawNumber;
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
};

/** `rawNumber('49.00')` is printed as 49.00, which a JavaScript number can't be. Throws a SyntaxError if it isn't JSON. */
export const rawNumber = (decimal: string): RawNumber => json.rawJSON(decimal);

/** `JSON.parse` that keeps every number as a RawNumber with the digits of the text. Throws a SyntaxError. */
export const parseExact = (text: string): unknown =>
  json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? rawNumber(source) : value,
  );

/** Prints what `parseExact` read, and RawNumbers put in by hand, with the same digits. */
export const stringifyExact = (value: unknown): string => JSON.stringify(value);

/** Raw numbers have no prototype, which nothing else in parsed JSON lacks. */
export const isRawNumber = (value: unknown): value is RawNumber =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;

/** A number's own digits, with a short exponent (JSON.stringify(1e-7) has one) written out; a longer one is left to fail. */
export const plainDigits = ({ rawJSON }: RawNumber): string =>
  /e[+-]?\d\d?$/i.test(rawJSON) ? new Decimal(rawJSON).toFixed() : rawJSON;
