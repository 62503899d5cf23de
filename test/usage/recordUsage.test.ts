import pg from 'pg';
import { operatorAccountId } from '../../src/account/apiKeys.js';
import { openCore } from '../../src/app.js';
import { readConfig } from '../../src/config.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { systemActor } from '../../src/platform/actor.js';
import { newId, publicId } from '../../src/platform/ids.js';
import { createLogger } from '../../src/platform/log.js';
import { sql } from '../../src/platform/sql.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { entitlements } from '../../src/subscription/entitlements.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage, type UsageEventInput } from '../../src/usage/recordUsage.js';
import { usageHistory, usageSummary } from '../../src/usage/usageSummary.js';
import {
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  runDue,
  subscribed,
  testCatalogYaml,
} from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const event = (metric: string, value?: string, more: Partial<UsageEventInput> = {}): UsageEventInput => ({
  transactionId: freshKey(),
  metric,
  ...(value === undefined ? {} : { value }),
  ...more,
});
const record = async (account: TestAccount, ...events: UsageEventInput[]) =>
  (await recordUsage(world.deps, account.actor, events)).results;
const statuses = async (account: TestAccount, ...events: UsageEventInput[]) =>
  (await record(account, ...events)).map((r) => r.error?.code ?? r.status);
const summary = (account: TestAccount) =>
  usageSummary(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
const used = async (account: TestAccount, metric: string) =>
  (await summary(account)).items.find((item) => item.metric.code === metric)!.used.toFixed();
const thresholds = async (account: TestAccount) =>
  (await eventsOf(world, account, 'usage.threshold')).map(
    (e) => `${String(e.data.metric)} ${String(e.data.threshold_percent)}`,
  );

describe('counting', () => {
  test('SUM adds exactly, COUNT counts, MAX keeps the highest, LATEST the newest by timestamp', async () => {
    const { account } = await subscribed(world, { planCode: 'premium' });
    world.clock.advanceMs(3_600_000);
    const at = (minutes: number) => ({ timestamp: new Date(Date.parse('2024-04-01T00:30:00Z') + minutes * 60_000) });
    await record(account, event('minutes', '0.1'), event('minutes', '0.2'), event('minutes'), event('minutes', '-0.3'));
    await record(account, event('requests', '17'), event('requests'));
    await record(account, event('peak', '7.5'), event('peak', '3'));
    await record(account, event('users', '9', at(5)), event('users', '4', at(1)));
    await record(account, event('users', '2', at(3)));
    expect(await used(account, 'minutes')).toBe('1');
    expect(await used(account, 'requests')).toBe('2');
    expect(await used(account, 'peak')).toBe('7.5');
    expect(await used(account, 'users')).toBe('9');
  });

  test('a repeat is a DUPLICATE whatever its content, in one batch or another; a rejected id may come again', async () => {
    const { account } = await subscribed(world);
    const first = event('minutes', '5');
    expect(await statuses(account, first, { ...first, value: '7' }, { ...first, metric: 'users' })).toEqual([
      'ACCEPTED',
      'DUPLICATE',
      'DUPLICATE',
    ]);
    expect(await statuses(account, { ...first, metric: 'nonsense', value: '9' }, event('minutes', '1'))).toEqual([
      'DUPLICATE',
      'ACCEPTED',
    ]);
    const refused = event('users', '6');
    expect(await statuses(account, refused)).toEqual(['LIMIT_EXCEEDED']);
    expect(await statuses(account, { ...refused, value: '5' })).toEqual(['ACCEPTED']);
    expect(await used(account, 'minutes')).toBe('6');
  });

  test('values that no column holds are refused, and the renewal bills the largest that are not', async () => {
    const { account } = await subscribed(world);
    const huge = event('minutes', '99999999999999999999');
    expect(
      await statuses(account, huge, { ...huge, transactionId: freshKey() }, event('minutes', '1000000000000000')),
    ).toEqual(['INVALID', 'INVALID', 'ACCEPTED']);
    expect(await record(account, event('minutes'))).toMatchObject([{ error: { field: ['events', '0', 'value'] } }]);
    expect(await used(account, 'minutes')).toBe('1000000000000000');
    // No card: what no provider charges waits for one.
    await world.deps.db.orm.em.fork().nativeUpdate(PaymentMethod, { accountId: account.id }, { isDefault: false });
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await linesOf(world, (await invoicesOf(world, account))[1]!)).toEqual([
      'Minutes over the limit of 100 4999999999999500',
      'Basic 3000',
    ]);
  });

  test("an operator's event names an account that exists", async () => {
    const { account } = await subscribed(world);
    const { results } = await recordUsage(world.deps, systemActor(operatorAccountId), [
      event('minutes', '1', { accountId: publicId('account', newId()) }),
      event('minutes', '1'),
      event('minutes', '1', { accountId: account.publicId }),
    ]);
    expect(results).toMatchObject([
      { status: 'REJECTED', error: { code: 'NOT_FOUND', field: ['events', '0', 'accountId'] } },
      { status: 'REJECTED', error: { code: 'INVALID', field: ['events', '1', 'accountId'] } },
      { status: 'ACCEPTED' },
    ]);
  });

  test('a level ends with its subscription', async () => {
    const { account, id } = await subscribed(world);
    await record(account, event('users', '4'));
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    await subscribe(world.deps, account.actor, { planCode: 'basic' });
    expect(await used(account, 'users')).toBe('0');
  });

  test('one bad event does not fail its neighbours', async () => {
    const { account } = await subscribed(world);
    world.clock.advanceMs(2 * dayMs);
    const now = world.clock.now().getTime();
    const stranger = await world.account();
    const events = [
      event('minutes', '1'),
      event('unknown'),
      event('minutes', '1', { timestamp: new Date(now + 6 * 60_000) }),
      event('minutes', '1', { timestamp: new Date(now + 4 * 60_000) }),
      event('minutes', '1', { timestamp: new Date(now - 3 * dayMs) }),
      event('minutes', 'NaN'),
      event('minutes', '1e3'),
      event('minutes', '1', { transactionId: '' }),
      event('minutes', '1', { transactionId: 'a\0b' }),
      event('minutes', '1', { accountId: 'acct_nonsense' }),
      event('minutes', '1', { timestamp: new Date(Number.NaN) }),
      event('minutes', '-50'),
    ];
    expect(await statuses(account, ...events)).toEqual([
      'ACCEPTED',
      'NOT_FOUND',
      'INVALID',
      'ACCEPTED',
      'ILLEGAL_STATE',
      'INVALID',
      'INVALID',
      'INVALID',
      'INVALID',
      'NOT_FOUND',
      'INVALID',
      'INVALID',
    ]);
    const theirs = await recordUsage(world.deps, { ...account.actor, operator: false }, [
      event('minutes', '1', { accountId: stranger.publicId }),
    ]);
    expect(theirs.results).toMatchObject([
      { status: 'REJECTED', error: { code: 'NOT_FOUND', field: ['events', '0', 'accountId'] } },
    ]);
    expect(await used(account, 'minutes')).toBe('2');
    await expect(recordUsage(world.deps, account.actor, [])).rejects.toMatchObject({ code: 'INVALID' });
  });

  test('BLOCK refuses what would pass the limit and takes what still fits; CHARGE takes all', async () => {
    const { account } = await subscribed(world);
    expect(await statuses(account, ...Array.from({ length: 12 }, () => event('requests')))).toEqual([
      ...Array.from({ length: 10 }, () => 'ACCEPTED'),
      'LIMIT_EXCEEDED',
      'LIMIT_EXCEEDED',
    ]);
    expect(await statuses(account, event('minutes', '1000'))).toEqual(['ACCEPTED']);
    const features = await entitlements(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
    const of = (feature: string) => features.find((e) => e.feature === feature);
    expect(of('requests')).toMatchObject({ allowed: false });
    expect(of('requests')!.remaining!.toNumber()).toBe(0);
    expect(of('minutes')).toMatchObject({ allowed: true });
    expect((await summary(account)).chargesMinor).toBe(4500n);
  });
});

describe('thresholds', () => {
  test('80, 90 and 100 fire once each; several crossed in one batch each fire', async () => {
    const { account } = await subscribed(world);
    await record(account, event('minutes', '79.99'));
    expect(await thresholds(account)).toEqual([]);
    await record(account, event('minutes', '0.01'));
    await record(account, event('minutes', '5'));
    expect(await thresholds(account)).toEqual(['minutes 80']);
    await record(account, event('minutes', '15'));
    await record(account, event('minutes', '50'));
    expect(await thresholds(account)).toEqual(['minutes 80', 'minutes 90', 'minutes 100']);
    const { account: other } = await subscribed(world);
    await record(other, ...Array.from({ length: 10 }, () => event('requests')));
    expect(await thresholds(other)).toEqual(['requests 80', 'requests 90', 'requests 100']);
  });

  test('50 requests at once fire each threshold once', async () => {
    const { account } = await subscribed(world);
    await Promise.all(Array.from({ length: 50 }, () => record(account, event('minutes', '2'))));
    expect(await used(account, 'minutes')).toBe('100');
    expect(await thresholds(account)).toEqual(['minutes 80', 'minutes 90', 'minutes 100']);
  });
});

describe('many at once', () => {
  test('1,000 events in one request are one transaction', async () => {
    const { account } = await subscribed(world);
    const results = await record(account, ...Array.from({ length: 1_000 }, () => event('minutes', '0.001')));
    expect(results.every((r) => r.status === 'ACCEPTED')).toBe(true);
    const [row] = await world.rows(
      sql<{
        n: string;
        transactions: string;
      }>`select count(*) as n, count(distinct xmin::text) as transactions from usage_event where account_id = ${account.id}`,
    );
    expect(row).toEqual({ n: '1000', transactions: '1' });
    expect(await used(account, 'minutes')).toBe('1');
  });

  test('50 requests at once that share ids: the sum is exact, and so is the number of duplicates', async () => {
    const { account } = await subscribed(world);
    const shared = Array.from({ length: 20 }, () => event('minutes', '0.25'));
    const all = (
      await Promise.all(Array.from({ length: 50 }, () => statuses(account, ...shared, event('minutes', '0.5'))))
    ).flat();
    expect(all.filter((s) => s === 'ACCEPTED')).toHaveLength(70);
    expect(all.filter((s) => s === 'DUPLICATE')).toHaveLength(50 * 21 - 70);
    expect(await used(account, 'minutes')).toBe('30');
  });

  test('two processes that record the same ids at once count each once', async () => {
    const { account } = await subscribed(world);
    const config = readConfig({ DATABASE_URL: world.databaseUrl, LOG_LEVEL: 'error' });
    const other = await openCore({
      config,
      databaseUrl: world.databaseUrl,
      log: createLogger('error'),
      clock: world.clock,
    });
    try {
      const events = Array.from({ length: 60 }, () => event('minutes', '0.5'));
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => {
          const part = i % 3 === 0 ? events.toReversed() : events;
          return recordUsage(i % 2 === 0 ? world.deps : other.deps, account.actor, part);
        }),
      );
      const all = answers.flatMap((a) => a.results.map((r) => r.status));
      expect(all.filter((s) => s === 'ACCEPTED')).toHaveLength(60);
      expect(all.filter((s) => s === 'DUPLICATE')).toHaveLength(11 * 60);
      expect(await used(account, 'minutes')).toBe('30');
    } finally {
      await other.close();
    }
  });
});

