import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import type { PlanFeature } from '../catalog/plan.entity.js';
import { Decimal, zero } from '../domain/decimal.js';
import type { Period } from '../domain/period.js';
import type { ChargeModel } from '../domain/rating.js';
import { crossThresholds } from '../domain/thresholds.js';
import { type UsageWindow as DomainWindow, lateMs } from '../domain/usage.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { endedAt, movedPeriod } from './countedEvents.js';
import { type FreshTerms, freshWindows, freshWindowsOf, type GrantedTerms, termsUnder } from './freshWindows.js';
import { usageLine, usageLineOf } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';
import { presentThreshold } from './usage.present.js';

interface RawWindow {
  id: string;
  metric_code: string;
  aggregation: DomainWindow['aggregation'];
  period_start: string;
  period_end: string;
  limit_quantity: string | null;
  overage: DomainWindow['overage'];
  charge: ChargeModel | null;
  currency: string;
  used: string;
  event_count: number;
  latest_at: string | null;
  threshold_percents: string[];
  fired_percents: string[];
  closed_at: string | null;
  subscription_id: string;
  property: string | null;
  opening_level: string | null;
  opening_at: string | null;
  level: string | null;
  accrued: string | null;
  draft_invoice_id: string | null;
}

/** A window as the domain sees it, and whose it is. */
export interface LockedWindow extends DomainWindow {
  subscriptionId: string;
}

/** Locks, in one statement, the account's windows that these events may count in. */
export function lockWindows(tx: Tx, events: readonly { metric: string; timestamp: Date }[]): Promise<LockedWindow[]> {
  const metrics = [...new Set(events.map((event) => event.metric))];
  const earliestMs = events.reduce((min, event) => Math.min(min, event.timestamp.getTime()), Number.POSITIVE_INFINITY);
  return lockWindowsWhere(
    tx,
    sql<boolean>`w.metric_code = any(${metrics}::text[]) and (w.closed_at is null
      or (w.period_end > ${new Date(earliestMs)} and w.period_end > ${new Date(tx.now.getTime() - lateMs)}))`,
  );
}

/** Ordered by id, so that no two transactions wait for each other in a circle. */
export async function lockWindowsWhere(tx: Tx, condition: ReturnType<typeof sql<boolean>>): Promise<LockedWindow[]> {
  const rows = await rowsOf(
    tx.em,
    sql<RawWindow>`
      select w.id, w.metric_code, w.aggregation, w.period_start, w.period_end, w.limit_quantity, w.overage, w.charge, w.currency, w.used,
        w.event_count, w.latest_at, w.threshold_percents::text[], w.fired_percents::text[], w.closed_at, w.subscription_id, m.property,
        w.opening_level, w.opening_at, w.level, w.accrued, w.draft_invoice_id
      from usage_window w left join metric m on m.code = w.metric_code
      where w.account_id = ${tx.accountId} and (${condition})
      order by w.id for update of w`,
  );
  return rows.map((row) => ({
    id: row.id,
    metric: row.metric_code,
    aggregation: row.aggregation,
    period: { start: instantOf(row.period_start), end: instantOf(row.period_end) },
    limit: row.limit_quantity === null ? null : new Decimal(row.limit_quantity),
    overage: row.overage,
    charge: row.charge,
    currency: row.currency,
    used: new Decimal(row.used),
    eventCount: row.event_count,
    latestAt: row.latest_at === null ? null : instantOf(row.latest_at),
    percents: row.threshold_percents.map(Number),
    fired: row.fired_percents.map(Number),
    closedAt: row.closed_at === null ? null : instantOf(row.closed_at),
    subscriptionId: row.subscription_id,
    property: row.property,
    knownValues: new Set<string>(),
    opening:
      row.opening_level === null
        ? null
        : { level: new Decimal(row.opening_level), at: row.opening_at === null ? null : instantOf(row.opening_at) },
    level: row.level === null ? null : new Decimal(row.level),
    accrued: row.accrued === null ? null : new Decimal(row.accrued),
    readings: null,
    draftInvoiceId: row.draft_invoice_id,
  }));
}

export interface WindowTerms extends FreshTerms {
  subscriptionId: string;
  timeZone: string;
}

/** Opens a window for each metric of the plan. Thresholds a level already stands above are announced for the new period. */
export const openWindows = (tx: Tx, terms: WindowTerms): Promise<void> => openAllWindows(tx.em, [{ tx, terms }]);

