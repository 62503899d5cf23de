import { advanceTestClock } from '../../src/account/advanceTestClock.js';
import { createTestClock } from '../../src/account/createTestClock.js';
import { readTestClock } from '../../src/account/testClock.js';
import { startApp } from '../../src/app.js';
import { readConfig } from '../../src/config.js';
import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { publicId } from '../../src/platform/ids.js';
import { createLogger } from '../../src/platform/log.js';
import { sql } from '../../src/platform/sql.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { advanceDueSubscriptions } from '../../src/subscription/renewDue.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  paymentsOf,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());

const start = new Date('2024-01-31T09:00:00Z');
const at = (days: number): Date => new Date(start.getTime() + days * dayMs);

/** An account that lives by its own clock from `start` on. */
async function clocked(options: { timeZone?: string } = {}): Promise<TestAccount> {
  const account = await world.account(options);
  await createTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), now: start });
  return account;
}
const advance = (account: TestAccount, to: Date, options?: { withinMs: number }) =>
  advanceTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), to }, options);
const clockOf = (account: TestAccount) => readTestClock(world.deps.db.orm.em.fork(), account.id);
const use = (account: TestAccount, transactionId: string, value: string, timestamp?: Date) =>
  recordUsage(world.deps, account.actor, [{ transactionId, metric: 'minutes', value, timestamp }]);

/** All that an account shows of its life, without its ids. */
async function timelineOf(account: TestAccount) {
  const invoices = await invoicesOf(world, account);
  return {
    events: (await eventsOf(world, account)).map(({ type, occurredAt, data }) => [
      type,
      occurredAt.toISOString(),
      data.total ?? data.balance ?? data.status ?? null,
    ]),
    invoices: await Promise.all(
      invoices.map(async (invoice) => ({
        number: invoice.number!.slice(-6),
        status: invoice.status,
        total: invoice.totalMinor,
        times: [
          invoice.issuedAt,
          invoice.createdAt,
          invoice.paidAt,
          invoice.firstAttemptAt,
          invoice.nextPaymentAttemptAt,
        ],
        failedAttempts: invoice.failedAttempts,
        lines: await linesOf(world, invoice),
      })),
    ),
    payments: (await paymentsOf(world, account)).map((p) => [
      p.purpose,
      p.status,
      p.amountMinor,
      p.createdAt,
      p.settledAt,
    ]),
  };
}

/** A life with an upgrade, overage, a wallet, and a card that stops working: `go` says how time passes in between. */
async function live(go: (account: TestAccount, days: number) => Promise<void>): Promise<TestAccount> {
  const account = await clocked();
  await addCard(world, account);
  await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
  await topUp(world.deps, account.actor, { idempotencyKey: 't', amount: usd('10.00') });
  await use(account, 'u1', '150');
  await go(account, 10);
  await changePlan(world.deps, account.actor, {
    idempotencyKey: 'c',
    subscriptionId: publicId('subscription', (await subscriptionOf(world, account)).id),
    planCode: 'premium',
    timing: 'AUTO',
    proration: 'PER_DAY',
  });
  await go(account, 35);
  await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
  await go(account, 90);
  return account;
}

test('one step of 90 days is 90 steps of a day: the same invoices, payments and events, at the same times', async () => {
  const atOnce = await timelineOf(await live((account, days) => advance(account, at(days)).then(() => {})));
  let passed = 0;
  const byDays = await timelineOf(
    await live(async (account, days) => {
      for (; passed < days; passed++) await advance(account, at(passed + 1));
    }),
  );
  expect(byDays).toEqual(atOnce);
  expect(atOnce.invoices.map(({ status, total }) => [status, total])).toEqual([
    ['PAID', 3000n],
    ['PAID', 1965n],
    ['PAID', 6000n],
    ['UNCOLLECTIBLE', 6000n],
  ]);
  expect(atOnce.events.at(-1)![0]).toBe('subscription.canceled');
  const known = [start.getTime(), at(90).getTime()];
  for (const time of [
    ...atOnce.events.map(([, occurredAt]) => occurredAt as string),
    ...atOnce.payments.map((p) => p[3] as Date),
  ]) {
    expect(new Date(time).getTime()).toBeGreaterThanOrEqual(known[0]!);
    expect(new Date(time).getTime()).toBeLessThanOrEqual(known[1]!);
  }
});

