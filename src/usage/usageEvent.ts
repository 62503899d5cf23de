import { Decimal, parseDecimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { isRawNumber, parseExact, plainDigits, type RawNumber } from '../platform/exactJson.js';
import { parseInstant } from '../platform/scalars.js';

export interface UsageEventInput {
  transactionId: string;
  /** `acct_…`; only an operator's token may name an account that isn't its own. */
  accountId?: string | null | undefined;
  metric: string;
  /** Exact decimal as text; default 1. */
  value?: string | null | undefined;
  /** Default: when it is recorded. */
  timestamp?: Date | null | undefined;
  properties?: object | null | undefined;
}

export interface ParsedUsageEvent {
  transactionId: string;
  metric: string;
  value: Decimal;
  /** Undefined: when it is recorded, by the account's own clock. */
  timestamp: Date | undefined;
  /** JSON that PostgreSQL accepts. */
  properties: string | null;
  /** Of a UNIQUE metric, once its property is known (see lookBack). */
  uniqueValue?: string | null;
}

/** An event that has got its time. */
export type DatedUsageEvent = ParsedUsageEvent & { timestamp: Date };

const maxPropertiesDepth = 16;

/**
 * Checks one event. Throws INVALID with the field; whatever passes can't make the batch's statement fail, so that one bad
 * event never takes its neighbours with it.
 */
export function parseUsageEvent(input: UsageEventInput): ParsedUsageEvent {
  const { transactionId, metric, timestamp } = input;
  if (transactionId.length === 0 || transactionId.length > 255) {
    throw invalid(`transactionId has ${transactionId.length} characters, expected 1 to 255`, 'transactionId');
  }
  if (!isStorable(transactionId)) throw invalid('transactionId has characters that are no text', 'transactionId');
  if (!isStorable(metric)) throw invalid('metric has characters that are no text', 'metric');
  const value = parseDecimal(input.value ?? '1');
  if (!value) {
    const found = String(input.value).slice(0, 40);
    throw invalid(
      `'${found}' is not a decimal such as 45.7 (at most 20 digits before and 12 after the point)`,
      'value',
    );
  }
  if (timestamp && Number.isNaN(timestamp.getTime()))
    throw invalid('timestamp is not an RFC 3339 instant', 'timestamp');
  return {
    transactionId,
    metric,
    value,
    timestamp: timestamp ?? undefined,
    properties: parseProperties(input.properties, 'properties'),
  };
}

/** An invalid Date for what isn't RFC 3339: then that event alone is rejected, and not its neighbours. */
export const timestampOf = (text: string): Date => parseInstant(text) ?? new Date(Number.NaN);

/** PostgreSQL's text holds neither a zero byte nor half of a surrogate pair. */
export const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();

/** Properties as JSON that PostgreSQL accepts. Throws INVALID at `field`. */
export function parseProperties(properties: object | null | undefined, ...field: (string | number)[]): string | null {
  if (properties == null) return null;
  if (typeof properties !== 'object' || Array.isArray(properties))
    throw invalid('properties is not an object', ...field);
  const look = (value: unknown, depth: number): void => {
    if (depth > maxPropertiesDepth)
      throw invalid(`properties is more than ${maxPropertiesDepth} levels deep`, ...field);
    if (typeof value === 'string' && !isStorable(value))
      throw invalid('properties has characters that are no text', ...field);
    if (value === null || typeof value !== 'object') return;
    for (const [key, part] of Object.entries(value)) {
      look(key, depth);
      look(part, depth + 1);
    }
  };
  look(properties, 1);
  return JSON.stringify(properties);
}

const maxUniqueLength = 255;

/**
 * One property as text, for metrics that count its distinct values: 1 and "1" are the same, and so are 1 and 1.0. `null`
 * when there is none, or it is neither a text of 1 to 255 characters nor a number nor true or false.
 */
export function propertyText(properties: string | null, name: string): string | null {
  const values = new Map(Object.entries(properties === null ? {} : (parseExact(properties) as object)));
  const value: unknown = values.get(name);
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'boolean'
        ? String(value)
        : isRawNumber(value)
          ? numberText(value)
          : '';
  return text.length >= 1 && text.length <= maxUniqueLength ? text : null;
}

/** Without spare zeros; one with an exponent beyond all measure stays as it is written. */
function numberText(number: RawNumber): string {
  const digits = plainDigits(number);
  return /e/i.test(digits) ? digits : new Decimal(digits).toFixed();
}
