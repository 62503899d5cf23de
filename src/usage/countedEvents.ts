import type { EntityManager } from '@mikro-orm/postgresql';
import { type Aggregation, aggregate, type Count, type Opening, weightedUse } from '../domain/aggregate.js';
import { Decimal } from '../domain/decimal.js';
import type { Period } from '../domain/period.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { UsageWindow } from './usage.entity.js';

interface Counted {
  accountId: string;
  id: string;
  aggregation: Aggregation;
  opening: Opening | null;
  period: Period;
}

/**
 * A window's counter from its events alone, as `aggregate` would make it of them: one statement that answers one row, however
 * many events there are.
 */
export function recount(em: EntityManager, window: Counted): Promise<Count> {
  if (window.aggregation === 'LATEST') return latestOf(em, window);
  if (window.aggregation === 'WEIGHTED_SUM') return weightedSumOf(em, window);
  return sumsOf(em, window);
}

/** The events that count in a window. */
export const eventsOf = ({ accountId, id }: Pick<Counted, 'accountId' | 'id'>) =>
  sql`usage_event where account_id = ${accountId} and window_id = ${id} and voided_at is null`;

/** The order in which the last reading comes first; of two at one instant the one that was accepted last. */
export const lastFirst = sql`order by occurred_at desc, watermark desc, position desc, recorded_at desc, id desc`;

async function sumsOf(em: EntityManager, window: Counted): Promise<Count> {
  const [row] = await rowsOf(
    em,
    sql<{ n: number; sum: string; max: string; distinct_values: number; latest_at: string | null }>`
      select count(*)::int as n, coalesce(sum(value), 0) as sum, greatest(max(value), 0) as max,
        count(distinct unique_value)::int as distinct_values, max(occurred_at) as latest_at
      from ${eventsOf(window)}`,
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

/** Of all its readings only the last one says anything. */
async function latestOf(em: EntityManager, window: Counted): Promise<Count> {
  const [row] = await rowsOf(
    em,
    sql<{ n: number; value: string | null; at: string | null }>`
      select (select count(*) from ${eventsOf(window)})::int as n, last.value, last.occurred_at as at
      from (select) one left join lateral (select value, occurred_at from ${eventsOf(window)}
        ${lastFirst} limit 1) last on true`,
  );
  const { n, value, at } = row!;
  const events =
    value === null || at === null ? [] : [{ value: new Decimal(value), timestamp: instantOf(at), uniqueValue: null }];
  return { ...aggregate({ ...window, events }), eventCount: n };
}

/**
 * Each level is weighed until the next reading, within the period; of readings at one instant the last accepted holds, and
 * the level that the period opened with comes before all of its time. Exact: times are whole milliseconds.
 */
async function weightedSumOf(em: EntityManager, window: Counted): Promise<Count> {
  const { opening, period } = window;
  const within = (at: ReturnType<typeof sql.ref>) =>
    sql`extract(epoch from greatest(least(${at}, ${period.end}::timestamptz), ${period.start}::timestamptz)) * 1000`;
  const [row] = await rowsOf(
    em,
    sql<{ n: number; level: string; at: string | null; accrued: string }>`
      with reading as (
        select coalesce(${opening?.at ?? null}::timestamptz, '-infinity') as at, ${opening?.level.toFixed() ?? '0'}::numeric as level,
          null::bigint as watermark, null::int as position, null::timestamptz as recorded_at, null::text as id
        union all select occurred_at, value, watermark, position, recorded_at, id from ${eventsOf(window)}
      ), placed as (
        select at, level, lead(at) over (order by at, watermark nulls first, position, recorded_at, id) as until from reading
      )
      select count(*)::int - 1 as n, (array_agg(level) filter (where until is null))[1] as level,
        (array_agg(nullif(at, '-infinity')) filter (where until is null))[1] as at,
        coalesce(sum(level * (${within(sql.ref('until'))} - ${within(sql.ref('at'))})) filter (where until is not null), 0) as accrued
      from placed`,
  );
  const level = new Decimal(row!.level);
  const accrued = new Decimal(row!.accrued);
  const latestAt = row!.at === null ? null : instantOf(row!.at);
  const last = { atMs: latestAt?.getTime() ?? Number.NEGATIVE_INFINITY, value: level };
  return { used: weightedUse({ accrued, last, period }), eventCount: row!.n, latestAt, level, accrued };
}

/** The time whose events a window counts: its period, or what of it had passed when the metric left the plan. */
export const countedPeriod = ({
  periodStart: start,
  periodEnd,
  withdrawnAt,
}: Pick<UsageWindow, 'periodStart' | 'periodEnd' | 'withdrawnAt'>): Period => ({
  start,
  end: withdrawnAt ?? periodEnd,
});

type MovedPeriod = Pick<UsageWindow, 'periodStart' | 'periodEnd' | 'used' | 'accrued'>;

/**
 * The window over another period, keeping its events. What they weigh (WEIGHTED_SUM) is counted anew: from a start that has
 * moved on, with the level of that time; until an end that has moved, as if the last level held until then.
 */
export async function movedPeriod(em: EntityManager, window: UsageWindow, period: Period): Promise<MovedPeriod> {
  const { accountId, id, aggregation, used, accrued = null } = window;
  const moved = { periodStart: period.start, periodEnd: period.end };
  const { start, end } = countedPeriod(window);
  const isSame = +start === +period.start && +end === +period.end;
  if (aggregation !== 'WEIGHTED_SUM' || isSame) return { ...moved, used, accrued };
  const opening = { level: new Decimal(window.openingLevel ?? 0), at: window.openingAt ?? null };
  const count = await recount(em, { accountId, id, aggregation, opening, period });
  return { ...moved, used: count.used.toFixed(), accrued: count.accrued!.toFixed() };
}

/**
 * The window ending at `at`, if that is sooner; never before its start, whatever the clocks of two processes say. One whose metric
 * left the plan ends with the others, and weighs no more than it did.
 */
export async function endedAt(em: EntityManager, window: UsageWindow, at: Date): Promise<MovedPeriod> {
  const { periodStart: start, periodEnd: last, withdrawnAt } = window;
  const end = at < last ? (at > start ? at : start) : last;
  return { ...(await movedPeriod(em, window, { start, end: withdrawnAt ?? end })), periodEnd: end };
}
