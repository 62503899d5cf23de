import { settleInvoicePayment } from '../../src/invoice/collectInvoice.js';
import { publicId } from '../../src/platform/ids.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { type ChangePlanInput, changePlan } from '../../src/subscription/changePlan.js';
import { entitlements } from '../../src/subscription/entitlements.js';
import { preview } from '../../src/subscription/preview.js';
import { advanceSubscription } from '../../src/subscription/renew.js';
import { Subscription } from '../../src/subscription/subscription.entity.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { usageHistory, usageSummary } from '../../src/usage/usageSummary.js';
import {
  addCard,
  allAtOnce,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  paymentsOf,
  publish,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
  unreachable,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const change = (
  account: TestAccount,
  input: Partial<ChangePlanInput> & Pick<ChangePlanInput, 'subscriptionId' | 'planCode'>,
  deps: Parameters<typeof changePlan>[0] = world.deps,
) => changePlan(deps, account.actor, { idempotencyKey: freshKey(), timing: 'AUTO', proration: 'PER_DAY', ...input });
const planOf = async (account: TestAccount): Promise<string> => {
  const { data } = await world.gql(account.token, '{ viewer { subscription { plan { code } pendingPlan { code } } } }');
  const { plan, pendingPlan } = data.viewer.subscription;
  return pendingPlan ? `${plan.code}, then ${pendingPlan.code}` : plan.code;
};
const itemOf = async (account: TestAccount, metric: string) => {
  const { items } = await usageSummary(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
  const { used, limit } = items.find((item) => item.metric.code === metric)!;
  return { used: used.toNumber(), limit: limit?.toNumber() ?? null };
};
/** 11 April, half a day in: the example of the semantics. */
const halfADayIntoThe11th = '2024-04-11T12:00:00Z';

describe('an upgrade', () => {
  test.each([
    ['PER_DAY', ['Unused time on Basic -2000', 'Remaining time on Premium 4000'], 2000n],
    ['PER_SECOND', ['Unused time on Basic -1950', 'Remaining time on Premium 3900'], 1950n],
    ['NONE', [], 0n],
  ] as const)('takes effect at once and charges the difference %s', async (proration, lines, dueMinor) => {
    const { account, id } = await subscribed(world);
    const before = await subscriptionOf(world, account);
    // To the millisecond: the hand clock runs on, and seconds are what is measured.
    const at = new Date(halfADayIntoThe11th);
    const deps = { ...world.deps, clock: { now: () => at } };
    // The period began some milliseconds into the month; exact seconds need an exact start.
    expect(before.periodStart.getTime() - Date.parse('2024-04-01T00:00:00Z')).toBeLessThan(2_000);
    const answer = await change(account, { subscriptionId: id, planCode: 'premium', proration }, deps);
    expect(answer.error).toBeUndefined();
    expect(await planOf(account)).toBe('premium');
    const after = await subscriptionOf(world, account);
    expect([after.periodStart, after.periodEnd, after.anchor]).toEqual([
      before.periodStart,
      before.periodEnd,
      before.anchor,
    ]);
    expect(after.version).toBe(before.version + 1);
    const [, invoice] = await invoicesOf(world, account);
    expect(invoice === undefined ? [] : await linesOf(world, invoice)).toEqual(lines);
    expect(invoice?.totalMinor ?? 0n).toBe(dueMinor);
    expect((await world.deps.payments.moved({ accountId: account.id })).amountMinor).toBe(3000n + dueMinor);
    await expectSoundLedger(world, account.id);
  });

  test('the change day is the one of the account: in Auckland the 11th at noon UTC is the 12th', async () => {
    world.clock.set('2024-04-01T00:00:00+13:00');
    const { account, id } = await subscribed(world, { timeZone: 'Pacific/Auckland' });
    world.clock.set(halfADayIntoThe11th); // 12 April 00:00 in Auckland
    await change(account, { subscriptionId: id, planCode: 'premium' });
    expect(await linesOf(world, (await invoicesOf(world, account))[1]!)).toEqual([
      'Unused time on Basic -1900',
      'Remaining time on Premium 3800',
    ]);
  });

  test('declined: the old plan and its limits stay, the invoice is void, a repeat says the same', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_chargeDeclined');
    const input = { idempotencyKey: freshKey(), subscriptionId: id, planCode: 'premium' };
    const answer = await change(account, input);
    expect(answer).toMatchObject({ error: { code: 'PAYMENT_DECLINED' } });
    expect(await change(account, input)).toMatchObject({ replayed: true, error: { code: 'PAYMENT_DECLINED' } });
    expect(await planOf(account)).toBe('basic');
    expect(await itemOf(account, 'users')).toMatchObject({ limit: 5 });
    expect((await invoicesOf(world, account)).map((i) => i.status)).toEqual(['PAID', 'VOID']);
    await addCard(world, account);
    expect((await change(account, { subscriptionId: id, planCode: 'premium' })).error).toBeUndefined();
    expect(await planOf(account)).toBe('premium');
    await expectSoundLedger(world, account.id);
  });

  test('3-D Secure: the new plan waits for the holder', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_threeDSecure2Required');
    expect((await change(account, { subscriptionId: id, planCode: 'premium' })).error).toMatchObject({
      code: 'REQUIRES_ACTION',
    });
    expect(await planOf(account)).toBe('basic');
    const payment = (await paymentsOf(world, account)).at(-1)!;
    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await planOf(account)).toBe('premium');
    await expectSoundLedger(world, account.id);
  });

  test('canceled at once while 3-D Secure is open: what is paid later is in the wallet, not lost', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_threeDSecure2Required');
    await change(account, { subscriptionId: id, planCode: 'premium' });
    const payment = (await paymentsOf(world, account)).at(-1)!;
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    const creditMinor = await balanceOf(world, account.id, 'wallet');
    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect((await balanceOf(world, account.id, 'wallet')) - creditMinor).toBe(payment.amountMinor);
    await expectSoundLedger(world, account.id);
  });

  test.each([
    'before',
    'after',
  ] as const)('the answer is lost %s charging: applied once or not at all', async (when) => {
    const { account, id } = await subscribed(world);
    const lost = { ...world.deps, payments: unreachable(world.deps.payments, when) };
    expect((await change(account, { subscriptionId: id, planCode: 'premium' }, lost)).error).toMatchObject({
      code: 'UNAVAILABLE',
    });
    await expect(change(account, { subscriptionId: id, planCode: 'yearly' })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await planOf(account)).toBe(when === 'after' ? 'premium' : 'basic');
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(when === 'after' ? 2 : 1);
    expect((await invoicesOf(world, account)).map((i) => i.status)).toEqual([
      'PAID',
      when === 'after' ? 'PAID' : 'VOID',
    ]);
    await expectSoundLedger(world, account.id);
  });

  test('without a card for the difference: ILLEGAL_STATE and nothing changes', async () => {
    const account = await world.account();
    const { data } = await world.gql(
      account.token,
      'mutation { subscribe(input: { idempotencyKey: "s", planCode: "free" }) { subscription { id } } }',
    );
    const subscriptionId = data.subscribe.subscription.id;
    await expect(change(account, { subscriptionId, planCode: 'premium' })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
    });
    expect(await planOf(account)).toBe('free');
    expect(await invoicesOf(world, account)).toHaveLength(1);
  });
});