/** The same for many subscriptions, one of each account. What was closed before has been flushed. */
export async function openAllWindows(
  em: EntityManager,
  opened: readonly { tx: Tx; terms: WindowTerms }[],
): Promise<void> {
  const fresh = await freshWindowsOf(
    em,
    opened.map(({ tx, terms }) => ({ ...terms, accountId: tx.accountId })),
  );
  for (const [i, { tx, terms }] of opened.entries()) {
    for (const window of fresh[i]!) fireThresholds(tx, tx.em.create(UsageWindow, window), terms.timeZone);
    tx.touchUsage();
  }
}

/**
 * Gives the open windows the limits and the period of another plan; counts stay. Thresholds are re-armed or fired by the
 * new limits. Where the period begins anew, the time before it is left to a closed window without a count, so that events
 * of that time still count, late, for 24 h.
 */
export async function changeWindowLimits(tx: Tx, terms: WindowTerms): Promise<void> {
  const windows = await lockOpenWindows(tx, terms.subscriptionId);
  for (const window of windows) {
    const { periodStart } = window;
    const start = periodStart < terms.period.start ? terms.period.start : periodStart;
    const moved = await movedPeriod(tx.em, window, { start, end: terms.period.end });
    if (periodStart < start) {
      window.periodStart = start;
      await tx.em.flush(); // makes room for the one left behind: a metric has one window at a start
      tx.em.create(UsageWindow, {
        ...window,
        id: newId(),
        periodStart,
        periodEnd: start,
        closedAt: tx.now,
        used: '0',
        eventCount: 0,
        latestAt: null,
        openingLevel: null,
        openingAt: null,
        level: null,
        accrued: null,
        firedPercents: [],
      });
    }
    Object.assign(window, termsUnder(terms, window.metricCode));
    Object.assign(window, moved);
    fireThresholds(tx, window, terms.timeZone);
  }
  await openWindows(tx, { ...terms, features: withoutWindow(terms.features, windows) });
}

/**
 * Ends the open windows at `at` and returns what they add to the invoice: one line for each whose use costs something. With the
 * invoice that waits as DRAFT for their late events they still count, until `finalizeDrafts` takes their last word.
 */
export async function closeWindows(
  tx: Tx,
  { subscriptionId, at, draftInvoiceId }: { subscriptionId: string; at: Date; draftInvoiceId?: string | undefined },
): Promise<LineDraft[]> {
  const ending = await endWindows(tx.em, await lockOpenWindows(tx, subscriptionId), at);
  closeEach(tx, ending, { at, draftInvoiceId });
  return ending.flatMap(endedLine);
}

/** A window, and how it is when it ends. */
interface Ending {
  window: UsageWindow;
  end: Awaited<ReturnType<typeof endedAt>>;
}

/** How these windows end at `at`; changes nothing. */
export async function endWindows(em: EntityManager, windows: readonly UsageWindow[], at: Date): Promise<Ending[]> {
  const ending: Ending[] = [];
  for (const window of windows) ending.push({ window, end: await endedAt(em, window, at) });
  return ending;
}

/** What a window that ends so adds to the invoice. */
export const endedLine = ({ window, end }: Ending): LineDraft[] => usageLineOf(window, end);

export function closeEach(
  tx: Tx,
  ending: readonly Ending[],
  { at, draftInvoiceId }: { at: Date; draftInvoiceId?: string | undefined },
): void {
  for (const { window, end } of ending)
    Object.assign(window, end, { closedAt: at, draftInvoiceId: draftInvoiceId ?? null });
  tx.touchUsage();
}

/**
 * Makes room for windows that start at `at`, when others of the subscription were closed at their very start: a metric has
 * one window at a start. Those keep no time of their own, so they move a millisecond back, behind any that did before.
 */
export async function vacateStart(tx: Tx, { subscriptionId, at }: { subscriptionId: string; at: Date }): Promise<void> {
  await tx.em.flush();
  await rowsOf(
    tx.em,
    sql`update usage_window closed set period_start = (
          select min(other.period_start) - interval '1 millisecond' from usage_window other
          where other.account_id = ${tx.accountId} and other.subscription_id = ${subscriptionId}
            and other.metric_code = closed.metric_code and other.period_end = ${at} and other.period_start > ${at}::timestamptz - interval '1 second')
        where account_id = ${tx.accountId} and subscription_id = ${subscriptionId} and period_start = ${at}
          and closed_at is not null`,
  );
}

