import { Account } from '../../src/account/account.entity.js';
import { Plan } from '../../src/catalog/plan.entity.js';
import { InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { publicId } from '../../src/platform/ids.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { type ChangePlanInput, changePlan } from '../../src/subscription/changePlan.js';
import { preview } from '../../src/subscription/preview.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { undoScheduledChange } from '../../src/subscription/undoScheduledChange.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  publish,
  runDue,
  subscriptionOf,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

const catalog = `${testCatalogYaml}
  - { code: calendar, name: Calendar, price: 30.00, currency: USD, interval: month, features: { minutes: { limit: 100, overage: charge, unit_price: 0.05 } } }
  - { code: weekly, name: Weekly, price: 7.00, currency: USD, interval: week }
  - { code: minimum, name: Minimum, price: 10.00, currency: USD, interval: month, features: { minutes: { limit: 0, overage: charge, unit_price: 0.10 } } }
  - { code: brief, name: Brief, price: 10.00, currency: USD, interval: month, trial_days: 1 }
`;

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog, worker: false });
  const em = world.deps.db.orm.em.fork();
  await em.nativeUpdate(Plan, { code: 'calendar' }, { anchor: 'CALENDAR' });
  await em.nativeUpdate(Plan, { code: 'minimum' }, { minimumSpendMinor: 3000n });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const change = (
  account: TestAccount,
  input: Partial<ChangePlanInput> & Pick<ChangePlanInput, 'subscriptionId' | 'planCode'>,
) =>
  changePlan(world.deps, account.actor, { idempotencyKey: freshKey(), timing: 'AUTO', proration: 'PER_DAY', ...input });
const withPlan = async (planCode: string, quantity?: number, of: { timeZone?: string } = {}) => {
  const account = await world.account(of);
  await addCard(world, account);
  const { subscriptionId } = await subscribe(world.deps, account.actor, { planCode, quantity });
  return { account, id: publicId('subscription', subscriptionId) };
};
const allLines = async (account: TestAccount): Promise<string[][]> =>
  Promise.all((await invoicesOf(world, account)).map((invoice) => linesOf(world, invoice)));
const minutes = (account: TestAccount, value: string) =>
  recordUsage(world.deps, account.actor, [{ transactionId: freshKey(), metric: 'minutes', value }]);