describe('a downgrade', () => {
  test("AUTO waits for the period's end; changing back undoes it", async () => {
    const { account, id } = await subscribed(world, { planCode: 'premium' });
    await change(account, { subscriptionId: id, planCode: 'basic' });
    expect(await planOf(account)).toBe('premium, then basic');
    await change(account, { subscriptionId: id, planCode: 'premium' });
    expect(await planOf(account)).toBe('premium');
    await expect(change(account, { subscriptionId: id, planCode: 'premium' })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
    });
    await change(account, { subscriptionId: id, planCode: 'basic' });
    expect(await invoicesOf(world, account)).toHaveLength(1);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await planOf(account)).toBe('basic');
    expect((await invoicesOf(world, account)).map((i) => i.totalMinor)).toEqual([6000n, 3000n]);
    expect(await itemOf(account, 'users')).toMatchObject({ limit: 5 });
    await expectSoundLedger(world, account.id);
  });

  test('IMMEDIATE credits the difference to the wallet and charges nothing', async () => {
    const { account, id } = await subscribed(world, { planCode: 'premium' });
    world.clock.set(halfADayIntoThe11th);
    await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' });
    expect(await planOf(account)).toBe('basic');
    const [, invoice] = await invoicesOf(world, account);
    expect(await linesOf(world, invoice!)).toEqual(['Unused time on Premium -4000', 'Remaining time on Basic 2000']);
    expect(invoice).toMatchObject({ status: 'PAID', totalMinor: 0n, subtotalMinor: -2000n });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(2000n);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 6000n });
    await expectSoundLedger(world, account.id);
  });

  test('going up and down again and again never credits more than was paid', async () => {
    const { account, id } = await subscribed(world);
    for (let i = 0; i < 3; i++) {
      await change(account, { subscriptionId: id, planCode: 'premium', timing: 'IMMEDIATE', proration: 'NONE' });
      await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' });
    }
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    for (let i = 0; i < 3; i++) {
      await change(account, { subscriptionId: id, planCode: 'premium', timing: 'IMMEDIATE' });
      await change(account, { subscriptionId: id, planCode: 'free', timing: 'IMMEDIATE', proration: 'PER_SECOND' });
    }
    const { amountMinor } = await world.deps.payments.moved({ accountId: account.id });
    expect(await balanceOf(world, account.id, 'wallet')).toBeLessThanOrEqual(amountMinor);
    const granted = -(await balanceOf(world, account.id, 'granted_credit'));
    const spentFees = await balanceOf(world, account.id, 'revenue');
    expect(granted).toBeLessThanOrEqual(spentFees);
    await expectSoundLedger(world, account.id);
  });

  test('a plan that nothing was charged for gives back what was paid for the unused time, and no more', async () => {
    const { account, id } = await subscribed(world);
    world.clock.set(halfADayIntoThe11th);
    await change(account, { subscriptionId: id, planCode: 'premium', timing: 'IMMEDIATE', proration: 'NONE' });
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(1900n);
    await expectSoundLedger(world, account.id);
  });

  test('charged by the second and credited by the day, it gives back what was charged', async () => {
    const { account, id } = await subscribed(world);
    const at = new Date(halfADayIntoThe11th);
    const deps = { ...world.deps, clock: { now: () => at } };
    await change(account, { subscriptionId: id, planCode: 'premium', proration: 'PER_SECOND' }, deps);
    await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' }, deps);
    const lines = await linesOf(world, (await invoicesOf(world, account))[2]!);
    expect(lines).toEqual([
      'Unused time on Premium -3900', // of what going up had charged
      'Unused time on Premium -50', // and of the first fee
      'Remaining time on Basic 2000',
    ]);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(1950n); // what going up had cost
  });

  test('a trial changes plan for nothing', async () => {
    const { account, id } = await subscribed(world, { planCode: 'tryout' });
    await change(account, { subscriptionId: id, planCode: 'premium' });
    expect(await planOf(account)).toBe('premium');
    await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' });
    expect(await invoicesOf(world, account)).toEqual([]);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
  });
});

