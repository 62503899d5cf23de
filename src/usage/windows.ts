import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import type { PlanFeature } from '../catalog/plan.entity.js';
import { Decimal, zero } from '../domain/decimal.js';
import type { Period } from '../domain/period.js';
import { crossThresholds } from '../domain/thresholds.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { endedAt, movedPeriod } from './countedEvents.js';
import { type FreshTerms, freshWindowsOf, type GrantedTerms, termsUnder } from './freshWindows.js';
import { usageLine } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';
import { presentThreshold } from './usage.present.js';

// How windows begin, change with the plan, and end.

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

/** How an open window goes on after a change of plan. */
type Changed = Pick<
  UsageWindow,
  'periodStart' | 'periodEnd' | 'withdrawnAt' | 'used' | 'accrued' | 'limit' | 'overage' | 'charge'
>;

/**
 * An open window after a change of plan at `at`; changes nothing. It keeps its count and takes the new terms. Where the new plan
 * doesn't grant the metric and its use is charged, what was used until then is still owed: on the terms it had it
 * waits for the end of the period. Not on the change's own invoice: the change may be declined, and usage goes on until it is paid.
 */
export async function changedWindow(
  em: EntityManager,
  window: UsageWindow,
  { period, at, ...terms }: GrantedTerms & { period: Period; at: Date },
): Promise<Changed> {
  const { periodStart, limit, overage, charge, withdrawnAt } = window;
  const isGranted = terms.features.some(({ metricCode }) => metricCode === window.metricCode);
  if (!isGranted && overage === 'CHARGE' && charge != null) {
    const isCut = periodStart < period.start; // a new period begins with the change
    const end = withdrawnAt ?? (isCut ? period.start : at > periodStart ? at : periodStart);
    const ended = await movedPeriod(em, window, { start: periodStart, end });
    const cutAt = window.periodEnd < period.start ? window.periodEnd : period.start; // a second change leaves the first's end
    const periodEnd = isCut ? cutAt : period.end;
    return { ...ended, periodEnd, withdrawnAt: end, limit, overage, charge };
  }
  const start = periodStart < period.start ? period.start : periodStart;
  const moved = await movedPeriod(em, window, { start, end: period.end });
  return { ...moved, withdrawnAt: null, ...termsUnder(terms, window.metricCode) };
}

/**
 * Gives the open windows the limits and the period of another plan; counts stay. Thresholds are re-armed or fired by the
 * new limits. Where the period begins anew, the time before it is left to a closed window without a count, so that events
 * of that time still count, late, for 24 h.
 */
export async function changeWindowLimits(tx: Tx, terms: WindowTerms): Promise<void> {
  const windows = await lockOpenWindows(tx, terms.subscriptionId);
  for (const window of windows) {
    const { periodStart, withdrawnAt } = window;
    Object.assign(window, await changedWindow(tx.em, window, { ...terms, at: tx.now }));
    if (periodStart < window.periodStart) {
      await tx.em.flush(); // makes room for the one left behind: a metric has one window at a start
      tx.em.create(UsageWindow, {
        ...window,
        id: newId(),
        periodStart,
        periodEnd: withdrawnAt ?? window.periodStart,
        withdrawnAt: null,
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
    if (window.withdrawnAt == null) fireThresholds(tx, window, terms.timeZone);
  }
  await openWindows(tx, { ...terms, features: withoutWindow(terms.features, windows) });
}

/**
 * Ends the open windows at `at` and returns what they add to `invoiceId`: one line for each whose use costs something. With the
 * invoice that waits as DRAFT for their late events they still count, until `finalizeDrafts` takes their last word.
 */
export async function closeWindows(
  tx: Tx,
  { subscriptionId, ...closing }: { subscriptionId: string } & Closing,
): Promise<LineDraft[]> {
  const ending = await endWindows(tx.em, await lockOpenWindows(tx, subscriptionId), closing.at);
  closeEach(tx, ending, closing);
  return ending.flatMap(endedLine);
}

/** When windows close, the invoice that bills them, and the one that waits as DRAFT for their late events. */
export interface Closing {
  at: Date;
  invoiceId?: string | undefined;
  draftInvoiceId?: string | undefined;
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
export const endedLine = ({ window, end }: Ending): LineDraft[] => usageLine({ ...window, ...end });

export function closeEach(tx: Tx, ending: readonly Ending[], { at, invoiceId, draftInvoiceId }: Closing): void {
  for (const { window, end } of ending) {
    const billed = { closedAt: at, invoiceId: invoiceId ?? null, draftInvoiceId: draftInvoiceId ?? null };
    Object.assign(window, end, billed);
  }
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

/** Could usage of the open windows that is told late still cost something? */
export const mayCostLate = async (
  em: EntityManager,
  { accountId, subscriptionId }: { accountId: string; subscriptionId: string },
): Promise<boolean> =>
  (await em.count(UsageWindow, { accountId, subscriptionId, closedAt: null, overage: 'CHARGE' })) > 0;

/** Those of the features whose metric has no window yet. */
export const withoutWindow = (features: readonly PlanFeature[], windows: readonly UsageWindow[]): PlanFeature[] =>
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
