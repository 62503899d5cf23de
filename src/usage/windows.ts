import type { EntityManager } from '@mikro-orm/postgresql';
import type { PlanFeature } from '../catalog/plan.entity.js';
import { Metric } from '../catalog/plan.entity.js';
import { Decimal, zero } from '../domain/decimal.js';
import type { Period } from '../domain/period.js';
import type { ChargeModel } from '../domain/rating.js';
import { crossThresholds, defaultThresholdPercents } from '../domain/thresholds.js';
import { type UsageWindow as DomainWindow, lateMs } from '../domain/usage.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { usageLine } from './rateWindow.js';
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
  /** Null too while its invoice waits as DRAFT: it still counts. */
  closed_at: string | null;
}

/**
 * Locks, in one statement, the account's windows that these events may count in. Ordered by id, so that two batches never
 * wait for each other in a circle.
 */
export async function lockWindows(
  tx: Tx,
  events: readonly { metric: string; timestamp: Date }[],
): Promise<DomainWindow[]> {
  const metrics = [...new Set(events.map((event) => event.metric))];
  const earliestMs = events.reduce((min, event) => Math.min(min, event.timestamp.getTime()), Number.POSITIVE_INFINITY);
  const rows = await rowsOf(
    tx.em,
    sql<RawWindow>`
      select id, metric_code, aggregation, period_start, period_end, limit_quantity, overage, charge, currency, used, event_count,
        latest_at, threshold_percents::text[], fired_percents::text[], case when draft_invoice_id is null then closed_at end as closed_at
      from usage_window
      where account_id = ${tx.accountId} and metric_code = any(${metrics}::text[])
        and (closed_at is null or draft_invoice_id is not null or (period_end > ${new Date(earliestMs)} and period_end > ${new Date(tx.now.getTime() - lateMs)}))
      order by id for update`,
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
  }));
}

export interface WindowTerms {
  subscriptionId: string;
  period: Period;
  features: readonly PlanFeature[];
  currency: string;
  timeZone: string;
  /** The subscription is paused: nothing counts, and nobody is warned of limits. */
  blocked?: boolean;
}

/**
 * Opens a window for each metric of the plan. A LATEST metric is a level and goes on from where the subscription's last
 * window ended (a new subscription begins at zero); all others start at zero. Thresholds a level already stands above are announced for the new period.
 */
export async function openWindows(tx: Tx, terms: WindowTerms): Promise<void> {
  const levels = await rowsOf(
    tx.em,
    sql<{ metric_code: string; used: string; latest_at: string | null }>`
      select distinct on (metric_code) metric_code, used, latest_at from usage_window
      where account_id = ${tx.accountId} and subscription_id = ${terms.subscriptionId} and aggregation = 'LATEST'
      order by metric_code, period_end desc, id desc`,
  );
  const metrics = await tx.em.find(Metric, { code: { $in: metricCodes(terms.features) } });
  for (const feature of terms.features) {
    const metric = metrics.find((m) => m.code === feature.metricCode);
    if (!metric) continue;
    const level = metric.aggregation === 'LATEST' ? levels.find((l) => l.metric_code === metric.code) : undefined;
    const window = tx.em.create(UsageWindow, {
      accountId: tx.accountId,
      id: newId(),
      subscriptionId: terms.subscriptionId,
      metricCode: metric.code,
      featureName: feature.name,
      position: feature.position,
      aggregation: metric.aggregation,
      periodStart: terms.period.start,
      periodEnd: terms.period.end,
      ...(terms.blocked ? nothingGranted : termsOf(feature)),
      currency: terms.currency,
      used: level?.used ?? '0',
      latestAt: level?.latest_at ? instantOf(level.latest_at) : null,
      thresholdPercents: terms.blocked ? [] : [...defaultThresholdPercents],
      firedPercents: [],
    });
    fireThresholds(tx, window, terms.timeZone);
  }
  tx.touchUsage();
}

/**
 * Gives the open windows the limits and the period of another plan; counts stay. Thresholds are re-armed or fired by the
 * new limits. Where the period begins anew, the time before it is left to a closed window without a count, so that events
 * of that time still count, late, for 24 h.
 */
export async function changeWindowLimits(tx: Tx, terms: WindowTerms): Promise<void> {
  const windows = await lockOpenWindows(tx, terms.subscriptionId);
  for (const window of windows) {
    if (window.periodStart < terms.period.start) {
      const periodStart = window.periodStart;
      window.periodStart = terms.period.start;
      await tx.em.flush(); // makes room for the one left behind: a metric has one window at a start
      tx.em.create(UsageWindow, {
        ...window,
        id: newId(),
        periodStart,
        periodEnd: terms.period.start,
        closedAt: tx.now,
        used: '0',
        eventCount: 0,
        latestAt: null,
        firedPercents: [],
      });
    }
    Object.assign(window, termsUnder(terms.features, window.metricCode));
    window.periodEnd = terms.period.end;
    fireThresholds(tx, window, terms.timeZone);
  }
  const known = new Set(windows.map((w) => w.metricCode));
  await openWindows(tx, {
    ...terms,
    features: terms.features.filter((f) => f.metricCode != null && !known.has(f.metricCode)),
  });
}

/**
 * Ends the open windows at `at` and returns what they add to the invoice: one line for each whose use costs something. With the
 * invoice that waits as DRAFT for their late events they still count, until `finalizeDrafts` takes their last word.
 */
export async function closeWindows(
  tx: Tx,
  { subscriptionId, at, draftInvoiceId }: { subscriptionId: string; at: Date; draftInvoiceId?: string | undefined },
): Promise<LineDraft[]> {
  const windows = await lockOpenWindows(tx, subscriptionId);
  const lines: LineDraft[] = [];
  for (const window of windows) {
    // Never before its start, whatever the clocks of two processes say.
    if (at < window.periodEnd) window.periodEnd = at > window.periodStart ? at : window.periodStart;
    window.closedAt = at;
    window.draftInvoiceId = draftInvoiceId ?? null;
    lines.push(...usageLine(window));
  }
  tx.touchUsage();
  return lines;
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
  return windows.flatMap((window) =>
    usageLine({ ...window, periodEnd: at < window.periodEnd ? at : window.periodEnd }),
  );
}

/**
 * What the account's open windows would bill at the end of their period with the usage so far. `under`: the plan's features
 * and the period a change would give them.
 */
export async function usageToBill(
  em: EntityManager,
  { accountId, under }: { accountId: string; under?: { features: readonly PlanFeature[]; period: Period } | undefined },
): Promise<LineDraft[]> {
  const windows = await em.find(
    UsageWindow,
    { accountId, closedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  return windows.flatMap((window) => {
    if (!under) return usageLine(window);
    const { start: periodStart, end: periodEnd } = under.period;
    return usageLine({ ...window, ...termsUnder(under.features, window.metricCode), periodStart, periodEnd });
  });
}

const metricCodes = (features: readonly PlanFeature[]): string[] =>
  features.flatMap((f) => (f.metricCode == null ? [] : [f.metricCode]));

/** What a window gets of a plan. A metric the plan doesn't grant takes no more usage. */
function termsUnder(features: readonly PlanFeature[], metricCode: string): ReturnType<typeof termsOf> {
  const feature = features.find((f) => f.metricCode === metricCode);
  return feature ? termsOf(feature) : nothingGranted;
}

const nothingGranted = { limit: '0', overage: 'BLOCK', charge: null } as const;

const termsOf = (feature: PlanFeature) => ({
  limit: feature.limit ?? null,
  overage: feature.overage,
  charge: feature.charge ?? null,
});

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
