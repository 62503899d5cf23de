/** A number kept as it is written; `JSON.stringify` prints `rawJSON` as it stands. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** What ES2026 adds to JSON (TC39 "JSON.parse source text access") and TypeScript's library doesn't declare yet. */
const json = JSON as unknown as { rawJSON(text: string): RawNumber };

/** `rawNumber('49.00')` is printed as 49.00, which a JavaScript number can't be. Throws a SyntaxError if it isn't JSON. */
export const rawNumber = (decimal: string): RawNumber => json.rawJSON(decimal);

/** Raw numbers have no prototype, which nothing else in parsed JSON lacks. */
export const isRawNumber = (value: unknown): value is RawNumber =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;
