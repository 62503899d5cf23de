import type { EntityManager } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import type { OveragePolicy } from '../catalog/plan.entity.js';
import { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { type Period, periodAt } from '../domain/period.js';
import type { ChargeModel } from '../domain/rating.js';
import { usedPercent } from '../domain/thresholds.js';
import { accountNow, type Clock } from '../platform/clock.js';
import { isPageSize } from '../platform/connection.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { rateWindow } from './rateWindow.js';

export interface UsageItem {
  metric: { id: string; code: string; name: string; unit: string | null; aggregation: string; property: string | null };
  used: Decimal;
  /** Null: unlimited. */
  limit: Decimal | null;
  percent: number | null;
  chargeMinor: bigint;
  overage: OveragePolicy;
}

export interface UsageSummary {
  period: Period;
  items: UsageItem[];
  currency: string;
  /** What the usage adds to the invoice of its period. */
  chargesMinor: bigint;
  watermark: string;
}

interface Row {
  watermark: string | null;
  period_start: string | null;
  period_end: string;
  used: string;
  limit_quantity: string | null;
  overage: OveragePolicy;
  event_count: number;
  charge: ChargeModel | null;
  window_currency: string;
  metric_id: string;
  code: string;
  name: string;
  unit: string | null;
  aggregation: string;
  property: string | null;
}

/** One statement, so that the watermark and the counters are of one moment. */
const summaryRows = (em: EntityManager, accountId: string, which: ReturnType<typeof sql<boolean>>) =>
  rowsOf(
    em,
    sql<Row>`
      select c.watermark, w.period_start, w.period_end, w.used, w.event_count, w.limit_quantity, w.overage, w.charge,
        w.currency as window_currency, m.id as metric_id, m.code, m.name, m.unit, m.aggregation, m.property
      from (select ${accountId}::uuid as account_id) a
      left join usage_cursor c on c.account_id = a.account_id
      left join usage_window w on w.account_id = a.account_id and ${which}
      left join metric m on m.code = w.metric_code
      order by w.period_start desc, w.position, w.id`,
  );

const itemOf = (row: Row): UsageItem => {
  const used = new Decimal(row.used);
  const limit = row.limit_quantity === null ? null : new Decimal(row.limit_quantity);
  return {
    metric: {
      id: row.metric_id,
      code: row.code,
      name: row.name,
      unit: row.unit,
      aggregation: row.aggregation,
      property: row.property,
    },
    used,
    limit,
    percent: usedPercent({ used, limit })?.toNumber() ?? null,
    chargeMinor: rateWindow({
      used: row.used,
      eventCount: row.event_count,
      limit: row.limit_quantity,
      overage: row.overage,
      charge: row.charge,
      currency: row.window_currency,
    }).amountMinor,
    overage: row.overage,
  };
};

function summaryOf(
  rows: readonly Row[],
  { watermark, fallback, currency }: { watermark: string; fallback: Period; currency: string },
): UsageSummary {
  const first = rows[0];
  const items = rows.map(itemOf);
  return {
    period: first?.period_start ? { start: instantOf(first.period_start), end: instantOf(first.period_end) } : fallback,
    items,
    currency: first?.window_currency ?? currency,
    chargesMinor: items.reduce((sum, item) => sum + item.chargeMinor, 0n),
    watermark,
  };
}

/** Stands in where the rows themselves say the period. */
const noPeriod: Period = { start: new Date(0), end: new Date(0) };

/** The current period's usage. Without a subscription: the calendar month, and no metric. */
export async function usageSummary(
  em: EntityManager,
  { accountId, clock }: { accountId: string; clock: Clock },
): Promise<UsageSummary> {
  const rows = await summaryRows(em, accountId, sql<boolean>`w.closed_at is null`);
  const counted = rows.filter((row) => row.period_start !== null);
  const watermark = rows[0]?.watermark ?? '0';
  if (counted.length > 0) return summaryOf(counted, { watermark, fallback: noPeriod, currency: '' });
  const { currency, timeZone } = await accountById(em, accountId);
  const fallback = calendarMonth(await accountNow(em, clock, accountId), timeZone);
  return summaryOf(counted, { watermark, fallback, currency });
}

/** The last periods, the current one first. */
export async function usageHistory(
  em: EntityManager,
  { accountId, last }: { accountId: string; last: number },
): Promise<UsageSummary[]> {
  if (!isPageSize(last)) throw invalid(`last is ${last}, expected 1 to 100`, 'last');
  const rows = await summaryRows(
    em,
    accountId,
    sql<boolean>`w.period_start in (
      select distinct period_start from usage_window where account_id = ${accountId} order by period_start desc limit ${last})`,
  );
  const watermark = rows[0]?.watermark ?? '0';
  const byPeriod = Map.groupBy(
    rows.filter((row) => row.period_start !== null),
    (row) => `${row.period_start} ${row.period_end}`,
  );
  return [...byPeriod.values()]
    .slice(0, last)
    .map((group) => summaryOf(group, { watermark, fallback: noPeriod, currency: '' }));
}

export async function readWatermark(em: EntityManager, accountId: string): Promise<bigint> {
  const [row] = await rowsOf(
    em,
    sql<{ watermark: string }>`select watermark from usage_cursor where account_id = ${accountId}`,
  );
  return BigInt(row?.watermark ?? 0);
}

function calendarMonth(now: Date, timeZone: string): Period {
  const anchor = new Date(Temporal.PlainDate.from('2000-01-01').toZonedDateTime(timeZone).epochMilliseconds);
  return now < anchor
    ? { start: anchor, end: anchor }
    : periodAt({ interval: 'MONTH', intervalCount: 1, anchor, timeZone }, now);
}
