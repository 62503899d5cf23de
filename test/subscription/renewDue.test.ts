import fc from 'fast-check';
import { runCli } from '../../src/cliProgram.js';
import { collectInvoices } from '../../src/invoice/collectInvoices.js';
import { chargePayment, keepFromSweep } from '../../src/payment/charge.js';
import { clockAt } from '../../src/platform/clock.js';
import { sql } from '../../src/platform/sql.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { advanceSubscription } from '../../src/subscription/renew.js';
import { renewBatch, type SubscriptionKey } from '../../src/subscription/renewBatch.js';
import { advanceDueSubscriptions } from '../../src/subscription/renewDue.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  couponOf,
  freshKey,
  invoicesOf,
  paymentsOf,
  runDue,
  settle,
  subscriptionOf,
  take,
  usd,
} from '../support/billing.js';
import { copyAccount } from '../support/copies.js';
import { expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

const catalog = `
metrics:
  - { code: users, name: Users, aggregation: latest }
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: seats, name: Seats, aggregation: weighted_sum }
plans:
  - code: basic
    name: Basic
    price: 30.00
    currency: USD
    interval: month
    minimum_spend: 5.00
    features:
      users: 5
      minutes: { limit: 100, overage: charge, unit_price: 0.05 }
      seats: { limit: 5, overage: charge, unit_price: 3.00 }
  - { code: premium, name: Premium, price: 60.00, currency: USD, interval: month, anchor: calendar, features: { users: 50, minutes: 1000 } }
  - { code: weekly, name: Weekly, price: 7.00, currency: USD, interval: week, features: { users: 5 } }
  - { code: free, name: Free, price: 0.00, currency: USD, interval: month, features: { users: 1 } }
  - { code: tryout, name: Tryout, price: 20.00, currency: USD, interval: month, trial_days: 14, features: { minutes: { limit: 10, overage: charge, unit_price: 0.10 } } }
`;

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog, worker: false });
});
afterAll(() => world.stop());

const began = new Date('2024-04-01T00:00:00Z');
const at = (text: string) => ({ ...world.deps, clock: clockAt(new Date(text)) });

const keyOf = async (account: TestAccount): Promise<SubscriptionKey> => ({
  accountId: account.id,
  subscriptionId: (await subscriptionOf(world, account)).id,
});