describe('what comes due happens at its own time', () => {
  test('renewals on the anchor, then the retries of a failing card, then the end', async () => {
    const account = await clocked();
    await addCard(world, account, 'tok_visa');
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    await advance(account, at(1));
    await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
    await advance(account, at(90));
    const failed = await eventsOf(world, account, 'invoice.failed');
    expect(failed.map(({ occurredAt }) => occurredAt.toISOString())).toEqual([
      '2024-02-29T09:00:00.000Z',
      '2024-03-01T09:00:00.000Z',
      '2024-03-03T09:00:00.000Z',
      '2024-03-05T09:00:00.000Z',
      '2024-03-07T09:00:00.000Z',
    ]);
    const [canceled] = await eventsOf(world, account, 'subscription.canceled');
    expect(canceled!.occurredAt).toEqual(new Date('2024-03-07T09:00:00Z'));
    expect(await clockOf(account)).toEqual({ now: at(90), target: at(90), status: 'READY' });
    await expectSoundLedger(world, account.id);
  });

  test("an event without a time is of the account's now, one ahead of it is refused", async () => {
    const account = await clocked();
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    expect((await use(account, 'now', '1')).results[0]!.status).toBe('ACCEPTED');
    const [row] = await world.rows(
      sql<{
        occurred_at: string;
        recorded_at: string;
      }>`select occurred_at, recorded_at from usage_event where account_id = ${account.id}`,
    );
    expect([row!.occurred_at, row!.recorded_at].map((at) => new Date(at))).toEqual([start, start]);
    const ahead = await use(account, 'ahead', '1', new Date(start.getTime() + 600_000));
    expect(ahead.results[0]).toMatchObject({ status: 'REJECTED', error: { code: 'INVALID' } });
    const { data } = await world.gql(
      account.token,
      '{ usage { period { start end } } viewer { entitlements { resetsAt } } }',
    );
    expect(data.usage.period).toEqual({ start: '2024-01-31T09:00:00.000Z', end: '2024-02-29T09:00:00.000Z' });
  });

  test('while the clock stands still, what is due at its present happens all the same', async () => {
    const account = await clocked();
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    await addCard(world, account, 'tok_chargeDeclined');
    await advance(account, at(30));
    expect((await invoicesOf(world, account)).map(({ status }) => status)).toEqual(['PAID', 'OPEN']);
    await addCard(world, account, 'tok_mastercard');
    await runDue(world);
    const invoices = await invoicesOf(world, account);
    expect(invoices.map(({ status, paidAt }) => [status, paidAt])).toEqual([
      ['PAID', start],
      ['PAID', at(30)],
    ]);
    expect(await clockOf(account)).toMatchObject({ now: at(30), status: 'READY' });
  });

  test("webhooks go out by the wall clock, to endpoints that are older than the account's time", async () => {
    const account = await world.account();
    const { data } = await world.gql(
      account.token,
      'mutation { createWebhookEndpoint(input: { idempotencyKey: "w", url: "http://127.0.0.1:9/hook" }) { userErrors { code } } }',
    );
    expect(data.createWebhookEndpoint.userErrors).toEqual([]);
    await createTestClock(world.deps, account.actor, { idempotencyKey: 'c', now: start });
    await addCard(world, account);
    await world.settled();
    const deliveries = await world.rows(
      sql<{ next_attempt_at: string }>`select next_attempt_at from webhook_delivery where account_id = ${account.id}`,
    );
    expect(deliveries).toHaveLength(1);
    expect(Math.abs(new Date(deliveries[0]!.next_attempt_at).getTime() - Date.now())).toBeLessThan(60_000);
  });
});