describe('quantity', () => {
  test('the fee counts once for each; more of them at once, fewer at the end of the period', async () => {
    const { account, id } = await withPlan('basic', 3);
    expect(await allLines(account)).toEqual([['Basic 9000']]);
    world.clock.set('2024-04-11T12:00:00Z');
    await publish(world, catalog.replace('price: 30.00', 'price: 33.00'));
    await change(account, { subscriptionId: id, planCode: 'basic', quantity: 5 }); // on the version one is on
    expect((await allLines(account))[1]).toEqual(['Unused time on Basic -6000', 'Remaining time on Basic 10000']);
    await change(account, { subscriptionId: id, planCode: 'basic', quantity: 2 });
    expect(await subscriptionOf(world, account)).toMatchObject({
      quantity: 5,
      pendingQuantity: 2,
      pendingPlanId: null,
    });
    await publish(world, catalog);
    await world.deps.db.orm.em.fork().nativeUpdate(Plan, { code: 'calendar' }, { anchor: 'CALENDAR' });
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect((await allLines(account))[2]).toEqual(['Basic 6000']);
    expect(await subscriptionOf(world, account)).toMatchObject({ quantity: 2, pendingQuantity: null });
    await expectSoundLedger(world, account.id);
  });

  test.each([0, -1, 1.5, 1_000_001])('of %p is refused', async (quantity) => {
    const account = await world.account();
    await expect(subscribe(world.deps, account.actor, { planCode: 'basic', quantity })).rejects.toMatchObject({
      code: 'INVALID',
      details: { field: ['quantity'] },
    });
  });

  test('the same plan in the same quantity is no change; a declined one changes nothing', async () => {
    const { account, id } = await withPlan('basic', 2);
    await expect(change(account, { subscriptionId: id, planCode: 'basic', quantity: 2 })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
    });
    await addCard(world, account, 'tok_chargeDeclined');
    expect((await change(account, { subscriptionId: id, planCode: 'basic', quantity: 9 })).error).toMatchObject({
      code: 'PAYMENT_DECLINED',
    });
    expect(await subscriptionOf(world, account)).toMatchObject({ quantity: 2, changeQuantity: null });
  });

  test('two changes at once: one is charged', async () => {
    const { account, id } = await withPlan('basic');
    const { done } = await allAtOnce(4, (i) =>
      change(account, { subscriptionId: id, planCode: 'basic', quantity: 2 + i }),
    );
    const { quantity } = await subscriptionOf(world, account);
    expect(done.length).toBeGreaterThanOrEqual(1);
    const paid = (await world.deps.payments.moved({ accountId: account.id })).amountMinor;
    const credit = await balanceOf(world, account.id, 'wallet');
    expect(paid - credit).toBe(3000n * BigInt(quantity)); // all on the first day
    await expectSoundLedger(world, account.id);
  });

  test('through REST', async () => {
    const account = await world.account();
    await addCard(world, account);
    const made = await world.rest(account.token, 'POST', '/subscriptions', { plan_id: 'basic', quantity: 4 });
    expect(made).toMatchObject({ status: 201, body: { plan_id: 'basic', quantity: 4 } });
    const path = `/subscriptions/${made.body.id}`;
    const patched = await world.rest(account.token, 'PATCH', path, { plan_id: 'basic', quantity: '2' });
    expect(patched).toMatchObject({ status: 200, body: { quantity: 4, pending_quantity: 2 } });
    for (const quantity of [0, 1.5, 'x', -3])
      expect((await world.rest(account.token, 'PATCH', path, { plan_id: 'basic', quantity })).status).toBe(422);
  });
});

test('while the fee of the period is unpaid nothing is charged beside it; with a new card it is paid first', async () => {
  const { account, id } = await withPlan('basic');
  await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  world.clock.set('2024-05-01T12:00:00Z');
  const input = { subscriptionId: id, planCode: 'premium' };
  const unpaid = { code: 'ILLEGAL_STATE', details: { field: ['subscriptionId'] } };
  await expect(change(account, input)).rejects.toMatchObject(unpaid);
  const asked = { ...input, timing: 'AUTO', proration: 'PER_DAY' } as const;
  await expect(preview(world.deps, account.actor, { changePlan: asked })).rejects.toMatchObject(unpaid);
  await addCard(world, account);
  await world.settled(); // the new card makes the next attempt due
  const charging = { code: 'CONFLICT', details: { retryable: true } };
  await expect(change(account, input)).rejects.toMatchObject(charging);
  const cancel = { subscriptionId: id, timing: 'IMMEDIATE' } as const;
  await expect(cancelSubscription(world.deps, account.actor, cancel)).rejects.toMatchObject(charging);
  await runDue(world);
  await change(account, input);
  // April and May on Basic, less all of May, and May on Premium.
  expect((await world.deps.payments.moved({ accountId: account.id })).amountMinor).toBe(3000n + 6000n);
  await cancelSubscription(world.deps, account.actor, cancel);
  expect(await balanceOf(world, account.id, 'wallet')).toBe(5806n); // 30 of 31 days
  await expectSoundLedger(world, account.id);
});

