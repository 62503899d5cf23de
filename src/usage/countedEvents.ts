import type { EntityManager } from '@mikro-orm/postgresql';
import {
  type Aggregation,
  aggregate,
  type Count,
  type CountedEvent,
  isLevel,
  type Opening,
} from '../domain/aggregate.js';
import { Decimal } from '../domain/decimal.js';
import type { Period } from '../domain/period.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { UsageWindow } from './usage.entity.js';

interface EventRow {
  value: string;
  occurred_at: string;
  unique_value: string | null;
}

const countedOf = (row: EventRow): CountedEvent => ({
  value: new Decimal(row.value),
  timestamp: instantOf(row.occurred_at),
  uniqueValue: row.unique_value,
});

/** The events that count in a window, in the order in which they were accepted; of `since` on only, where it is given. */
export async function countedEvents(
  em: EntityManager,
  { accountId, windowId, since = null }: { accountId: string; windowId: string; since?: Date | null },
): Promise<CountedEvent[]> {
  const rows = await rowsOf(
    em,
    sql<EventRow>`
      select value, occurred_at, unique_value from usage_event
      where account_id = ${accountId} and window_id = ${windowId} and voided_at is null
        and (${since}::timestamptz is null or occurred_at >= ${since})
      order by watermark, position, recorded_at, id`,
  );
  return rows.map(countedOf);
}

/** A window's counter from its events alone. Sums are made by the database, as `aggregate` would make them of the events. */
export async function recount(
  em: EntityManager,
  {
    accountId,
    id: windowId,
    ...window
  }: { accountId: string; id: string; aggregation: Aggregation; opening: Opening | null; period: Period },
): Promise<Count> {
  if (isLevel(window.aggregation)) {
    return aggregate({ ...window, events: await countedEvents(em, { accountId, windowId }) });
  }
  const [row] = await rowsOf(
    em,
    sql<{ n: number; sum: string; max: string; distinct_values: number; latest_at: string | null }>`
      select count(*)::int as n, coalesce(sum(value), 0) as sum, greatest(max(value), 0) as max,
        count(distinct unique_value)::int as distinct_values, max(occurred_at) as latest_at
      from usage_event where account_id = ${accountId} and window_id = ${windowId} and voided_at is null`,
  );
  const { n, sum, max, distinct_values, latest_at } = row!;
  const used = { COUNT: n, SUM: sum, MAX: max, UNIQUE: distinct_values }[window.aggregation as 'COUNT'];
  return {
    used: new Decimal(used),
    eventCount: n,
    latestAt: latest_at === null ? null : instantOf(latest_at),
    level: null,
    accrued: null,
  };
}

type MovedPeriod = Pick<UsageWindow, 'periodStart' | 'periodEnd' | 'used' | 'accrued'>;

/**
 * The window over another period, keeping its events. What they weigh (WEIGHTED_SUM) is counted anew: from a start that has
 * moved on, with the level of that time; until an end that has moved, as if the last level held until then.
 */
export async function movedPeriod(em: EntityManager, window: UsageWindow, period: Period): Promise<MovedPeriod> {
  const { accountId, id, aggregation, used, accrued = null } = window;
  const moved = { periodStart: period.start, periodEnd: period.end };
  const isSame = +window.periodStart === +period.start && +window.periodEnd === +period.end;
  if (aggregation !== 'WEIGHTED_SUM' || isSame) return { ...moved, used, accrued };
  const opening = { level: new Decimal(window.openingLevel ?? 0), at: window.openingAt ?? null };
  const count = await recount(em, { accountId, id, aggregation, opening, period });
  return { ...moved, used: count.used.toFixed(), accrued: count.accrued!.toFixed() };
}

/** The window ending at `at`, if that is sooner; never before its start, whatever the clocks of two processes say. */
export function endedAt(em: EntityManager, window: UsageWindow, at: Date): Promise<MovedPeriod> {
  const { periodStart: start, periodEnd } = window;
  const end = at < periodEnd ? (at > start ? at : start) : periodEnd;
  return movedPeriod(em, window, { start, end });
}
