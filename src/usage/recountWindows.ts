import { type Count, isLevel, type Opening } from '../domain/aggregate.js';
import { crossThresholds } from '../domain/thresholds.js';
import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import { announceUsage } from './announceUsage.js';
import { recount } from './countedEvents.js';
import { type LockedWindow, lockWindowsWhere } from './lockedWindows.js';

/** A window whose events, or the level it began with, have changed. */
export interface Recounted {
  before: LockedWindow;
  after: LockedWindow;
  crossed: number[];
  cleared: number[];
}

/**
 * Locks windows, and of levels also those of the same subscription after them, which began with what they ended with. Looks
 * again until nothing new is found: a renewal that this waited for has opened windows that the waiting statement could not see.
 */
export async function lockWithLater(tx: Tx, windowIds: readonly string[]): Promise<LockedWindow[]> {
  const { accountId } = tx;
  for (let known = -1; ; ) {
    const windows = await lockWindowsWhere(
      tx,
      sql<boolean>`w.id = any(${windowIds}::uuid[]) or (w.opening_level is not null and exists (
        select 1 from usage_window t where t.account_id = ${accountId} and t.id = any(${windowIds}::uuid[])
          and t.subscription_id = w.subscription_id and t.metric_code = w.metric_code and t.period_end <= w.period_end))`,
    );
    if (windows.length === known || !windows.some(({ aggregation }) => isLevel(aggregation))) return windows;
    known = windows.length;
  }
}

/**
 * Counts the `changed` windows from their events, and carries levels on: a window that began with what one before it ended
 * with begins with what that one ends with now. `windows` are locked by `lockWithLater`. Changes nothing yet.
 */
export async function recountWindows(
  tx: Tx,
  { windows, changed }: { windows: readonly LockedWindow[]; changed: ReadonlySet<string> },
): Promise<Recounted[]> {
  const recounted: Recounted[] = [];
  const count = async (window: LockedWindow, opening: Opening | null): Promise<LockedWindow> => {
    const counted = await recount(tx.em, { accountId: tx.accountId, ...window, opening });
    const { after, ...crossing } = thresholdsOf({ ...window, ...counted, opening });
    recounted.push({ before: window, after, ...crossing });
    return after;
  };

  const chains = Map.groupBy(windows, ({ id, aggregation, subscriptionId, metric }) =>
    isLevel(aggregation) ? `${subscriptionId} ${metric}` : id,
  );
  for (const chain of chains.values()) {
    let carried: Opening | undefined;
    for (const window of chain.toSorted((a, b) => +a.period.end - +b.period.end || (a.id < b.id ? -1 : 1))) {
      const opening = carried ?? window.opening;
      const isNew = changed.has(window.id) || !isSame(opening, window.opening);
      const now = isNew ? await count(window, opening) : window;
      carried = isLevel(window.aggregation) ? { level: now.level ?? now.used, at: now.latestAt } : undefined;
    }
  }
  return recounted;
}

const isSame = (a: Opening | null, b: Opening | null): boolean =>
  a === b || (a !== null && b !== null && a.level.equals(b.level) && a.at?.getTime() === b.at?.getTime());

/** Only the current period's thresholds fire and clear: one that is over has been billed. */
function thresholdsOf(window: LockedWindow): { after: LockedWindow; crossed: number[]; cleared: number[] } {
  if (window.closedAt !== null) return { after: window, crossed: [], cleared: [] };
  const { fired, ...crossing } = crossThresholds(window);
  return { after: { ...window, fired }, ...crossing };
}

export async function writeRecounted(tx: Tx, recounted: readonly Recounted[]): Promise<void> {
  if (recounted.length === 0) return;
  const windows = recounted.map(({ after }) => after);
  const each = <T>(of: (window: LockedWindow & Count) => T): T[] => windows.map(of);
  await rowsOf(
    tx.em,
    sql`
      update usage_window set used = c.used, event_count = c.event_count, latest_at = c.latest_at, level = c.level, accrued = c.accrued,
        opening_level = c.opening_level, opening_at = c.opening_at, fired_percents = c.fired::numeric[]
      from unnest(${each((w) => w.id)}::uuid[], ${each((w) => w.used.toFixed())}::numeric[], ${each((w) => w.eventCount)}::int[],
        ${each((w) => w.latestAt)}::timestamptz[], ${each((w) => w.level?.toFixed() ?? null)}::numeric[],
        ${each((w) => w.accrued?.toFixed() ?? null)}::numeric[], ${each((w) => w.opening?.level.toFixed() ?? null)}::numeric[],
        ${each((w) => w.opening?.at ?? null)}::timestamptz[], ${each((w) => `{${w.fired.join(',')}}`)}::text[])
        as c (id, used, event_count, latest_at, level, accrued, opening_level, opening_at, fired)
      where usage_window.account_id = ${tx.accountId} and usage_window.id = c.id`,
  );
}

/** After these windows' levels have moved: the windows that began with them. */
export async function carryLevels(tx: Tx, windowIds: readonly string[]): Promise<Recounted[]> {
  const windows = await lockWithLater(tx, windowIds);
  const recounted = await recountWindows(tx, { windows, changed: new Set() });
  await writeRecounted(tx, recounted);
  await announceRecounted(tx, recounted);
  return recounted;
}

export const announceRecounted = (tx: Tx, recounted: readonly Recounted[]): Promise<void> =>
  announceUsage(
    tx,
    recounted.map(({ after }) => after),
    recounted.map(({ after: { id, used }, crossed, cleared }) => ({ windowId: id, used, crossed, cleared })),
    { corrected: true },
  );
