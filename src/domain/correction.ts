import type { Decimal } from './decimal.js';
import { reject, type UsageRejection } from './refuseUsage.js';
import { aheadMs, refuseReplacement, type UsageWindow } from './usage.js';

/** What of an event a correction may change. */
export interface EventContent {
  value: Decimal;
  timestamp: Date;
  /** JSON. */
  properties: string | null;
  uniqueValue: string | null;
}

export interface RecordedEvent extends EventContent {
  transactionId: string;
  voidedAt: Date | null;
}

export type Correction =
  | { action: 'VOID' }
  /** What isn't said stays as it is. */
  | ({ action: 'REPLACE' } & { [K in keyof EventContent]: EventContent[K] | undefined });

/**
 * Decides on a correction of an event that counts in `window`: what it says from now on, `null` when it is taken back.
 * A voided event stays voided, and an event stays in its window: a new timestamp lies in the window's period, whose events
 * alone it changes.
 */
export function decideCorrection({
  event,
  correction,
  window,
  now,
}: {
  event: RecordedEvent;
  correction: Correction;
  window: UsageWindow;
  now: Date;
}): { status: 'ACCEPTED'; after: EventContent | null } | UsageRejection {
  if (event.voidedAt !== null) {
    const message = `'${event.transactionId}' was voided at ${event.voidedAt.toISOString()} and counts nowhere`;
    return reject('ILLEGAL_STATE', 'transactionId', message);
  }
  if (correction.action === 'VOID') return { status: 'ACCEPTED', after: null };

  const after = {
    value: correction.value ?? event.value,
    timestamp: correction.timestamp ?? event.timestamp,
    properties: correction.properties ?? event.properties,
    uniqueValue: correction.properties == null ? event.uniqueValue : (correction.uniqueValue ?? null),
  };
  const { start, end } = window.period;
  const isMoved = after.timestamp.getTime() !== event.timestamp.getTime();
  if (isMoved && (after.timestamp < start || after.timestamp >= end)) {
    const message = `${after.timestamp.toISOString()} is outside the period that the event counts in: expected ${start.toISOString()} to ${end.toISOString()}`;
    return reject('INVALID', 'timestamp', message);
  }
  if (isMoved && after.timestamp.getTime() > now.getTime() + aheadMs) {
    const message = `${after.timestamp.toISOString()} is more than 5 minutes ahead of ${now.toISOString()}`;
    return reject('INVALID', 'timestamp', message);
  }
  return refuseReplacement(window, after) ?? { status: 'ACCEPTED', after };
}