describe('plans on the calendar', () => {
  test('begin with the days that are left of the month, then whole ones from the 1st', async () => {
    world.clock.set('2024-04-11T12:00:00Z');
    const { account, id } = await withPlan('calendar', 2);
    expect(await allLines(account)).toEqual([['Calendar 4000']]); // 20 of 30 days
    expect((await subscriptionOf(world, account)).periodEnd).toEqual(new Date('2024-05-01T00:00:00Z'));
    world.clock.set('2024-04-21T00:00:00Z');
    await change(account, { subscriptionId: id, planCode: 'calendar', quantity: 3 });
    // 10 of the 30 days of the whole month, not of the 20 that were paid for.
    expect((await allLines(account))[1]).toEqual(['Unused time on Calendar -2000', 'Remaining time on Calendar 3000']);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect((await allLines(account))[2]).toEqual(['Calendar 9000']);
    await expectSoundLedger(world, account.id);
  });

  test('the account’s own midnight, at the full price on the boundary', async () => {
    world.clock.set(new Date('2024-03-31T10:00:00Z')); // 1 April, midnight in Kiritimati
    const { account } = await withPlan('calendar', 1, { timeZone: 'Pacific/Kiritimati' });
    expect(await allLines(account)).toEqual([['Calendar 3000']]);
    expect((await subscriptionOf(world, account)).periodEnd).toEqual(new Date('2024-04-30T10:00:00Z'));
  });

  test('changing to and from them begins a period on the change day', async () => {
    const { account, id } = await withPlan('basic');
    world.clock.set('2024-04-11T12:00:00Z');
    await change(account, { subscriptionId: id, planCode: 'calendar', timing: 'IMMEDIATE' });
    expect((await allLines(account))[1]).toEqual(['Unused time on Basic -2000', 'Calendar 2000']);
    const onCalendar = await subscriptionOf(world, account);
    expect(onCalendar.periodEnd).toEqual(new Date('2024-05-01T00:00:00Z'));
    world.clock.set('2024-04-21T12:00:00Z');
    await change(account, { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE' });
    expect((await allLines(account))[2]).toEqual(['Unused time on Calendar -1000', 'Basic 3000']);
    expect((await subscriptionOf(world, account)).periodEnd.toISOString().slice(0, 10)).toBe('2024-05-21');
    await expectSoundLedger(world, account.id);
  });
});

describe('minimum spend', () => {
  test('is what the usage of a period falls short of; shown before it is due', async () => {
    const { account, id } = await withPlan('minimum');
    await minutes(account, '100'); // 10.00 of 30.00
    const { data } = await world.gql(
      account.token,
      `query($id: ID!) { subscription(id: $id) { upcomingInvoice { lines { description amount { minorUnits } explanation { label result } } } } }`,
      { id },
    );
    const shown = data.subscription.upcomingInvoice.lines;
    expect(shown[1].explanation.at(-1)).toEqual({ label: 'Falls short by', result: '20.00' });
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    const lines = (await allLines(account))[1]!;
    expect(lines).toEqual(['Minutes over the limit of 0 1000', 'Minimum spend 2000', 'Minimum 1000']);
    expect(
      shown.map(
        (l: { description: string; amount: { minorUnits: string } }) => `${l.description} ${l.amount.minorUnits}`,
      ),
    ).toEqual(lines);
    await minutes(account, '400');
    world.clock.set('2024-06-01T00:01:00Z');
    await runDue(world);
    expect((await allLines(account))[2]).toEqual(['Minutes over the limit of 0 4000', 'Minimum 1000']);
    await expectSoundLedger(world, account.id);
  });

  test('with a grace period late usage takes the place of a part of it', async () => {
    const { account } = await withPlan('minimum');
    await world.deps.db.orm.em.fork().nativeUpdate(Account, { id: account.id }, { gracePeriodHours: 12 });
    await minutes(account, '100');
    world.clock.set('2024-05-01T01:00:00Z');
    await runDue(world);
    const late = new Date('2024-04-30T12:00:00Z');
    await recordUsage(world.deps, account.actor, [
      { transactionId: freshKey(), metric: 'minutes', value: '50', timestamp: late },
    ]);
    world.clock.set('2024-05-01T13:00:00Z');
    await runDue(world);
    const lines = (await allLines(account)).find((invoice) => invoice.length === 3)!;
    expect(lines).toEqual([expect.stringMatching(/ 1500$/), 'Minimum spend 1500', 'Minimum 1000']);
    await expectSoundLedger(world, account.id);
  });

  test('is owed for the days of a period that is cut short, the day it ends included', async () => {
    const { account, id } = await withPlan('minimum');
    await minutes(account, '10');
    world.clock.set('2024-04-11T12:00:00Z');
    const quoted = await preview(world.deps, account.actor, {
      cancelSubscription: { subscriptionId: id, timing: 'IMMEDIATE' },
    });
    await cancelSubscription(world.deps, account.actor, {
      subscriptionId: id,
      timing: 'IMMEDIATE',
      previewToken: quoted.token,
    });
    // 11 of 30 days: 11.00 less 1.00 used; the fee's 19 days back.
    expect((await allLines(account))[1]).toEqual([
      'Unused time on Minimum -633',
      'Minutes over the limit of 0 100',
      'Minimum spend 1000',
    ]);
    await expectSoundLedger(world, account.id);
  });
});

describe('trials', () => {
  test('are announced three days before they end, once', async () => {
    const { account } = await withPlan('tryout', 2);
    world.clock.set('2024-04-11T23:00:00Z');
    await runDue(world);
    expect(await eventsOf(world, account, 'subscription.trial_ending')).toHaveLength(0);
    world.clock.set('2024-04-12T01:00:00Z');
    await runDue(world);
    await runDue(world);
    const [event, ...more] = await eventsOf(world, account, 'subscription.trial_ending');
    expect(event!.data).toMatchObject({ plan_id: 'tryout', status: 'trialing', quantity: 2 });
    expect(more).toEqual([]);
    world.clock.set('2024-04-15T01:00:00Z');
    await runDue(world);
    expect(await allLines(account)).toEqual([['Tryout 4000']]);
    const short = await withPlan('brief');
    await runDue(world);
    expect(await eventsOf(world, short.account, 'subscription.trial_ending')).toHaveLength(1);
  });

  test('without a card: the first fee fails and is dunned', async () => {
    const account = await world.account();
    await subscribe(world.deps, account.actor, { planCode: 'tryout' });
    world.clock.set('2024-04-15T01:00:00Z');
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
    expect(await invoicesOf(world, account)).toMatchObject([{ status: 'OPEN', failedAttempts: 1 }]);
    await addCard(world, account);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  });

  test.each(['IMMEDIATE', 'PERIOD_END'] as const)('can be canceled, %s, for nothing', async (timing) => {
    const { account, id } = await withPlan('tryout');
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing });
    world.clock.set('2024-04-15T01:00:00Z');
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
    expect(await invoicesOf(world, account)).toEqual([]);
  });
});

