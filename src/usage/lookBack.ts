import { readingsOf } from '../domain/aggregate.js';
import type { Tx } from '../platform/db.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { countedEvents } from './countedEvents.js';
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

/** The `lacking` windows with their readings, from the last one at or before the batch's earliest on. */
export async function withReadings(
  tx: Tx,
  {
    events,
    windows,
    lacking,
  }: { events: readonly DatedUsageEvent[]; windows: readonly LockedWindow[]; lacking: readonly string[] },
): Promise<readonly LockedWindow[]> {
  const { em, accountId } = tx;
  return Promise.all(
    windows.map(async (window) => {
      if (!lacking.includes(window.id)) return window;
      const own = events.filter(({ metric }) => metric === window.metric);
      const earliest = new Date(
        own.reduce((min, { timestamp }) => Math.min(min, +timestamp), Number.POSITIVE_INFINITY),
      );
      const [row] = await rowsOf(
        em,
        sql<{ since: string | null }>`
          select max(occurred_at) as since from usage_event
          where account_id = ${accountId} and window_id = ${window.id} and voided_at is null and occurred_at <= ${earliest}`,
      );
      const read = await countedEvents(em, {
        accountId,
        windowId: window.id,
        since: row!.since === null ? null : instantOf(row!.since),
      });
      return { ...window, readings: readingsOf(window.opening, read) };
    }),
  );
}