describe('an advance that does not arrive at once', () => {
  test('goes on in the sweep; meanwhile another is a CONFLICT', async () => {
    const account = await clocked();
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    await advance(account, at(61), { withinMs: 0 });
    expect(await clockOf(account)).toEqual({ now: start, target: at(61), status: 'ADVANCING' });
    await expect(advance(account, at(70))).rejects.toMatchObject({ code: 'CONFLICT', retryable: true });
    await world.sweeps.runOnce();
    expect(await clockOf(account)).toEqual({ now: at(61), target: at(61), status: 'READY' });
    expect(await invoicesOf(world, account)).toHaveLength(3);
  });

  test('of two at once one wins', async () => {
    const account = await clocked();
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    const { done, codes } = await allAtOnce(2, (i) => advance(account, at(200 + i)));
    expect([done.length, codes]).toEqual([1, ['CONFLICT']]);
    expect(await clockOf(account)).toMatchObject({ status: 'READY' });
    expect(await invoicesOf(world, account)).toHaveLength(7);
  });

  test('a process that dies half way is followed by another, which ends where one without a crash ends', async () => {
    const reference = await live((account, days) => advance(account, at(days)).then(() => {}));
    const { run } = world.deps.dueWork;
    const crashed = await live(async (account, days) => {
      let steps = 0;
      const dying = {
        ...world.deps.dueWork,
        run: (accountId: string) => {
          if (++steps > 3) throw new Error('kill -9');
          return run(accountId);
        },
      };
      const input = { idempotencyKey: freshKey(), to: at(days) };
      await advanceTestClock({ ...world.deps, dueWork: dying }, account.actor, input).catch((error: Error) => {
        expect(error.message).toBe('kill -9');
      });
      const config = readConfig({ DATABASE_URL: world.databaseUrl, PORT: '0', LOG_LEVEL: 'error' });
      const { databaseUrl } = world;
      const other = await startApp({ config, databaseUrl, log: createLogger('error'), worker: false });
      await other.sweeps.runOnce();
      await other.stop();
      expect(await clockOf(account)).toEqual({ now: at(days), target: at(days), status: 'READY' });
    });
    expect(await timelineOf(crashed)).toEqual(await timelineOf(reference));
    await expectSoundLedger(world, crashed.id);
  });

  test('waits while the provider is away, and goes on when it is back', async () => {
    const account = await clocked();
    await addCard(world, account);
    await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
    const { payments } = world.deps;
    const { charge, findCharge } = payments;
    const away = () => Promise.reject(new ProviderUnavailable('connection reset'));
    Object.assign(payments, { charge: away, findCharge: away });
    try {
      await advance(account, at(40), { withinMs: 1_000 });
    } finally {
      Object.assign(payments, { charge, findCharge });
    }
    expect(await clockOf(account)).toMatchObject({ now: new Date('2024-02-29T09:00:30Z'), status: 'ADVANCING' });
    await world.sweeps.runOnce();
    expect(await clockOf(account)).toMatchObject({ now: at(40), status: 'READY' });
    expect((await invoicesOf(world, account)).map(({ status }) => status)).toEqual(['PAID', 'PAID']);
    await expectSoundLedger(world, account.id);
  });
});

test('sweeps leave accounts with a clock alone, and 500 of their stale rows keep nobody waiting', async () => {
  const account = await clocked();
  await addCard(world, account);
  await subscribe(world.deps, account.actor, { idempotencyKey: 's', planCode: 'basic' });
  const copies = sql`select md5(i::text || ${account.id})::uuid as id from generate_series(1, 500) i`;
  await world.rows(
    sql`insert into account select made.* from account a, (${copies}) copy,
          jsonb_populate_record(a, jsonb_build_object('id', copy.id)) made where a.id = ${account.id}`,
  );
  await world.rows(
    sql`insert into subscription select made.* from subscription s, (${copies}) copy,
          jsonb_populate_record(s, jsonb_build_object('account_id', copy.id, 'first_invoice_id', null)) made where s.account_id = ${account.id}`,
  );
  world.clock.set('2026-04-01T00:00:00Z');
  const { account: byTheWall } = await subscribed(world);
  world.clock.set('2026-05-01T00:01:00Z');
  await advanceDueSubscriptions(world.deps);
  expect(await invoicesOf(world, byTheWall)).toHaveLength(2);
  expect(await invoicesOf(world, account)).toHaveLength(1);
  const [left] = await world.rows(
    sql<{ n: number }>`select count(*)::int as n from subscription s join account a on a.id = s.account_id
      where test_clock_at is not null and s.due_at < ${world.clock.now()} and version = 1`,
  );
  expect(left!.n).toBeGreaterThanOrEqual(500);
});

