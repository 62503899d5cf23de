import { readingsOf } from '../domain/aggregate.js';
import { Decimal } from '../domain/decimal.js';
import type { Tx } from '../platform/db.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { eventsOf, lastFirst } from './countedEvents.js';
import type { LockedWindow } from './lockedWindows.js';
import { type DatedUsageEvent, propertyText } from './usageEvent.js';

// What a batch has to know of the events before it. Most metrics' counters need nothing; each of these is one statement
// more, and only where the batch has such an event.

/** Events of UNIQUE metrics with the value of the property that their metric counts. */
export function withUniqueValue(
  events: readonly DatedUsageEvent[],
  windows: readonly LockedWindow[],
): readonly DatedUsageEvent[] {
  const properties = new Map(
    windows.flatMap(({ aggregation, metric, property }) =>
      aggregation === 'UNIQUE' && property !== null ? [[metric, property] as const] : [],
    ),
  );
  if (properties.size === 0) return events;
  return events.map((event) => {
    const property = properties.get(event.metric);
    return property === undefined ? event : { ...event, uniqueValue: propertyText(event.properties, property) };
  });
}

/** UNIQUE windows with those of the batch's values that they count already. */
export async function withKnownValues(
  tx: Tx,
  { events, windows }: { events: readonly DatedUsageEvent[]; windows: readonly LockedWindow[] },
): Promise<readonly LockedWindow[]> {
  const values = new Set(events.flatMap(({ uniqueValue }) => uniqueValue ?? []));
  if (values.size === 0) return windows;
  const ids = windows.filter(({ aggregation }) => aggregation === 'UNIQUE').map(({ id }) => id);
  const rows = await rowsOf(
    tx.em,
    sql<{ window_id: string; unique_value: string }>`
      select distinct window_id, unique_value from usage_event
      where account_id = ${tx.accountId} and window_id = any(${ids}::uuid[]) and unique_value = any(${[...values]}::text[])
        and voided_at is null`,
  );
  const known = Map.groupBy(rows, (row) => row.window_id);
  return windows.map((window) => ({
    ...window,
    knownValues: new Set(known.get(window.id)?.map((row) => row.unique_value)),
  }));
}

/**
 * The `lacking` windows with the readings that the batch's go between: of each time the last one until then and the first one
 * after it, and the very last. Two rows for each event at the most, however many the window has.
 */
export async function withReadings(
  tx: Tx,
  {
    events,
    windows,
    lacking,
  }: { events: readonly DatedUsageEvent[]; windows: readonly LockedWindow[]; lacking: readonly string[] },
): Promise<readonly LockedWindow[]> {
  return Promise.all(
    windows.map(async (window) => {
      if (!lacking.includes(window.id)) return window;
      const times = events.flatMap(({ metric, timestamp }) => (metric === window.metric ? [timestamp] : []));
      return { ...window, readings: readingsOf(window.opening, await readingsAround(tx, window, times)) };
    }),
  );
}

async function readingsAround({ em, accountId }: Tx, { id }: LockedWindow, times: readonly Date[]) {
  const counted = sql`select id, value, occurred_at, watermark, position, recorded_at from ${eventsOf({ accountId, id })}`;
  const rows = await rowsOf(
    em,
    sql<{ value: string; occurred_at: string }>`
      select value, occurred_at from (
        select beside.* from (select distinct at from unnest(${[...times]}::timestamptz[]) as given (at)) asked cross join lateral (
          (${counted} and occurred_at <= asked.at ${lastFirst} limit 1)
          union all (${counted} and occurred_at > asked.at order by occurred_at, watermark, position, recorded_at, id limit 1)) beside
        union (${counted} ${lastFirst} limit 1)) around
      order by watermark, position, recorded_at, id`,
  );
  return rows.map((row) => ({
    value: new Decimal(row.value),
    timestamp: instantOf(row.occurred_at),
    uniqueValue: null,
  }));
}