describe('another interval', () => {
  test('month → year starts a new period on the change day, less the unused days', async () => {
    const { account, id } = await subscribed(world);
    world.clock.set(halfADayIntoThe11th);
    await change(account, { subscriptionId: id, planCode: 'yearly', timing: 'IMMEDIATE' });
    const { periodStart, periodEnd, anchor, dueAt } = await subscriptionOf(world, account);
    expect([periodStart, periodEnd].map((d) => d.toISOString().slice(0, 13))).toEqual([
      '2024-04-11T12',
      '2025-04-11T12',
    ]);
    expect([anchor, dueAt]).toEqual([periodStart, periodEnd]);
    const [, invoice] = await invoicesOf(world, account);
    expect(await linesOf(world, invoice!)).toEqual(['Unused time on Basic -2000', 'Yearly 60000']);
    await expectSoundLedger(world, account.id);
  });

  test('the counters follow into the new period; what happened just before it still counts, late', async () => {
    const { account, id } = await subscribed(world);
    const record = (timestamp: string) =>
      recordUsage(world.deps, account.actor, [
        { transactionId: freshKey(), metric: 'users', value: '3', timestamp: new Date(timestamp) },
      ]).then((a) => a.results[0]!.status);
    world.clock.set(halfADayIntoThe11th);
    await record('2024-04-11T11:00:00Z');
    await change(account, { subscriptionId: id, planCode: 'yearly', timing: 'IMMEDIATE' });
    const { periodStart, periodEnd } = await subscriptionOf(world, account);
    const of = { accountId: account.id, clock: world.clock };
    expect((await usageSummary(world.deps.db.orm.em.fork(), of)).period).toEqual({
      start: periodStart,
      end: periodEnd,
    });
    expect(await itemOf(account, 'users')).toEqual({ used: 3, limit: 50 });
    expect(await record('2024-04-11T11:30:00Z')).toBe('ACCEPTED');
    const history = await usageHistory(world.deps.db.orm.em.fork(), { accountId: account.id, last: 3 });
    expect(history.map((h) => h.items.find((i) => i.metric.code === 'users')!.used.toNumber())).toEqual([3, 0]);
    world.clock.advanceMs(dayMs + 60_000);
    expect(await record('2024-04-11T11:30:00Z')).toBe('REJECTED');
  });

  test('also when both periods happen to end at the same time', async () => {
    world.clock.set('2024-01-01T00:00:00Z');
    const { account, id } = await subscribed(world, { planCode: 'yearly' });
    const end = (await subscriptionOf(world, account)).periodEnd;
    const at = new Date(end);
    at.setUTCMonth(at.getUTCMonth() - 1);
    await change(
      account,
      { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' },
      { ...world.deps, clock: { now: () => at } },
    );
    const { periodStart, periodEnd, anchor } = await subscriptionOf(world, account);
    expect([periodStart, periodEnd, anchor]).toEqual([at, end, at]);
  });
});

describe('limits and thresholds', () => {
  test('follow the plan: counts stay, a higher limit re-arms, a metric not granted takes no more', async () => {
    const { account, id } = await subscribed(world);
    const record = (transactionId: string, metric: string, value: string) =>
      recordUsage(world.deps, account.actor, [{ transactionId, metric, value }]).then((a) => a.results[0]!.status);
    const thresholds = async () =>
      (await eventsOf(world, account, 'usage.threshold', 'usage.threshold_cleared'))
        .filter((e) => e.data.metric === 'minutes')
        .map((e) => `${e.type === 'usage.threshold' ? '+' : '-'}${String(e.data.threshold_percent)}`);
    await record('m1', 'minutes', '95');
    expect(await thresholds()).toEqual(['+80', '+90']);
    await change(account, { subscriptionId: id, planCode: 'premium' });
    expect(await itemOf(account, 'minutes')).toEqual({ used: 95, limit: 1000 });
    expect(await thresholds()).toEqual(['+80', '+90', '-80', '-90']);
    await record('m2', 'minutes', '710');
    expect((await thresholds()).slice(4)).toEqual(['+80']);
    expect(await record('g1', 'storage', '4')).toBe('ACCEPTED');
    await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' });
    expect((await thresholds()).slice(5)).toEqual(['+90', '+100']);
    expect(await record('g2', 'storage', '5')).toBe('REJECTED');
    const features = await entitlements(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
    expect(features.map((e) => e.feature)).toEqual(['users', 'requests', 'peak', 'minutes']);
    expect(features.find((e) => e.feature === 'minutes')).toMatchObject({ allowed: true });
  });
});

describe('versions and keys', () => {
  test('a stale expectedVersion is refused, the current one is taken', async () => {
    const { account, id } = await subscribed(world);
    await expect(
      change(account, { subscriptionId: id, planCode: 'premium', expectedVersion: 7 }),
    ).rejects.toMatchObject({ code: 'STALE_VERSION' });
    expect(
      (await change(account, { subscriptionId: id, planCode: 'premium', expectedVersion: 1 })).error,
    ).toBeUndefined();
  });

  test('a repeat answers the same and charges nothing; another input is a mismatch; a foreign id NOT_FOUND', async () => {
    const { account, id } = await subscribed(world);
    const input = { idempotencyKey: freshKey(), subscriptionId: id, planCode: 'premium', expectedVersion: 1 };
    const first = await change(account, input);
    expect(await change(account, input)).toEqual({ ...first, replayed: true });
    await expect(change(account, { ...input, proration: 'NONE' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    });
    const stranger = await world.account();
    for (const subscriptionId of [id, publicId('invoice', first.invoiceId!), 'x']) {
      await expect(change(stranger, { ...input, subscriptionId })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(2);
  });

  test('10 changes at once with 10 keys: one is charged', async () => {
    const { account, id } = await subscribed(world);
    const { done, codes } = await allAtOnce(10, () => change(account, { subscriptionId: id, planCode: 'premium' }));
    expect(done).toHaveLength(1);
    expect(codes.every((code) => code === 'CONFLICT' || code === 'ILLEGAL_STATE')).toBe(true);
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(2);
    await expectSoundLedger(world, account.id);
  });

  test('a change that is paid as the period ends still takes effect', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_threeDSecure2Required');
    await change(account, { subscriptionId: id, planCode: 'premium' });
    await addCard(world, account);
    const payment = (await paymentsOf(world, account)).at(-1)!;
    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    // The invoice is paid, and before anything reacts to that the period ends.
    const { subscriptionId } = (await invoicesOf(world, account))[0]!;
    const invoice = (await invoicesOf(world, account))[1]!;
    await settleInvoicePayment(
      { ...world.deps, db: { ...world.deps.db, onCommit: () => {} } },
      { accountId: account.id, paymentId: payment.id, outcome: { status: 'succeeded', chargeRef: payment.chargeRef! } },
    );
    expect(invoice.status).toBe('OPEN');
    world.clock.set('2024-05-01T00:01:00Z');
    await advanceSubscription(world.deps, { accountId: account.id, subscriptionId: subscriptionId! });
    expect(await planOf(account)).toBe('premium');
    expect((await invoicesOf(world, account)).at(-1)).toMatchObject({ totalMinor: 6000n });
    await expectSoundLedger(world, account.id);
  });
});

test('a running subscription keeps its version of a plan until it changes', async () => {
  const { account, id } = await subscribed(world);
  await publish(world, testCatalogYaml.replace('price: 30.00', 'price: 33.00'));
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  expect((await invoicesOf(world, account)).map((i) => i.totalMinor)).toEqual([3000n, 3000n]);
  expect((await subscriptionOf(world, (await subscribed(world)).account)).status).toBe('ACTIVE');
  await change(account, { subscriptionId: id, planCode: 'basic', timing: 'PERIOD_END' });
  world.clock.set('2024-06-01T00:01:00Z');
  await runDue(world);
  expect((await invoicesOf(world, account)).at(-1)).toMatchObject({ totalMinor: 3300n });
  await publish(world, testCatalogYaml);
});

describe('a change that waits for its payment when the subscription ends', () => {
  const changeInvoiceOf = async (account: TestAccount) =>
    (await invoicesOf(world, account)).find((i) => i.reason === 'subscription_change')!;
  const confirm = async (account: TestAccount, invoiceId: string) => {
    const payment = (await paymentsOf(world, account)).find((p) => p.subjectId === invoiceId)!;
    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    world.clock.advanceMs(dayMs); // the provider is asked ever more rarely
    await runDue(world);
    return payment;
  };

  test('by hand: its invoice is void, what is paid later is in the wallet', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_threeDSecure2Required');
    expect((await change(account, { subscriptionId: id, planCode: 'premium' })).error).toMatchObject({
      code: 'REQUIRES_ACTION',
    });
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED', changeInvoiceId: null });
    const invoice = await changeInvoiceOf(account);
    expect(invoice.status).toBe('VOID');
    const creditedMinor = await balanceOf(world, account.id, 'wallet');
    const { amountMinor } = await confirm(account, invoice.id);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(creditedMinor + amountMinor);
    await expectSoundLedger(world, account.id);
  });

  test('by dunning there is none: while a renewal is unpaid, nothing is changed at once', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    await expect(change(account, { subscriptionId: id, planCode: 'premium' })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
    });
    expect(await changeInvoiceOf(account)).toBeUndefined();
  });

  test('and is paid all the same: the wallet has what was paid', async () => {
    const { account, id } = await subscribed(world);
    await addCard(world, account, 'tok_threeDSecure2Required');
    await change(account, { subscriptionId: id, planCode: 'premium' });
    await world.deps.db.orm.em
      .fork()
      .nativeUpdate(Subscription, { accountId: account.id }, { status: 'CANCELED', dueAt: null });
    const invoice = await changeInvoiceOf(account);
    await confirm(account, invoice.id);
    expect((await changeInvoiceOf(account)).status).toBe('PAID');
    expect(await balanceOf(world, account.id, 'wallet')).toBe(invoice.totalMinor);
    expect((await subscriptionOf(world, account)).changeInvoiceId).toBeNull();
    await expectSoundLedger(world, account.id);
  });
});

describe("a cancellation at the period's end", () => {
  const cancel = (account: TestAccount, subscriptionId: string) =>
    cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'PERIOD_END' });

  test('is undone by changing to the plan one is on, also to an old version of it', async () => {
    const { account, id } = await subscribed(world);
    await cancel(account, id);
    await publish(world, testCatalogYaml.replace('price: 30.00', 'price: 33.00'));
    const { version } = await subscriptionOf(world, account);
    await expect(change(account, { subscriptionId: id, planCode: 'free' })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('Change to basic'),
    });
    const undo = { subscriptionId: id, planCode: 'basic', timing: 'AUTO', proration: 'PER_DAY' } as const;
    const quoted = await preview(world.deps, account.actor, { changePlan: undo });
    expect(quoted).toMatchObject({ dueNowMinor: 0n, lines: [], nextInvoice: { totalMinor: 3000n } });
    await change(account, { ...undo, previewToken: quoted.token });
    expect(await subscriptionOf(world, account)).toMatchObject({ cancelAt: null, version: version + 1 });
    const events = await eventsOf(world, account, 'subscription.updated');
    expect(events.map((e) => e.data.cancel_at === null)).toEqual([false, true]);
    await expect(change(account, undo)).resolves.toBeDefined(); // now it means the version on offer
    await change(account, { ...undo, planCode: 'premium', timing: 'IMMEDIATE' });
    await publish(world, testCatalogYaml);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  });

  test('stays through an upgrade at once', async () => {
    const { account, id } = await subscribed(world);
    await cancel(account, id);
    const upgrade = { subscriptionId: id, planCode: 'premium', timing: 'AUTO', proration: 'PER_DAY' } as const;
    expect((await preview(world.deps, account.actor, { changePlan: upgrade })).nextInvoice).toBeNull();
    await change(account, upgrade);
    const subscription = await subscriptionOf(world, account);
    expect(subscription.cancelAt).toEqual(subscription.periodEnd);
    expect(await planOf(account)).toBe('premium');
  });
});