describe('who may, and when', () => {
  const create = (deps: Parameters<typeof createTestClock>[0], account: TestAccount, operator: boolean) =>
    createTestClock(deps, { ...account.actor, operator }, { idempotencyKey: freshKey(), now: start });

  test('where clocks are off an operator may, and nobody where real money moves', async () => {
    const off = { ...world.deps, testClocks: false };
    await expect(create(off, await world.account(), false)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await create(off, await world.account(), true)).toEqual({ replayed: false });
    const real = { ...world.deps, payments: { ...world.deps.payments, name: 'stripe' } };
    await expect(create(real, await world.account(), true)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const account = await world.account({ scopes: ['subscriptions:read'] });
    const { errors } = await world.gql(
      account.token,
      'mutation { createTestClock(input: { idempotencyKey: "c", now: "2024-01-01T00:00:00Z" }) { userErrors { code } } }',
    );
    expect(errors![0].extensions.code).toBe('FORBIDDEN');
  });

  test('only an account without a history gets one, once', async () => {
    const { account } = await subscribed(world);
    await expect(create(world.deps, account, true)).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('make a new account'),
    });
    await expect(create(world.deps, await clocked(), true)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
    await expect(advance(await world.account(), at(1))).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  });

  test('a clock goes forward, at most ten years in one step', async () => {
    const account = await clocked();
    const early = createTestClock(world.deps, (await world.account()).actor, { now: new Date('1969-12-31T00:00:00Z') });
    await expect(early).rejects.toMatchObject({ code: 'INVALID' });
    await expect(advance(account, at(-1))).rejects.toMatchObject({ code: 'INVALID' });
    await expect(advance(account, at(3_660))).rejects.toMatchObject({ code: 'INVALID' });
    await advance(account, start);
    await advance(account, at(3_650));
    expect(await clockOf(account)).toMatchObject({ now: at(3_650), status: 'READY' });
  });
});

test('through GraphQL: made, shown, advanced; a repeat with the key moves nothing', async () => {
  const account = await world.account();
  const shown = 'account { testClock { now target status } } testClock { now status } replayed userErrors { code }';
  expect((await world.gql(account.token, '{ viewer { testClock { now } } }')).data.viewer.testClock).toBeNull();
  const made = await world.gql(
    account.token,
    `mutation { createTestClock(input: { idempotencyKey: "c", now: "2024-01-31T09:00:00Z" }) { ${shown} } }`,
  );
  expect(made.data.createTestClock.testClock).toEqual({ now: '2024-01-31T09:00:00.000Z', status: 'READY' });
  const advanced = `mutation { advanceTestClock(input: { idempotencyKey: "a", to: "2024-03-01T00:00:00Z" }) { ${shown} } }`;
  const first = await world.gql(account.token, advanced);
  const now = '2024-03-01T00:00:00.000Z';
  expect(first.data.advanceTestClock).toEqual({
    account: { testClock: { now, target: now, status: 'READY' } },
    testClock: { now, status: 'READY' },
    replayed: false,
    userErrors: [],
  });
  expect((await world.gql(account.token, advanced)).data.advanceTestClock).toMatchObject({
    replayed: true,
    userErrors: [],
  });
  const back = await world.gql(account.token, advanced.replace('"a"', '"b"').replace('2024-03-01', '2024-02-01'));
  expect(back.data.advanceTestClock.userErrors).toEqual([{ code: 'INVALID' }]);
});

test('through REST: made, advanced, shown', async () => {
  const account = await world.account();
  expect(await world.rest(account.token, 'GET', '/test-clock')).toMatchObject({ status: 404 });
  const made = await world.rest(account.token, 'POST', '/test-clock', { now: '2024-01-31T09:00:00Z' });
  const clock = { now: '2024-01-31T09:00:00.000Z', target: '2024-01-31T09:00:00.000Z', status: 'ready' };
  expect(made).toMatchObject({ status: 201, body: clock });
  const to = '2024-02-01T00:00:00.000Z';
  const moved = await world.rest(account.token, 'POST', '/test-clock/advance', { to });
  expect(moved).toMatchObject({ status: 200, body: { now: to, status: 'ready' } });
  expect(await world.rest(account.token, 'GET', '/test-clock')).toMatchObject({ status: 200, body: moved.body });
  const wrong = await world.rest(account.token, 'POST', '/test-clock/advance', { to: 'tomorrow' });
  expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([422, '/to']);
});
