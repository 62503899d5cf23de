import type { Decimal } from '../domain/decimal.js';
import { lastDay, localDate, type Period } from '../domain/period.js';
import { rawNumber } from '../platform/exactJson.js';
import type { UsageSummary } from './usageSummary.js';

const number = (value: Decimal | null) => (value === null ? null : rawNumber(value.toFixed()));

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
        return [metric.code, { [`limit${suffix}`]: number(limit), [`used${suffix}`]: number(used) }];
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
}) {
  return {
    metric: window.metric,
    threshold_percent: percent,
    limit: number(window.limit),
    used: number(used),
    period_start: localDate(window.period.start, timeZone),
    period_end: lastDay(window.period, timeZone),
    starts_at: window.period.start.toISOString(),
    ends_at: window.period.end.toISOString(),
  };
}
