import type { EntityManager } from '@mikro-orm/postgresql';
import fc from 'fast-check';
import { type Aggregation, aggregate, type Count, isLevel } from '../../src/domain/aggregate.js';
import { Decimal } from '../../src/domain/decimal.js';
import type { Tx } from '../../src/platform/db.js';
import { newId } from '../../src/platform/ids.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { recount } from '../../src/usage/countedEvents.js';
import type { LockedWindow } from '../../src/usage/lockedWindows.js';
import { withReadings } from '../../src/usage/lookBack.js';
import type { DatedUsageEvent } from '../../src/usage/usageEvent.js';
import { freshKey, subscribed } from '../support/billing.js';
import {
  countedEvents,
  expectCountersEqualEvents,
  meteringCatalogYaml,
  record,
  usageOf,
  windowsOf,
} from '../support/metering.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: meteringCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:01Z'));

const startMs = Date.parse('2024-04-01T00:00:00Z');
const hour = (n: number) => new Date(startMs + n * 3_600_000);
const period = { start: hour(0), end: hour(48) };
const aggregations: Aggregation[] = ['COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE', 'WEIGHTED_SUM'];
const shown = ({ used, eventCount, latestAt, level, accrued }: Count) =>
  [used.toFixed(), eventCount, latestAt, level?.toFixed(), accrued?.toFixed()].map(String).join(' ');

interface Stored {
  value: string;
  at: Date;
  unique: string;
  watermark: number;
  voided: boolean;
}

async function store(em: EntityManager, accountId: string, windowId: string, events: readonly Stored[]): Promise<void> {
  const each = <T>(of: (event: Stored, i: number) => T): T[] => events.map(of);
  await rowsOf(
    em,
    sql`insert into usage_event (account_id, id, metric_code, value, occurred_at, window_id, late, properties, unique_value, recorded_at,
          watermark, position, voided_at)
        select ${accountId}::uuid, e.id, 'any', e.value, e.at, ${windowId}::uuid, false, null, e.unique_value, ${hour(0)}, e.watermark, e.position,
          e.voided_at
        from unnest(${each(() => freshKey())}::text[], ${each((e) => e.value)}::numeric[], ${each((e) => e.at)}::timestamptz[],
          ${each((e) => e.unique)}::text[], ${each((e) => e.watermark)}::bigint[], ${each((_, i) => i)}::int[],
          ${each((e) => (e.voided ? hour(0) : null))}::timestamptz[]) as e (id, value, at, unique_value, watermark, position, voided_at)`,
  );
}

/** Also before the start and after the end of the period, often at the same instant, some of them voided. */
const stored: fc.Arbitrary<Stored> = fc.record({
  value: fc.integer({ min: 0, max: 10 ** 9 }).map((n) => new Decimal(n).div('1e6').toFixed()),
  at: fc.integer({ min: -10, max: 60 }).map(hour),
  unique: fc.constantFrom('a', 'b', 'c', 'd'),
  watermark: fc.integer({ min: 1, max: 4 }),
  voided: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
});
const opened = fc.option(
  fc.record({
    level: fc.integer({ min: 0, max: 99 }).map((n) => new Decimal(n)),
    at: fc.option(fc.integer({ min: -20, max: 20 }).map(hour)),
  }),
);

test('the database counts a window as the fold over all of its events does', async () => {
  const em = world.deps.db.orm.em.fork();
  const accountId = newId();
  await fc.assert(
    fc.asyncProperty(fc.array(stored, { maxLength: 25 }), opened, async (events, level) => {
      const id = newId();
      await store(em, accountId, id, events);
      const all = await countedEvents(em, { accountId, id });
      expect(all).toHaveLength(events.filter(({ voided }) => !voided).length);
      for (const aggregation of aggregations) {
        const opening = isLevel(aggregation) ? level : null;
        const counted = await recount(em, { accountId, id, aggregation, opening, period });
        const folded = aggregate({ aggregation, opening, events: all, period });
        expect(`${aggregation} ${shown(counted)}`).toBe(`${aggregation} ${shown(folded)}`);
      }
    }),
    { numRuns: 40 },
  );
});

