import { Decimal } from '../domain/decimal.js';
import type { ChargeModel } from '../domain/rating.js';
import { type UsageWindow as DomainWindow, lateMs } from '../domain/usage.js';
import type { Tx } from '../platform/db.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';

// Windows as recording and correcting see them: locked, in the shape that the domain decides on.

interface RawWindow {
  id: string;
  metric_code: string;
  aggregation: DomainWindow['aggregation'];
  period_start: string;
  period_end: string;
  withdrawn_at: string | null;
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
      select w.id, w.metric_code, w.aggregation, w.period_start, w.period_end, w.withdrawn_at, w.limit_quantity, w.overage, w.charge, w.currency, w.used,
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
    period: { start: instantOf(row.period_start), end: instantOf(row.withdrawn_at ?? row.period_end) },
    billedAt: row.withdrawn_at !== null && row.closed_at === null ? null : instantOf(row.period_end),
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
