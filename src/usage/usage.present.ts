import type { EventContent } from '../domain/correction.js';
import type { Decimal } from '../domain/decimal.js';
import { lastDay, localDate, type Period } from '../domain/period.js';
import type { correction as correctionShape, Shape, threshold } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { parseExact, rawNumber } from '../platform/exactJson.js';
import type { UsageSummary } from './usageSummary.js';

const number = (value: Decimal) => rawNumber(value.toFixed());
const numberOrNull = (value: Decimal | null) => (value === null ? null : number(value));

/**
 * REST shape of a summary (integration guide, "Current Usage"): a metric with a unit has it in its keys
 * (`limit_gb`/`used_gb`), others have `limit`/`used`; `period_end` is the inclusive last day.
 */
export function presentUsage(summary: UsageSummary, timeZone: string) {
  return {
    period_start: localDate(summary.period.start, timeZone),
    period_end: lastDay(summary.period, timeZone),
    ...Object.fromEntries(
      summary.items.map(({ metric, limit, used }) => {
        const suffix = metric.unit ? `_${metric.unit}` : '';
        return [metric.code, { [`limit${suffix}`]: numberOrNull(limit), [`used${suffix}`]: numberOrNull(used) }];
      }),
    ),
  };
}

/** `data` of `usage.threshold` and `usage.threshold_cleared`. */
export function presentThreshold({
  window,
  used,
  timeZone,
  percent,
}: {
  window: { metric: string; limit: Decimal | null; period: Period };
  used: Decimal;
  timeZone: string;
  percent: number;
}): Shape<typeof threshold> {
  return {
    metric: window.metric,
    threshold_percent: percent,
    limit: numberOrNull(window.limit),
    used: number(used),
    ...presentPeriod(window.period, timeZone),
  };
}

const presentPeriod = (period: Period, timeZone: string) => ({
  period_start: localDate(period.start, timeZone),
  period_end: lastDay(period, timeZone),
  starts_at: period.start.toISOString(),
  ends_at: period.end.toISOString(),
});

/** `data` of `usage.corrected`: what the event said and says, and the use of its window since. */
export function presentCorrected({
  correction,
  event,
  after,
  window,
  timeZone,
}: {
  correction: { action: 'VOID' | 'REPLACE'; reason: string | null };
  event: EventContent & { transactionId: string };
  after: EventContent | null;
  window: { metric: string; used: Decimal; period: Period };
  timeZone: string;
}): Shape<typeof correctionShape> {
  return {
    transaction_id: event.transactionId,
    metric: window.metric,
    action: lowerCase(correction.action),
    reason: correction.reason,
    before: presentContent(event),
    after: after && presentContent(after),
    used: number(window.used),
    ...presentPeriod(window.period, timeZone),
  };
}

/** What an event says. */
export const presentContent = ({ value, timestamp, properties }: EventContent) => ({
  value: numberOrNull(value),
  timestamp: timestamp.toISOString(),
  properties: properties === null ? null : (parseExact(properties) as Record<string, unknown>),
});