describe('what is scheduled', () => {
  test('is taken back: plan, quantity and cancellation, and the version must be the one seen', async () => {
    const { account, id } = await withPlan('premium', 2);
    const undo = (more: object = {}) => undoScheduledChange(world.deps, account.actor, { subscriptionId: id, ...more });
    await expect(undo()).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
    await change(account, { subscriptionId: id, planCode: 'basic', quantity: 1 });
    const { version } = await subscriptionOf(world, account);
    await expect(undo({ expectedVersion: version + 1 })).rejects.toMatchObject({ code: 'STALE_VERSION' });
    const idempotencyKey = freshKey();
    await undo({ idempotencyKey });
    expect(await undo({ idempotencyKey })).toMatchObject({ replayed: true });
    expect(await subscriptionOf(world, account)).toMatchObject({
      pendingPlanId: null,
      pendingQuantity: null,
      version: version + 1,
    });
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'PERIOD_END' });
    await undo();
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect((await allLines(account)).at(-1)).toEqual(['Premium 12000']);
  });
});

test('a credit never exceeds what coupons left of the fee', async () => {
  const { account, id } = await withPlan('basic', 2);
  const [invoice] = await invoicesOf(world, account);
  // As if a coupon had taken a quarter off.
  await world.deps.db.orm.em
    .fork()
    .nativeUpdate(InvoiceLine, { accountId: account.id, invoiceId: invoice!.id }, { discountMinor: 1500n });
  world.clock.set('2024-04-11T12:00:00Z');
  await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
  expect((await allLines(account)).at(-1)).toEqual(['Unused time on Basic -2850']); // 60.00 × 3/4 × 19/30
});

