import { type Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { clockAt } from '../../src/platform/clock.js';
import { sql } from '../../src/platform/sql.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { allAtOnce, eventsOf, freshKey, invoicesOf, linesOf, runDue, subscribed } from '../support/billing.js';
import { countStatements } from '../support/graphql.js';
import {
  countsOf,
  expectCountersEqualEvents,
  meteringCatalogYaml,
  record as recordIn,
  usageOf,
  windowsOf,
} from '../support/metering.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: meteringCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:01Z'));

/** As `subscribed`, and to the millisecond on 1 April, so that shares of the month are round. */
const subscribedInApril = () => subscribed(at('2024-04-01T00:00:00Z'));
const at = (time: string): World => ({ ...world, deps: { ...world.deps, clock: clockAt(new Date(time)) } });

const record = (account: TestAccount, ...events: Parameters<typeof usageOf>[]) =>
  recordIn(world, account, ...events.map((event) => usageOf(...event)));
const device = (name: unknown): Parameters<typeof usageOf> => ['devices', '1', { properties: { device: name } }];
const seats = (level: string, at: string): Parameters<typeof usageOf> => ['seats', level, { timestamp: new Date(at) }];

describe('UNIQUE', () => {
  test('counts each value of the property once, in one batch or another', async () => {
    const { account } = await subscribed(world);
    expect(await record(account, device('a'), device('b'), device('a'))).toEqual(Array(3).fill('ACCEPTED'));
    await record(account, device('b'), device('c'), device(7), device('7'), device(true));
    expect(await countsOf(world, account, 'devices')).toEqual(['5']);
    expect((await windowsOf(world, account, 'devices'))[0]).toMatchObject({ eventCount: 8 });
    expect((await eventsOf(world, account, 'usage.threshold')).map((e) => e.data.threshold_percent)).toEqual([
      80, 90, 100,
    ]);
    await expectCountersEqualEvents(world, account);
  });

  test('an event without a usable value is refused, and its neighbours are not', async () => {
    const { account } = await subscribed(world);
    const bad = [{}, { device: null }, { device: '' }, { device: ['a'] }, { device: 'x'.repeat(256) }, { other: 'a' }];
    const events = [...bad.map((properties) => usageOf('devices', '1', { properties })), usageOf('devices')];
    const { results } = await recordUsage(world.deps, account.actor, [...events, usageOf(...device('a'))]);
    expect(results.map(({ error }) => error?.code)).toEqual([...Array(7).fill('INVALID'), undefined]);
    expect(results[0]!.error!.field).toEqual(['events', '0', 'properties']);
    expect(await countsOf(world, account, 'devices')).toEqual(['1']);
  });

  test('through REST a number has the digits it was sent with, and spare zeros make no other value', async () => {
    const { account } = await subscribed(world);
    const events = ['12345678901234567890', '12345678901234567891', '1.0', '1', '1e2', '100']
      .map((value, i) => `{"transaction_id":"n${i}","metric":"devices","properties":{"device":${value}}}`)
      .join(',');
    const { status } = await world.rest(account.token, 'POST', '/usage/events', `{"events":[${events}]}`);
    expect(status).toBe(200);
    expect(await countsOf(world, account, 'devices')).toEqual(['4']);
    const { body } = await world.rest(account.token, 'POST', '/usage/events', {
      transaction_id: 'x',
      metric: 'devices',
    });
    expect(body.results).toMatchObject([{ error: { code: 'INVALID', field: 'properties' } }]);
  });

  test('the same values from many at once count once, and a new period begins with none', async () => {
    const { account } = await subscribed(world);
    await allAtOnce(20, (i) => record(account, device(`d${i % 4}`), device('same')));
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    await record(account, device('d1'));
    expect(await countsOf(world, account, 'devices')).toEqual(['5', '1']);
  });
});