test('older readings go to their place by their neighbours, in whatever batches they come', async () => {
  const reading = fc.record({ hour: fc.integer({ min: 1, max: 30 }), value: fc.integer({ min: 0, max: 9 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(reading, { minLength: 1, maxLength: 6 }), { minLength: 2, maxLength: 5 }),
      async (batches) => {
        world.clock.set('2024-04-01T00:00:01Z');
        const { account } = await subscribed(world);
        world.clock.set('2024-04-20T00:00:00Z');
        for (const batch of batches) {
          const events = batch.map(({ hour: at, value }) => usageOf('seats', String(value), { timestamp: hour(at) }));
          await record(world, account, ...events);
        }
        await expectCountersEqualEvents(world, account);
      },
    ),
    { numRuns: 6 },
  );
});

/** An entity manager that notes how many rows each statement answers. */
function watched(em: EntityManager): { em: EntityManager; rows: number[] } {
  const rows: number[] = [];
  const executor = em.getKysely().getExecutor();
  const counting = new Proxy(executor, {
    get: (target, key: keyof typeof executor) => {
      if (key === 'executeQuery')
        return async (...args: Parameters<typeof executor.executeQuery>) => {
          const result = await target.executeQuery(...args);
          rows.push(result.rows.length);
          return result;
        };
      const value = target[key];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { em: { getKysely: () => ({ getExecutor: () => counting }) } as unknown as EntityManager, rows };
}

describe('a window of 50,000 events', () => {
  const size = 50_000;
  const fill = (accountId: string, windowId: string, metric: string) =>
    world.rows(sql`
      insert into usage_event (account_id, id, metric_code, value, occurred_at, window_id, unique_value, late, recorded_at, watermark, position)
      select ${accountId}::uuid, ${metric} || n, ${metric}, n % 7, ${hour(1)}::timestamptz + n * interval '10 seconds', ${windowId}::uuid, 'u' || n % 50, false, ${hour(1)}, 1, n
      from generate_series(1, ${size}::int) n`);

  const [accountId, id] = [newId(), newId()];
  beforeAll(() => fill(accountId, id, 'any'));

  test.each(aggregations)('%s: is counted by one statement that answers one row', async (aggregation) => {
    const { em, rows } = watched(world.deps.db.orm.em.fork());
    const opening = isLevel(aggregation) ? { level: new Decimal(3), at: null } : null;
    const month = { start: hour(0), end: hour(720) };
    const counted = await recount(em, { accountId, id, aggregation, opening, period: month });
    expect(rows).toEqual([1]);
    const events = await countedEvents(world.deps.db.orm.em.fork(), { accountId, id });
    expect(shown(counted)).toBe(shown(aggregate({ aggregation, opening, events, period: month })));
  });

  test('an older reading is placed by the two beside it and the last one', async () => {
    const { account } = await subscribed(world);
    const [window] = await windowsOf(world, account, 'seats');
    await fill(account.id, window!.id, 'seats');
    const { em, rows } = watched(world.deps.db.orm.em.fork());
    const tx = { em, accountId: account.id } as Tx;
    const times = [hour(1), hour(2), new Date(hour(2).getTime() + 1), hour(700)];
    const events = times.map((timestamp) => ({ metric: 'seats', timestamp }) as DatedUsageEvent);
    const windows = [{ id: window!.id, metric: 'seats', opening: null } as LockedWindow];
    const [placed] = await withReadings(tx, { events, windows, lacking: [window!.id] });
    // The level before any; n = 1; 360 and 361, at 2:00:00 and ten seconds later, which are beside two of the times; the last.
    expect(placed!.readings!.map(({ atMs }) => atMs - hour(1).getTime())).toEqual([
      Number.NEGATIVE_INFINITY,
      10_000,
      3_600_000,
      3_610_000,
      size * 10_000,
    ]);
    expect(rows).toEqual([4]);
  });
});
