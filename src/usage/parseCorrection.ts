import { type Decimal, parseDecimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { isStorable, parseProperties } from './usageEvent.js';

export interface CorrectionInput {
  transactionId: string;
  action: 'VOID' | 'REPLACE';
  /** Exact decimal as text; what is not given stays as it is. */
  value?: string | null | undefined;
  /** Within the window that the event counts in. */
  timestamp?: Date | null | undefined;
  properties?: object | null | undefined;
  reason?: string | null | undefined;
}

export interface ParsedCorrection {
  transactionId: string;
  action: 'VOID' | 'REPLACE';
  value: Decimal | undefined;
  timestamp: Date | undefined;
  /** JSON that PostgreSQL accepts. */
  properties: string | undefined;
  reason: string | null;
}

const maxReason = 500;

/** Checks one correction, without a look at its event. Throws INVALID with the field. */
export function parseCorrection(input: CorrectionInput, index: number): ParsedCorrection {
  const at = (field: string) => ['corrections', index, field] as const;
  const { transactionId, action } = input;
  const timestamp = input.timestamp ?? undefined;
  const reason = input.reason ?? null;
  const value = input.value == null ? undefined : parseDecimal(input.value);
  if (input.value != null && !value) {
    const message = `'${input.value.slice(0, 40)}' is not a decimal such as 45.7 (at most 20 digits before and 12 after the point)`;
    throw invalid(message, ...at('value'));
  }
  if (timestamp && Number.isNaN(timestamp.getTime()))
    throw invalid('timestamp is not an RFC 3339 instant', ...at('timestamp'));
  if (reason !== null && (reason.length > maxReason || !isStorable(reason)))
    throw invalid(`reason has ${reason.length} characters, expected a text of at most ${maxReason}`, ...at('reason'));
  const properties = parseProperties(input.properties, ...at('properties')) ?? undefined;
  const changes = [value, timestamp, properties].filter((change) => change !== undefined).length;
  if (action === 'REPLACE' && changes === 0)
    throw invalid('REPLACE changes nothing: expected a value, a timestamp or properties', ...at('value'));
  if (action === 'VOID' && changes > 0)
    throw invalid('VOID takes the whole event back: expected no value, timestamp or properties', ...at('action'));
  return { transactionId, action, value, timestamp, properties, reason };
}