/** All that decides on a renewal. */
const scenario = fc.record({
  planCode: fc.constantFrom('basic', 'basic', 'premium', 'weekly', 'free', 'tryout'),
  quantity: fc.integer({ min: 1, max: 3 }),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York'),
  pays: fc.constantFrom('card', 'card', 'declined', 'nothing'),
  retryAfterDays: fc.constantFrom([], [1, 3]),
  wallet: fc.constantFrom(undefined, '5.00', '500.00'),
  taxes: fc.constantFrom([], ['VAT 19'], ['GST 7.5 inclusive', 'VAT 3']),
  coupon: fc.constantFrom('none', 'none', 'FOREVER', 'ONCE'),
  change: fc.constantFrom(undefined, { planCode: 'basic', quantity: 1 }, { planCode: 'weekly' }, { planCode: 'free' }),
  usage: fc.array(
    fc.record({ metric: fc.constantFrom('users', 'minutes', 'seats'), value: fc.integer({ min: 0, max: 160 }) }),
    {
      maxLength: 4,
    },
  ),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer S> ? S : never;

async function play(of: Scenario, coupon: string | undefined): Promise<TestAccount> {
  const then = { ...world, deps: { ...world.deps, clock: clockAt(began) } } as World;
  const account = await world.account({ timeZone: of.timeZone });
  await addCard(then, account);
  await settle(then, account, { taxes: [...of.taxes], retryAfterDays: of.retryAfterDays, dunningEnd: 'past_due' });
  if (of.wallet) await topUp(then.deps, account.actor, { amount: usd(of.wallet) });
  const { planCode, quantity } = of;
  const { subscriptionId } = await subscribe(then.deps, account.actor, { idempotencyKey: 's', planCode, quantity });
  if (coupon) await take(then, account, coupon);
  const granted = await world.rows(
    sql<{ metric_code: string }>`select metric_code from usage_window where account_id = ${account.id}`,
  );
  const events = of.usage.filter(({ metric }) => granted.some((row) => row.metric_code === metric));
  if (events.length > 0) {
    const later = new Date('2024-04-03T00:00:00Z');
    const input = events.map(({ metric, value }, i) => ({
      transactionId: `u${i}`,
      metric,
      value: String(value),
      timestamp: new Date(later.getTime() + i),
    }));
    await recordUsage({ ...world.deps, clock: clockAt(new Date('2024-04-04T00:00:00Z')) }, account.actor, input);
  }
  if (of.pays === 'declined') await addCard(then, account, 'tok_chargeDeclined');
  if (of.pays === 'nothing')
    await world.rows(sql`update payment_method set is_default = false where account_id = ${account.id}`);
  if (of.change && of.planCode !== 'tryout') {
    const { publicId } = await import('../../src/platform/ids.js');
    await changePlan(then.deps, account.actor, {
      idempotencyKey: 'c',
      subscriptionId: publicId('subscription', subscriptionId),
      timing: 'PERIOD_END',
      proration: 'PER_DAY',
      ...of.change,
    }).catch((error: { code?: string }) => expect(error.code).toBeDefined()); // nothing to change, for both
  }
  return account;
}

const tables = {
  subscription: sql`select to_jsonb(t) as row from subscription t`,
  window: sql`select to_jsonb(t) as row from usage_window t`,
  invoice: sql`select to_jsonb(t) as row from invoice t`,
  line: sql`select to_jsonb(t) || jsonb_build_object('of', i.number) as row from invoice_line t join invoice i using (account_id)
    where i.id = t.invoice_id and t`,
  posting: sql`select to_jsonb(t) || jsonb_build_object('type', m.type, 'kind', a.kind, 'at', m.created_at, 'after', m.wallet_balance_after_minor) as row
    from ledger_posting t join ledger_transaction m using (account_id) join ledger_account a using (account_id)
    where m.id = t.transaction_id and a.id = t.ledger_account_id and t`,
  payment: sql`select to_jsonb(t) as row from payment t`,
  wallet: sql`select to_jsonb(t) as row from wallet t`,
  event: sql`select jsonb_build_object('seq', lpad(seq::text, 5, '0'), 'type', type, 'data', data) as row from event t`,
} as const;

/** Everything an account has, with its ids and its number's prefix masked. */
async function everythingOf({ id }: TestAccount): Promise<Record<string, string[]>> {
  const all: Record<string, string[]> = {};
  for (const [name, select] of Object.entries(tables)) {
    const where = name === 'line' || name === 'posting' ? sql`.account_id = ${id}` : sql` where t.account_id = ${id}`;
    const rows = await world.rows(sql<{ row: unknown }>`${select}${where}`);
    all[name] = rows
      .map(({ row }) =>
        JSON.stringify(row)
          .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '#')
          .replaceAll(/\b(acct|sub|inv|il|pm|pay|ac|ch|cus)_[0-9a-zA-Z]{10,}/g, '$1_#')
          .replaceAll(/TEST[0-9A-F]{4}-/g, 'TEST-')
          .replaceAll(/coupon_key-\d+/g, 'coupon'),
      )
      .sort();
  }
  return all;
}

const count = Number(process.env.RENEWAL_SCENARIOS ?? 8);

test('renewed by the set, accounts come out as renewed one by one', async () => {
  world.clock.set(began);
  const pairs: { of: Scenario; single: TestAccount; set: TestAccount }[] = [];
  const coupons = {
    FOREVER: await couponOf(world, { percent: '10' }),
    ONCE: await couponOf(world, { amountMinor: 500n, duration: 'ONCE' }),
  };
  for (const of of fc.sample(scenario, { numRuns: count, seed: Number(process.env.RENEWAL_SEED ?? 7) })) {
    const coupon = of.coupon === 'none' ? undefined : coupons[of.coupon as keyof typeof coupons];
    pairs.push({ of, single: await play(of, coupon), set: await play(of, coupon) });
  }
  let bySet = 0;
  for (const time of ['2024-04-12T00:00:00Z', '2024-05-02T00:00:00Z', '2024-06-02T00:00:00Z']) {
    await world.settled();
    world.clock.set(time);
    const then = at(time);
    for (const { single } of pairs) await advanceSubscription(then, await keyOf(single));
    const keys = await Promise.all(pairs.map(({ set }) => keyOf(set)));
    for (let done = 1; done > 0; ) {
      const { renewed } = await renewBatch(then, keys);
      await collectInvoices(
        then,
        renewed.flatMap(({ accountId, paymentId }) => (paymentId ? [{ accountId, paymentId }] : [])),
      );
      done = renewed.length;
      bySet += done;
    }
    for (const key of keys) await advanceSubscription(then, key);
  }
  await world.settled();
  expect(bySet).toBeGreaterThan(count);
  for (const { of, single, set } of pairs) {
    expect({ of, ...(await everythingOf(set)) }).toEqual({ of, ...(await everythingOf(single)) });
    await expectSoundLedger(world, set.id);
  }
}, 120_000);

/** Accounts that are due on 1 May: copies of one. */
async function dueAccounts(n: number): Promise<{ original: TestAccount; ids: string[] }> {
  world.clock.set(began);
  const original = await world.account();
  await addCard(world, original);
  await subscribe(world.deps, original.actor, { idempotencyKey: 's', planCode: 'basic' });
  await recordUsage(world.deps, original.actor, [{ transactionId: 'm', metric: 'minutes', value: '250' }]);
  await world.settled();
  return { original, ids: await copyAccount(world.deps.db.orm.em.fork(), original.id, n, freshKey()) };
}

const renewalsOf = (ids: readonly string[]) =>
  world.rows(
    sql<{ status: string; invoices: number; charges: number; accounts: number }>`
      select invoice.status, count(*)::int as invoices, count(distinct invoice.account_id)::int as accounts,
        (select count(*)::int from sandbox.charge where charge.account_id = any(${ids}::uuid[])) as charges
      from invoice where account_id = any(${ids}::uuid[]) group by invoice.status`,
  );

test('two schedulers at once renew each of 300 once', async () => {
  const { ids } = await dueAccounts(300);
  const then = at('2024-05-01T00:01:00Z');
  await Promise.all([advanceDueSubscriptions(then), advanceDueSubscriptions(then)]);
  await advanceDueSubscriptions(then);
  expect(await renewalsOf(ids)).toEqual([{ status: 'PAID', invoices: 300, accounts: 300, charges: 300 }]);
}, 120_000);

test('an account that makes its batch fail keeps nobody waiting, and is renewed when it is well again', async () => {
  const { ids } = await dueAccounts(9);
  const then = at('2024-05-01T00:01:00Z');
  const ill = {
    ...then,
    log: { ...then.log, error: () => {}, warn: () => {} } as unknown as typeof then.log,
    db: {
      ...then.db,
      alongside: async ({ accountId }: { accountId: string }) => {
        if (accountId === ids[4]) throw new Error('ill');
      },
    },
  };
  await advanceDueSubscriptions(ill);
  expect(await renewalsOf(ids)).toEqual([{ status: 'PAID', invoices: 8, accounts: 8, charges: 8 }]);
  await advanceDueSubscriptions(then);
  expect(await renewalsOf(ids)).toEqual([{ status: 'PAID', invoices: 9, accounts: 9, charges: 9 }]);
}, 60_000);

test('a process that dies between the commit and the cards leaves payments that dunning tries again', async () => {
  const { original } = await dueAccounts(1);
  await renewBatch(at('2024-05-01T00:01:00Z'), [await keyOf(original)]);
  expect((await paymentsOf(world, original)).at(-1)).toMatchObject({ status: 'PENDING' });
  world.clock.set('2024-05-01T00:03:00Z');
  await runDue(world);
  expect((await paymentsOf(world, original)).at(-1)).toMatchObject({ declineCode: 'provider_unreachable' });
  world.clock.set('2024-05-02T00:10:00Z');
  await runDue(world);
  expect((await invoicesOf(world, original)).map(({ status }) => status)).toEqual(['PAID', 'PAID']);
  await expectSoundLedger(world, original.id);
}, 60_000);

test('a payment that waits for its turn is sent late only when it was kept from the sweep', async () => {
  const { original, ids } = await dueAccounts(1);
  const keys = await Promise.all([original, { ...original, id: ids[0]! }].map(keyOf));
  const { renewed } = await renewBatch(at('2024-05-01T00:01:00Z'), keys);
  const [kept, forgotten] = renewed.map(({ accountId, paymentId }) => ({ accountId, paymentId: paymentId! }));
  await keepFromSweep(at('2024-05-01T00:01:09Z'), [kept!]);
  await keepFromSweep(at('2024-05-01T00:01:18Z'), [kept!, forgotten!]); // too late for the second
  expect(await chargePayment(at('2024-05-01T00:01:25Z'), kept!)).toMatchObject({ status: 'succeeded' });
  expect(await chargePayment(at('2024-05-01T00:01:25Z'), forgotten!)).toBeUndefined();
});

test('a batch that took long is charged all the same, while no sweep can be at its payments', async () => {
  const { original } = await dueAccounts(0);
  const { renewed } = await renewBatch(at('2024-05-01T00:01:00Z'), [await keyOf(original)]);
  const intended = renewed.map(({ accountId, paymentId }) => ({ accountId, paymentId: paymentId! }));
  await collectInvoices(at('2024-05-01T00:01:14Z'), intended);
  expect((await invoicesOf(world, original)).map(({ status }) => status)).toEqual(['PAID', 'PAID']);
});

test('a period has one invoice, whatever it comes to and whether it is final or not', async () => {
  const { original } = await dueAccounts(1);
  await renewBatch(at('2024-05-01T00:01:00Z'), [await keyOf(original)]);
  for (const change of [{ status: 'DRAFT' }, { total_minor: 0 }]) {
    const again = world.rows(
      sql`insert into invoice select made.* from invoice of,
            jsonb_populate_record(of, ${JSON.stringify(change)}::jsonb || jsonb_build_object('id', gen_random_uuid(), 'number', null)) made
          where of.account_id = ${original.id} and of.reason = 'subscription_cycle'`,
    );
    await expect(again).rejects.toThrow('invoice_cycle_unique');
  }
});

test('billing renew says beforehand what it renews, and what it came to', async () => {
  await world.rows(sql`update subscription set due_at = null`);
  const { original, ids } = await dueAccounts(2);
  const before = process.env.DATABASE_URL;
  process.env.DATABASE_URL = world.databaseUrl;
  const run = async (...args: string[]) => {
    let out = '';
    const stdout = { write: (text: string) => (out += text) };
    const code = await runCli(['renew', '--json', ...args], {
      stdin: (async function* () {})(),
      stdout,
      stderr: stdout,
    });
    return { code, ...JSON.parse(out) };
  };
  try {
    await world.rows(
      sql`update subscription set period_end = '2024-05-01', due_at = '2024-05-01' where due_at is not null`,
    );
    // the command lives by the real time: of many missed periods the dry run says the first
    const { renewals, ...said } = await run('--dry-run', '--limit', '2');
    expect(said).toMatchObject({ code: 0, dryRun: true, totals: [{ currency: 'USD', amount: '75.00' }] });
    expect(renewals[0]).toMatchObject({ planCode: 'basic', amount: '37.50', dueAt: '2024-05-01T00:00:00.000Z' });
    expect(renewals).toHaveLength(2);
    expect(await renewalsOf([original.id, ...ids])).toEqual([expect.objectContaining({ invoices: 1 })]);
    const done = await run('--limit', '2');
    expect(done).toMatchObject({ code: 0, dryRun: false, renewed: 2, totals: [{ currency: 'USD', amount: '75.00' }] });
  } finally {
    if (before === undefined) delete process.env.DATABASE_URL;
    else process.env.DATABASE_URL = before;
  }
}, 60_000);
