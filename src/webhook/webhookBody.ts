import { exampleOf } from '../domain/eventExamples.js';
import type { EventType } from '../domain/events.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { parseExact, stringifyExact } from '../platform/exactJson.js';
import type { WebhookDelivery } from './webhook.entity.js';

const maxBodyBytes = 20_000;

type Sent = Pick<LoggedEvent, 'type' | 'occurredAt'> & { readonly data: object };

const bodyOf = ({ type, occurredAt, data }: Sent): string =>
  stringifyExact({ type, timestamp: occurredAt.toISOString(), data });

/** The body that is signed: at most 20 kB; an invoice with very many lines leaves them out and says so. */
export function webhookBody(event: Sent): string {
  const full = bodyOf(event);
  if (Buffer.byteLength(full) <= maxBodyBytes) return full;
  const { lines: _lines, ...rest } = event.data as Record<string, unknown>;
  return bodyOf({ ...event, data: { ...rest, lines_omitted: true } });
}

/** The body of a test: an example of the type, marked as what it is. It has no place in the log, so its sequence is 0. */
export const testBody = ({ type, at }: { type: EventType; at: Date }): string =>
  bodyOf({ type, occurredAt: at, data: { ...exampleOf(type), sequence: 0, test: true } });

/** A test as the event it plays. Its id is the delivery's own: nothing in the log has it. */
export function testEventOf({ accountId, id, createdAt, testBody }: WebhookDelivery): LoggedEvent {
  const { type, data } = parseExact(testBody!) as { type: EventType; data: Record<string, unknown> };
  return { accountId, id, seq: 0n, type, occurredAt: createdAt, data };
}
