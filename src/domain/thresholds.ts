import { Decimal } from './decimal.js';

/** Percent of a metric's limit at which a warning goes out, unless the plan says otherwise. */
export const defaultThresholdPercents: readonly number[] = [80, 90, 100];

/**
 * How much of the limit is used, in percent, above 100 when it is passed; `null` when unlimited. Of a limit of 0
 * nothing used is 0 % and anything used is 100 %: it is reached, and no share of nothing is more than that.
 */
export function usedPercent({ used, limit }: { used: Decimal; limit: Decimal | null }): Decimal | null {
  if (limit === null) return null;
  if (limit.isZero()) return new Decimal(used.isZero() ? 0 : 100);
  return used.times(100).div(limit);
}

/** Multiplied out, as a quotient such as 1 / 3 would have to be rounded. */
function reaches({ used, limit, percent }: { used: Decimal; limit: Decimal; percent: number }): boolean {
  if (limit.isZero()) return percent <= (used.isZero() ? 0 : 100);
  return used.times(100).greaterThanOrEqualTo(limit.times(percent));
}

/**
 * Which thresholds a commit fires. `fired` are those of the period that have fired and are still reached; they stay
 * quiet until usage drops or the limit rises below them, which clears and so re-arms them. All three lists ascend.
 * A threshold that fired and has since left `percents` is remembered while it is reached, lest it fires twice if it
 * comes back.
 */
export function crossThresholds({
  used,
  limit,
  percents,
  fired,
}: {
  used: Decimal;
  limit: Decimal | null;
  percents: readonly number[];
  fired: readonly number[];
}): { crossed: number[]; cleared: number[]; fired: number[] } {
  const before = new Set(fired);
  const candidates = [...new Set([...percents, ...fired])].sort((a, b) => a - b);
  const now = limit === null ? [] : candidates.filter((percent) => reaches({ used, limit, percent }));
  const reached = new Set(now);
  return {
    crossed: now.filter((percent) => !before.has(percent)),
    cleared: candidates.filter((percent) => before.has(percent) && !reached.has(percent)),
    fired: now,
  };
}