describe('the next invoice of a preview', () => {
  const next = async (
    account: TestAccount,
    subscriptionId: string,
    planCode: string,
    timing: ChangePlanInput['timing'],
  ) =>
    (
      await preview(world.deps, account.actor, {
        changePlan: { subscriptionId, planCode, timing, proration: 'PER_DAY' },
      })
    ).nextInvoice!;

  test('rates the usage by the plan that holds at the end of the period', async () => {
    const { account, id } = await subscribed(world);
    await recordUsage(world.deps, account.actor, [{ transactionId: 'm', metric: 'minutes', value: '150' }]);
    expect((await next(account, id, 'premium', 'PERIOD_END')).totalMinor).toBe(6000n + 250n);
    expect((await next(account, id, 'premium', 'IMMEDIATE')).totalMinor).toBe(6000n);
    expect((await next(account, id, 'free', 'PERIOD_END')).totalMinor).toBe(250n);
  });

  test("another interval at the period's end: a whole one from there", async () => {
    world.clock.set('2024-01-31T12:00:00Z');
    const { account, id } = await subscribed(world);
    const { periodEnd } = await subscriptionOf(world, account); // 29 February
    const { periodStart: start, periodEnd: end } = await next(account, id, 'yearly', 'PERIOD_END');
    expect(start).toEqual(periodEnd);
    expect(end!.toISOString().slice(0, 10)).toBe('2025-02-28');
  });
});