describe('at the end of a period', () => {
  test('an event of the old period counts late in the next one for 24 h, then no more', async () => {
    const { account } = await subscribed(world);
    await record(account, event('minutes', '150'));
    world.clock.set('2024-05-01T12:00:00Z');
    await runDue(world);
    const old = { timestamp: new Date('2024-04-30T22:00:00Z') };
    expect(await statuses(account, event('minutes', '110', old))).toEqual(['ACCEPTED']);
    expect(await used(account, 'minutes')).toBe('110');
    const late = await world.rows(
      sql<{ late: boolean }>`select late from usage_event where account_id = ${account.id} order by recorded_at`,
    );
    expect(late.map((row) => row.late)).toEqual([false, true]);
    world.clock.set('2024-05-02T00:10:00Z');
    expect(await statuses(account, event('minutes', '1', old))).toEqual(['ILLEGAL_STATE']);
    world.clock.set('2024-06-01T00:10:00Z');
    await runDue(world);
    const invoices = await invoicesOf(world, account);
    expect(await linesOf(world, invoices[1]!)).toEqual(['Minutes over the limit of 100 250', 'Basic 3000']);
    expect(await linesOf(world, invoices[2]!)).toEqual(['Minutes over the limit of 100 50', 'Basic 3000']);
    const history = await usageHistory(world.deps.db.orm.em.fork(), { accountId: account.id, last: 3 });
    const minutes = history.map((h) => h.items.find((i) => i.metric.code === 'minutes')!.used.toFixed());
    expect(minutes).toEqual(['0', '110', '150']);
    await expectSoundLedger(world, account.id);
  });

  test('between the end and the renewal an event is asked to come again, and its neighbours count', async () => {
    const { account } = await subscribed(world);
    world.clock.set('2024-05-01T00:00:10Z');
    const early = event('minutes', '1', { timestamp: new Date('2024-04-30T23:00:00Z') });
    const next = event('minutes', '2');
    expect(await statuses(account, early, next)).toEqual(['ACCEPTED', 'UNAVAILABLE']);
    await runDue(world);
    expect(await statuses(account, early, next)).toEqual(['DUPLICATE', 'ACCEPTED']);
    expect(await used(account, 'minutes')).toBe('2');
  });

  test('an event that waits for the renewal to commit counts in the window that it opened', async () => {
    const { account } = await subscribed(world);
    const renewal = new pg.Client({ connectionString: world.databaseUrl });
    await renewal.connect();
    try {
      world.clock.set('2024-05-01T00:00:10Z');
      await renewal.query('begin');
      await renewal.query(
        `insert into usage_window select account_id, gen_random_uuid(), subscription_id, metric_code, feature_name, position, aggregation,
           period_end, period_end + interval '1 month', limit_quantity, overage, currency, 0, 0, null, threshold_percents, '{}', null, charge
         from usage_window where account_id = $1`,
        [account.id],
      );
      await renewal.query(
        'update usage_window set closed_at = period_end where account_id = $1 and period_start < $2',
        [account.id, '2024-04-02'],
      );
      const answer = statuses(account, event('minutes', '7'));
      const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await until(
        async () => (await world.ownerRows(sql`${sql.raw(waits)}`)).length > 0,
        'the event waiting for the renewal',
      );
      await renewal.query('commit');
      expect(await answer).toEqual(['ACCEPTED']);
    } finally {
      await renewal.end();
    }
  });
});

