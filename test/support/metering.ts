import type { EntityManager } from '@mikro-orm/postgresql';
import { aggregate, type CountedEvent } from '../../src/domain/aggregate.js';
import { Decimal } from '../../src/domain/decimal.js';
import { instantOf, rowsOf, sql } from '../../src/platform/sql.js';
import { countedPeriod } from '../../src/usage/countedEvents.js';
import { recordUsage, type UsageEventInput } from '../../src/usage/recordUsage.js';
import { UsageWindow } from '../../src/usage/usage.entity.js';
import { freshKey } from './billing.js';
import type { TestAccount, World } from './world.js';

/** A metric of each aggregation: `devices` counts values of the property `device`, `seats` is a level by time. */
export const meteringCatalogYaml = `
metrics:
  - { code: users, name: Users, aggregation: latest }
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: requests, name: Requests, aggregation: count }
  - { code: peak, name: Peak, aggregation: max }
  - { code: devices, name: Devices, aggregation: unique, property: device }
  - { code: seats, name: Seats, aggregation: weighted_sum }
plans:
  - code: basic
    name: Basic
    price: 30.00
    currency: USD
    interval: month
    features:
      users: 5
      requests: 10
      peak: 100
      minutes: { limit: 100, overage: charge, unit_price: 0.05 }
      devices: { limit: 5, overage: charge, unit_price: 1.00 }
      seats: { limit: 5, overage: charge, unit_price: 3.00 }
  - code: premium
    name: Premium
    price: 60.00
    currency: USD
    interval: month
    features: { users: 50, requests: 1000, peak: 100, minutes: 1000, devices: 50, seats: 50 }
  - { code: yearly, name: Yearly, price: 600.00, currency: USD, interval: year, features: { users: 50, seats: 5 } }
`;

export const usageOf = (metric: string, value?: string, more: Partial<UsageEventInput> = {}): UsageEventInput => ({
  transactionId: freshKey(),
  metric,
  ...(value === undefined ? {} : { value }),
  ...more,
});

export const record = async (world: World, account: TestAccount, ...events: UsageEventInput[]): Promise<string[]> =>
  (await recordUsage(world.deps, account.actor, events)).results.map(({ status, error }) => error?.code ?? status);

const plain = { disableIdentityMap: true } as const;

/** The metric's windows, oldest first. */
export const windowsOf = (world: World, { id: accountId }: TestAccount, metricCode: string): Promise<UsageWindow[]> =>
  world.deps.db.orm.em
    .fork()
    .find(UsageWindow, { accountId, metricCode }, { ...plain, orderBy: { periodEnd: 'asc', id: 'asc' } });

/** What each of the metric's windows has counted, oldest first. */
export const countsOf = async (world: World, account: TestAccount, metric: string): Promise<string[]> =>
  (await windowsOf(world, account, metric)).map(({ used }) => new Decimal(used).toFixed());

/** Every event that counts in a window, in the order in which they were accepted. */
export async function countedEvents(
  em: EntityManager,
  { accountId, id }: Pick<UsageWindow, 'accountId' | 'id'>,
): Promise<CountedEvent[]> {
  const rows = await rowsOf(
    em,
    sql<{ value: string; occurred_at: string; unique_value: string | null }>`
      select value, occurred_at, unique_value from usage_event
      where account_id = ${accountId} and window_id = ${id} and voided_at is null
      order by watermark, position, recorded_at, id`,
  );
  return rows.map((row) => ({
    value: new Decimal(row.value),
    timestamp: instantOf(row.occurred_at),
    uniqueValue: row.unique_value,
  }));
}

/** Every counter of the account equals its events, and every level began where the one before it ended. */
export async function expectCountersEqualEvents(world: World, { id: accountId }: TestAccount): Promise<void> {
  const em: EntityManager = world.deps.db.orm.em.fork();
  for (const window of await em.find(UsageWindow, { accountId }, plain)) {
    if (window.openingLevel == null && window.eventCount === 0) continue;
    const opening =
      window.openingLevel == null ? null : { level: new Decimal(window.openingLevel), at: window.openingAt ?? null };
    // One that made room for another at its very start keeps no time of its own (see vacateStart).
    const vacated = window.closedAt != null && window.periodEnd.getTime() - window.periodStart.getTime() < 1_000;
    const counted = countedPeriod(window);
    const period = { start: vacated ? counted.end : counted.start, end: counted.end };
    const { aggregation } = window;
    const fold = aggregate({ aggregation, opening, period, events: await countedEvents(em, window) });
    const shown = (value: { toString(): string } | null | undefined) =>
      value == null ? null : new Decimal(value.toString()).toFixed();
    expect([
      window.metricCode,
      shown(window.used),
      window.eventCount,
      window.latestAt,
      shown(window.level),
      shown(window.accrued),
    ]).toEqual([
      window.metricCode,
      shown(fold.used),
      fold.eventCount,
      fold.latestAt,
      shown(fold.level),
      shown(fold.accrued),
    ]);
  }
}
