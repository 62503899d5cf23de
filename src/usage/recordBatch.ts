import { Metric } from '../catalog/plan.entity.js';
import { isLevel } from '../domain/aggregate.js';
import { decideUsage, type UsageDecision, type UsageWindow, type WindowChange } from '../domain/usage.js';
import { TransactionRace, type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { announceUsage } from './announceUsage.js';
import { redraftWindows } from './draftLines.js';
import { type LockedWindow, lockWindows } from './lockedWindows.js';
import { withKnownValues, withReadings, withUniqueValue } from './lookBack.js';
import { carryLevels } from './recountWindows.js';
import type { DatedUsageEvent, ParsedUsageEvent } from './usageEvent.js';
import { readWatermark } from './usageSummary.js';

type Decision = UsageDecision | { status: 'REJECTED'; code: 'UNAVAILABLE'; message: string; field: string };

/** What became of one event of a batch. */
export interface Recorded {
  decision: Decision;
  watermark: bigint;
}

/**
 * One transaction: lock the windows, decide, write. Two statements; a third looks for repeats when one turned up, or when
 * an event is refused (a repeat of an accepted one answers DUPLICATE whatever its content); one more looks for the values
 * that UNIQUE windows know, and one for the readings among which a WEIGHTED_SUM window places an older one. An event
 * without a window is looked at twice: a renewal that this waited for has opened windows that the waiting statement could
 * not see.
 */
export async function recordBatch(
  deps: Pick<Deps, 'db' | 'clock'>,
  accountId: string,
  arrived: readonly ParsedUsageEvent[],
): Promise<Recorded[]> {
  let lookForRepeats = false;
  let lookedTwice = false;
  return transact(deps, accountId, async (tx) => {
    const dated = arrived.map((event): DatedUsageEvent => ({ ...event, timestamp: event.timestamp ?? tx.now }));
    const locked = await lockWindows(tx, dated);
    const events = withUniqueValue(dated, locked);
    let windows = await withKnownValues(tx, { events, windows: locked });
    const knownMetrics = await metricsKnown(tx, { windows, events });
    const decide = async (seen: ReadonlySet<string>) => {
      const first = decideUsage({ events, windows, seen, knownMetrics, now: tx.now });
      if (first.lacking.length === 0) return first;
      windows = await withReadings(tx, { events, windows, lacking: first.lacking });
      return decideUsage({ events, windows, seen, knownMetrics, now: tx.now });
    };
    let decided = await decide(lookForRepeats ? await recordedIds(tx, events) : new Set());
    if (!lookForRepeats && decided.decisions.some((d) => d.status === 'REJECTED')) {
      lookForRepeats = true;
      decided = await decide(await recordedIds(tx, events));
    }
    if (!lookedTwice && decided.decisions.some((d) => d.status === 'REJECTED' && d.code === 'ILLEGAL_STATE')) {
      lookedTwice = true;
      throw new TransactionRace();
    }
    const { decisions, changes } = decided;
    const answers = decisions.map((decision, i) => betweenPeriods(decision, { event: events[i]!, windows }));
    if (changes.length === 0) {
      const watermark = await readWatermark(tx.em, accountId);
      return answers.map((decision) => ({ decision, watermark }));
    }
    const { inserted, watermark } = await writeBatch(tx, { events, decisions, changes });
    if (inserted !== decisions.filter((d) => d.status === 'ACCEPTED').length) {
      // An id was recorded before (or by another process just now): decide again, knowing which.
      lookForRepeats = true;
      throw new TransactionRace();
    }
    await announceUsage(tx, windows, changes);
    await settleDrafts(tx, { windows, changes });
    return answers.map((decision) => ({ decision, watermark }));
  });
}

/** Late events moved counters of periods that are over: the level the next ones began with follows, and so do the drafts. */
async function settleDrafts(
  tx: Tx,
  { windows, changes }: { windows: readonly LockedWindow[]; changes: readonly WindowChange[] },
): Promise<void> {
  const changed = new Set(changes.map(({ windowId }) => windowId));
  const over = windows.filter((window) => window.draftInvoiceId !== null && changed.has(window.id));
  if (over.length === 0) return;
  const levels = over.filter(({ aggregation }) => isLevel(aggregation)).map(({ id }) => id);
  const recounted = levels.length === 0 ? [] : await carryLevels(tx, levels);
  await redraftWindows(tx, [...over, ...recounted.map(({ after }) => after)]);
}

/** A period that is over is renewed within seconds; until then its successor's events are asked to come again. */
function betweenPeriods(
  decision: UsageDecision,
  { event, windows }: { event: DatedUsageEvent; windows: readonly UsageWindow[] },
): Decision {
  if (decision.status !== 'REJECTED' || decision.code !== 'ILLEGAL_STATE') return decision;
  const over = windows.find((w) => w.metric === event.metric && w.closedAt === null && w.period.end <= event.timestamp);
  if (!over) return decision;
  const message = `The period ended at ${over.period.end.toISOString()} and the next one is about to open: send the event again`;
  return { status: 'REJECTED', code: 'UNAVAILABLE', message, field: 'timestamp' };
}

/** The metrics of the windows; all of the catalog's when an event names another. */
async function metricsKnown(
  tx: Tx,
  { windows, events }: { windows: readonly UsageWindow[]; events: readonly ParsedUsageEvent[] },
): Promise<Set<string>> {
  const known = new Set(windows.map((w) => w.metric));
  if (events.every((event) => known.has(event.metric))) return known;
  const all = await tx.em.find(Metric, {}, { fields: ['code'], disableIdentityMap: true });
  return new Set(all.map((metric) => metric.code));
}

async function recordedIds(tx: Tx, events: readonly ParsedUsageEvent[]): Promise<Set<string>> {
  const rows = await rowsOf(
    tx.em,
    sql<{ id: string }>`
      select id from usage_event where account_id = ${tx.accountId} and id = any(${events.map((e) => e.transactionId)}::text[])`,
  );
  return new Set(rows.map((row) => row.id));
}

async function writeBatch(
  tx: Tx,
  {
    events,
    decisions,
    changes,
  }: { events: readonly DatedUsageEvent[]; decisions: readonly UsageDecision[]; changes: readonly WindowChange[] },
): Promise<{ inserted: number; watermark: bigint }> {
  const { accountId, now } = tx;
  const accepted = events.flatMap((event, i) => {
    const decision = decisions[i]!;
    return decision.status === 'ACCEPTED' ? [{ event, decision }] : [];
  });
  const [row] = await rowsOf(
    tx.em,
    sql<{ inserted: string; watermark: string }>`
      with marked as (
        insert into usage_cursor (account_id, id, watermark) values (${accountId}, ${accountId}, 1)
        on conflict (account_id, id) do update set watermark = usage_cursor.watermark + 1
        returning watermark
      ), inserted as (
        insert into usage_event (account_id, id, metric_code, value, occurred_at, window_id, late, properties, unique_value, recorded_at,
          watermark, position)
        select ${accountId}::uuid, e.id, e.metric_code, e.value, e.occurred_at, e.window_id, e.late, e.properties, e.unique_value, ${now},
          marked.watermark, e.position
        from marked, unnest(${accepted.map(({ event }) => event.transactionId)}::text[], ${accepted.map(({ event }) => event.metric)}::text[],
          ${accepted.map(({ event }) => event.value.toFixed())}::numeric[], ${accepted.map(({ event }) => event.timestamp)}::timestamptz[],
          ${accepted.map(({ decision }) => decision.windowId)}::uuid[], ${accepted.map(({ decision }) => decision.late)}::boolean[],
          ${accepted.map(({ event }) => event.properties)}::jsonb[], ${accepted.map(({ event }) => event.uniqueValue ?? null)}::text[])
          with ordinality as e (id, metric_code, value, occurred_at, window_id, late, properties, unique_value, position)
        order by e.id
        on conflict (account_id, id) do nothing
        returning 1
      ), counted as (
        update usage_window set used = c.used, event_count = c.event_count, latest_at = c.latest_at, level = c.level,
          accrued = c.accrued, fired_percents = c.fired::numeric[]
        from unnest(${changes.map((c) => c.windowId)}::uuid[], ${changes.map((c) => c.used.toFixed())}::numeric[],
          ${changes.map((c) => c.eventCount)}::int[], ${changes.map((c) => c.latestAt)}::timestamptz[],
          ${changes.map((c) => c.level?.toFixed() ?? null)}::numeric[], ${changes.map((c) => c.accrued?.toFixed() ?? null)}::numeric[],
          ${changes.map((c) => `{${c.fired.join(',')}}`)}::text[]) as c (id, used, event_count, latest_at, level, accrued, fired)
        where usage_window.account_id = ${accountId} and usage_window.id = c.id
      )
      select (select count(*) from inserted) as inserted, (select watermark from marked) as watermark`,
  );
  return { inserted: Number(row!.inserted), watermark: BigInt(row!.watermark) };
}