describe('WEIGHTED_SUM', () => {
  test('weighs each level with its time, whatever the order of arrival', async () => {
    const { account } = await subscribedInApril();
    world.clock.set('2024-04-25T00:00:00Z');
    await record(account, seats('10', '2024-04-01T00:00:00Z'));
    expect(await countsOf(world, account, 'seats')).toEqual(['10']);
    await record(account, seats('40', '2024-04-16T00:00:00Z'));
    expect(await countsOf(world, account, 'seats')).toEqual(['25']);
    // 10 for 6 days, 70 for 3, 10 for 6, 40 for 15.
    await record(account, seats('10', '2024-04-10T00:00:00Z'), seats('70', '2024-04-07T00:00:00Z'));
    expect(await countsOf(world, account, 'seats')).toEqual(['31']);
    await expectCountersEqualEvents(world, account);
  });

  test('many at once, in any order: the counter equals its events', async () => {
    const { account } = await subscribedInApril();
    world.clock.set('2024-04-25T00:00:00Z');
    const time = (i: number) =>
      new Date(Date.parse('2024-04-01T00:00:00Z') + ((i * 37) % 97) * 3_600_000).toISOString();
    await allAtOnce(30, (i) => record(account, seats(String(i), time(i)), seats(String(i * 2), time(i + 11))));
    expect((await windowsOf(world, account, 'seats'))[0]!.eventCount).toBe(60);
    await expectCountersEqualEvents(world, account);
  });

  test('a level goes on into the next period, is billed there for all of it, and takes late readings as its beginning', async () => {
    const { account } = await subscribedInApril();
    await record(account, seats('8', '2024-04-01T00:00:00Z'));
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await linesOf(world, (await invoicesOf(world, account))[1]!)).toContain('Seats over the limit of 5 900');
    expect(await countsOf(world, account, 'seats')).toEqual(['8', '8']);
    expect((await windowsOf(world, account, 'seats'))[1]).toMatchObject({
      openingAt: new Date('2024-04-01T00:00:00Z'),
    });
    await record(account, seats('12', '2024-04-30T12:00:00Z'));
    expect(await countsOf(world, account, 'seats')).toEqual(['8', '12']);
    await expectCountersEqualEvents(world, account);
  });

  test('a subscription that ends at once is billed for the level by the time there was', async () => {
    const { account, id } = await subscribedInApril();
    await record(account, seats('10', '2024-04-01T00:00:00Z'));
    world.clock.set('2024-04-11T00:00:00Z');
    await record(account, seats('30', '2024-04-06T00:00:00Z'));
    await cancelSubscription(at('2024-04-11T00:00:00Z').deps, account.actor, {
      subscriptionId: id,
      timing: 'IMMEDIATE',
    });
    // 10 for 5 of 10 days and 30 for the rest; 15 over the limit at 3.00.
    expect(await countsOf(world, account, 'seats')).toEqual(['20']);
    expect(await linesOf(world, (await invoicesOf(world, account)).at(-1)!)).toContain(
      'Seats over the limit of 5 4500',
    );
    await expectCountersEqualEvents(world, account);
  });

  test('a period that begins anew begins with the level of that time', async () => {
    const { account, id } = await subscribedInApril();
    await record(account, seats('2', '2024-04-01T00:00:00Z'));
    world.clock.set('2024-04-16T00:00:00Z');
    await record(account, seats('4', '2024-04-10T00:00:00Z'));
    await changePlan(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      subscriptionId: id,
      planCode: 'yearly',
      proration: 'PER_DAY',
      timing: 'IMMEDIATE',
    });
    const windows = await windowsOf(world, account, 'seats');
    expect(windows.at(-1)).toMatchObject({ closedAt: null });
    expect(await countsOf(world, account, 'seats')).toEqual(['0', '4']);
    await expectCountersEqualEvents(world, account);
  });
});

test('a batch is as many statements as ever; UNIQUE takes one more, and an older reading its neighbours', async () => {
  const { account } = await subscribedInApril();
  await record(account, seats('1', '2024-04-01T00:00:00Z'));
  const count = (...event: Parameters<typeof usageOf>) => countStatements(world, () => record(account, event));
  const plain = await count('minutes', '1');
  expect(plain).toBeLessThanOrEqual(5); // begin, the account's time, two of ours, commit
  expect(await count(...device('a'))).toBe(plain + 1);
  world.clock.set('2024-04-20T00:00:00Z');
  expect(await count('seats', '2')).toBe(plain);
  expect(await count(...seats('2', '2024-04-10T00:00:00Z'))).toBe(plain + 1);
});

describe('late events on a draft', () => {
  /** The renewal's invoice as it is while it waits for late usage. */
  async function withDraft(): Promise<{ account: TestAccount; draft: Invoice }> {
    const { account } = await subscribed(world);
    await record(account, ['minutes', '150'], ['users', '3']);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    const draft = (await invoicesOf(world, account))[1]!;
    await world.rows(sql`update invoice set status = 'DRAFT' where account_id = ${account.id} and id = ${draft.id}`);
    await world.rows(sql`
      update usage_window set draft_invoice_id = ${draft.id} where account_id = ${account.id} and closed_at is not null`);
    return { account, draft };
  }
  const april = { timestamp: new Date('2024-04-30T23:00:00Z') };

  test('they count in their own period, the draft gets its lines and totals anew, and a level goes on', async () => {
    const { account, draft } = await withDraft();
    const em = world.deps.db.orm.em.fork();
    const line = () =>
      em.findOneOrFail(InvoiceLine, { accountId: account.id, invoiceId: draft.id, kind: 'usage' }, { refresh: true });
    const before = (await line()).id;
    expect(await record(account, ['minutes', '50', april], ['users', '4', april], ['seats', '6', april])).toEqual(
      Array(3).fill('ACCEPTED'),
    );
    expect(await countsOf(world, account, 'minutes')).toEqual(['200', '0']);
    expect(await countsOf(world, account, 'users')).toEqual(['4', '4']);
    expect((await countsOf(world, account, 'seats')).at(-1)).toBe('6');
    expect(await linesOf(world, draft)).toEqual(['Minutes over the limit of 100 500', 'Basic 3000']);
    expect((await line()).id).toBe(before);
    const { subtotalMinor, totalMinor, amountDueMinor } = (await invoicesOf(world, account))[1]!;
    expect([subtotalMinor, totalMinor, amountDueMinor]).toEqual([3500n, 3500n, 3500n]);
    const late = await world.rows(
      sql<{ late: boolean }>`select distinct late from usage_event where account_id = ${account.id}`,
    );
    expect(late).toEqual([{ late: false }]);
    await expectCountersEqualEvents(world, account);
  });

  test('a line appears with the first charge', async () => {
    const { account, draft } = await withDraft();
    await record(account, ['devices', '1', { ...april, properties: { device: 'a' } }]);
    expect(await linesOf(world, draft)).toHaveLength(2);
    await record(
      account,
      ...['b', 'c', 'd', 'e', 'f'].map(
        (name): Parameters<typeof usageOf> => ['devices', '1', { ...april, properties: { device: name } }],
      ),
    );
    expect((await linesOf(world, draft)).sort()).toEqual([
      'Basic 3000',
      'Devices over the limit of 5 100',
      'Minutes over the limit of 100 250',
    ]);
  });

  test('after 24 h they are refused', async () => {
    const { account } = await withDraft();
    world.clock.set('2024-05-02T00:01:00Z');
    expect(await record(account, ['minutes', '50', april])).toEqual(['ILLEGAL_STATE']);
  });
});