test('a change after the period has ended belongs to the next one, though no sweep came by', async () => {
  const { account, id } = await withPlan('basic');
  world.clock.set('2024-05-01T06:00:00Z');
  await change(account, { subscriptionId: id, planCode: 'premium' });
  expect(await allLines(account)).toEqual([
    ['Basic 3000'],
    ['Basic 3000'],
    ['Unused time on Basic -3000', 'Remaining time on Premium 6000'],
  ]);
  await expectSoundLedger(world, account.id);
});

test('every change costs what its preview showed: timing × proration × interval × quantity × trial', async () => {
  const cases = (['AUTO', 'IMMEDIATE', 'PERIOD_END'] as const).flatMap((timing) =>
    (['PER_DAY', 'PER_SECOND', 'NONE'] as const).flatMap((proration) =>
      ['premium', 'yearly', 'weekly', 'calendar'].flatMap((planCode) =>
        [undefined, 3].map((quantity) => ({ timing, proration, planCode, quantity })),
      ),
    ),
  );
  for (const from of ['basic', 'tryout']) {
    for (const [i, wanted] of cases.entries()) {
      if ((i + (from === 'basic' ? 0 : 2)) % 5 !== 0) continue; // 5 shares no factor with the lists: every pair of values comes up
      world.clock.set('2024-04-01T00:00:00Z');
      const { account, id } = await withPlan(from, 2);
      world.clock.set('2024-04-11T12:00:00Z');
      const input = { subscriptionId: id, ...wanted };
      const quoted = await preview(world.deps, account.actor, { changePlan: input });
      const before = await world.deps.payments.moved({ accountId: account.id });
      const { error } = await changePlan(world.deps, account.actor, { ...input, previewToken: quoted.token });
      const after = await world.deps.payments.moved({ accountId: account.id });
      expect({
        error,
        paid: after.amountMinor - before.amountMinor,
        credit: await balanceOf(world, account.id, 'wallet'),
      }).toEqual({
        error: undefined,
        paid: quoted.dueNowMinor,
        credit: quoted.creditMinor,
      });
      const { periodEnd } = await subscriptionOf(world, account);
      expect(quoted.nextInvoice!.issuedAt).toEqual(periodEnd);
    }
  }
}, 120_000);

test('a top-up costs what its preview showed', async () => {
  const account = await world.account();
  await addCard(world, account);
  const input = { amount: usd('25.00') };
  const quoted = await preview(world.deps, account.actor, { topUp: input });
  expect(quoted).toMatchObject({ dueNowMinor: 2500n, creditMinor: 2500n, lines: [], nextInvoice: null });
  const more = { previewToken: quoted.token };
  await expect(topUp(world.deps, account.actor, { amount: usd('26.00'), ...more })).rejects.toMatchObject({
    code: 'STALE_PREVIEW',
  });
  expect((await topUp(world.deps, account.actor, { ...input, ...more })).error).toBeUndefined();
  expect(await balanceOf(world, account.id, 'wallet')).toBe(2500n);
  world.clock.advanceMs(16 * 60_000);
  await expect(topUp(world.deps, account.actor, { ...input, ...more })).rejects.toMatchObject({
    code: 'STALE_PREVIEW',
  });
});

test('the token is bound to the account’s own time', async () => {
  const { account, id } = await withPlan('basic');
  const em = world.deps.db.orm.em.fork();
  await em.nativeUpdate(
    Account,
    { id: account.id },
    { testClockAt: new Date('2024-04-21T00:00:00Z'), testClockTargetAt: new Date('2024-04-21T00:00:00Z') },
  );
  const input = { subscriptionId: id, timing: 'IMMEDIATE' } as const;
  const quoted = await preview(world.deps, account.actor, { cancelSubscription: input });
  expect(quoted.creditMinor).toBe(900n); // as of the 21st
  await cancelSubscription(world.deps, account.actor, { ...input, previewToken: quoted.token });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(900n);
});
