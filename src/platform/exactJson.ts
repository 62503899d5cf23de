import { Decimal } from '../domain/decimal.js';
import { type RawNumber, rawNumber } from '../domain/rawNumber.js';

export { isRawNumber, type RawNumber, rawNumber } from '../domain/rawNumber.js';

/** What ES2026 adds to `JSON.parse` (TC39 "JSON.parse source text access") and TypeScript's library doesn't declare yet. */
const json = JSON as unknown as {
  parse(text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
};

/** `JSON.parse` that keeps every number as a RawNumber with the digits of the text. Throws a SyntaxError. */
export const parseExact = (text: string): unknown =>
  json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? rawNumber(source) : value,
  );

/** Prints what `parseExact` read, and RawNumbers put in by hand, with the same digits. */
export const stringifyExact = (value: unknown): string => JSON.stringify(value);

/** A number's own digits, with a short exponent (JSON.stringify(1e-7) has one) written out; a longer one is left to fail. */
export const plainDigits = ({ rawJSON }: RawNumber): string =>
  /e[+-]?\d\d?$/i.test(rawJSON) ? new Decimal(rawJSON).toFixed() : rawJSON;