/** The lines that `closeWindows` would return, from counters that may still move: what a preview shows. */
export async function usageSoFar(
  em: EntityManager,
  { accountId, subscriptionId, at }: { accountId: string; subscriptionId: string; at: Date },
): Promise<LineDraft[]> {
  const windows = await em.find(
    UsageWindow,
    { accountId, subscriptionId, closedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  return (await endWindows(em, windows, at)).flatMap(endedLine);
}

/** Could usage of the open windows that is told late still cost something? */
export const mayCostLate = async (
  em: EntityManager,
  { accountId, subscriptionId }: { accountId: string; subscriptionId: string },
): Promise<boolean> =>
  (await em.count(UsageWindow, { accountId, subscriptionId, closedAt: null, overage: 'CHARGE' })) > 0;

/** What a change does to the windows before they are billed. */
export interface WindowsAfter extends GrantedTerms {
  period: Period;
  /** The open windows go on under these features (a change of plan); else all begin afresh (a first period, a pause's end). */
  goOn: boolean;
  subscriptionId: string | null;
}

/** What the account's windows would bill at the end of their period with the usage so far; undefined `after`: as they are. */
export async function usageToBill(
  em: EntityManager,
  { accountId, currency, after }: { accountId: string; currency: string; after?: WindowsAfter | undefined },
): Promise<LineDraft[]> {
  const windows = await em.find(
    UsageWindow,
    { accountId, closedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  if (!after) return windows.flatMap(usageLine);
  const { features, period, goOn, subscriptionId } = after;
  const going = goOn ? windows : [];
  const moved = await Promise.all(
    going.map(async (window) => ({
      ...window,
      ...(await movedPeriod(em, window, period)),
      ...termsUnder(after, window.metricCode),
    })),
  );
  const unknown = withoutWindow(features, going);
  const fresh = await freshWindows(em, { ...after, accountId, subscriptionId, features: unknown, currency });
  return [...moved, ...fresh].flatMap(usageLine);
}

/** Those of the features whose metric has no window yet. */
const withoutWindow = (features: readonly PlanFeature[], windows: readonly UsageWindow[]): PlanFeature[] =>
  features.filter((f) => f.metricCode != null && !windows.some((window) => window.metricCode === f.metricCode));

/** The subscription's open windows, locked: no usage counts in them until the transaction ends. */
export async function lockOpenWindows(tx: Tx, subscriptionId: string): Promise<UsageWindow[]> {
  await rowsOf(
    tx.em,
    sql`select id from usage_window
        where account_id = ${tx.accountId} and subscription_id = ${subscriptionId} and closed_at is null order by id for update`,
  );
  return tx.em.find(
    UsageWindow,
    { accountId: tx.accountId, subscriptionId, closedAt: null },
    { orderBy: { id: 'asc' }, refresh: true },
  );
}

/** The open windows of many subscriptions, one of each account, by account; locked where they are to be closed. */
export async function openWindowsOf(
  em: EntityManager,
  subscriptions: readonly { accountId: string; id: string }[],
  { lock }: { lock: boolean },
): Promise<Map<string, UsageWindow[]>> {
  const windows = await em.find(
    UsageWindow,
    {
      accountId: { $in: subscriptions.map(({ accountId }) => accountId) },
      subscriptionId: { $in: subscriptions.map(({ id }) => id) },
      closedAt: null,
    },
    { orderBy: { accountId: 'asc', id: 'asc' }, ...(lock && { lockMode: LockMode.PESSIMISTIC_WRITE }) },
  );
  return Map.groupBy(windows, (window) => window.accountId);
}

function fireThresholds(tx: Tx, window: UsageWindow, timeZone: string): void {
  const used = new Decimal(window.used ?? zero);
  const limit = window.limit == null ? null : new Decimal(window.limit);
  const { crossed, cleared, fired } = crossThresholds({
    used,
    limit,
    percents: window.thresholdPercents.map(Number),
    fired: window.firedPercents.map(Number),
  });
  window.firedPercents = fired;
  const row = { metric: window.metricCode, limit, period: { start: window.periodStart, end: window.periodEnd } };
  for (const percent of crossed)
    tx.emit({ type: 'usage.threshold', data: presentThreshold({ window: row, used, timeZone, percent }) });
  for (const percent of cleared)
    tx.emit({ type: 'usage.threshold_cleared', data: presentThreshold({ window: row, used, timeZone, percent }) });
}