test('through GraphQL: record, read your own write, entitlements', async () => {
  const { account } = await subscribed(world);
  const { data } = await world.gql(
    account.token,
    `mutation { recordUsage(input: { events: [{ transactionId: "g1", metric: "minutes", value: "45.7" }, { transactionId: "g1", metric: "minutes" },
      { transactionId: "g2", metric: "nope" }] }) { watermark results { transactionId status error { code field } } userErrors { code } } }`,
  );
  expect(data.recordUsage).toMatchObject({
    results: [
      { transactionId: 'g1', status: 'ACCEPTED', error: null },
      { status: 'DUPLICATE' },
      { status: 'REJECTED', error: { code: 'NOT_FOUND', field: ['events', '2', 'metric'] } },
    ],
    userErrors: [],
  });
  const read = await world.gql(
    account.token,
    '{ usage { watermark items { metric { code } used percent } } viewer { entitlements { feature used remaining } } }',
  );
  expect(read.data.usage.watermark).toBe(data.recordUsage.watermark);
  expect(read.data.usage.items).toContainEqual({ metric: { code: 'minutes' }, used: '45.7', percent: 45.7 });
  expect(read.data.viewer.entitlements).toContainEqual({ feature: 'minutes', used: '45.7', remaining: '54.3' });
});
