import { activePaymentMethods } from '../../src/payment/paymentMethods.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { systemActor } from '../../src/platform/actor.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { rechargeIfLow } from '../../src/wallet/autoRecharge.js';
import { type AutoRechargeInput, configureAutoRecharge } from '../../src/wallet/configureAutoRecharge.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  eventsOf,
  freshKey,
  paymentsOf,
  runDue,
  subscribed,
  testCatalogYaml,
  unreachable,
  usd,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const wallet = (account: TestAccount) => balanceOf(world, account.id, 'wallet');
const withCard = async (token = 'tok_visa'): Promise<TestAccount> => {
  const account = await world.account();
  await addCard(world, account, token);
  return account;
};
const recharge = (account: TestAccount, input: Partial<AutoRechargeInput> = {}) =>
  configureAutoRecharge(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    enabled: true,
    threshold: usd('10.00'),
    amount: usd('25.00'),
    ...input,
  });
const hourMs = 3_600_000;

describe('topUp', () => {
  test('charges the card and credits the same amount, once for each key', async () => {
    const account = await withCard();
    const input = { idempotencyKey: freshKey(), amount: usd('50.00') };
    const first = await topUp(world.deps, account.actor, input);
    expect(first).toMatchObject({ replayed: false, error: undefined });
    expect(await topUp(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
    await expect(topUp(world.deps, account.actor, { ...input, amount: usd('50.01') })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    });
    expect(await wallet(account)).toBe(5000n);
    expect((await eventsOf(world, account, 'wallet.topped_up')).map((e) => e.data.balance)).toEqual([50]);
    await expectSoundLedger(world, account.id);
  });

  test('declined: no credit, and a repeat says so again', async () => {
    const account = await withCard('tok_chargeDeclined');
    const input = { idempotencyKey: freshKey(), amount: usd('50.00') };
    for (const replayed of [false, true]) {
      expect(await topUp(world.deps, account.actor, input)).toMatchObject({
        replayed,
        error: { code: 'PAYMENT_DECLINED' },
      });
    }
    expect(await wallet(account)).toBe(0n);
    expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
    await expectSoundLedger(world, account.id);
  });

  test.each([true, false])('3-D Secure: credited when the holder confirms (%s), and only then', async (success) => {
    const account = await withCard('tok_threeDSecure2Required');
    expect((await topUp(world.deps, account.actor, { amount: usd('50.00') })).error).toMatchObject({
      code: 'REQUIRES_ACTION',
    });
    const [payment] = await paymentsOf(world, account);
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await wallet(account)).toBe(0n);
    await world.deps.payments.authenticate({ chargeRef: payment!.chargeRef!, success });
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await wallet(account)).toBe(success ? 5000n : 0n);
    await expectSoundLedger(world, account.id);
  });

  test.each([
    'before',
    'after',
  ] as const)('the answer is lost %s charging: settled once, never charged twice', async (when) => {
    const account = await withCard();
    const input = { idempotencyKey: freshKey(), amount: usd('50.00') };
    const lost = { ...world.deps, payments: unreachable(world.deps.payments, when) };
    expect((await topUp(lost, account.actor, input)).error).toMatchObject({ code: 'UNAVAILABLE' });
    await expect(topUp(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_FLIGHT' });
    world.clock.advanceMs(31_000);
    await Promise.all([runDue(world), runDue(world)]);
    expect(await topUp(world.deps, account.actor, input)).toMatchObject({ replayed: true });
    expect(await wallet(account)).toBe(when === 'after' ? 5000n : 0n);
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(when === 'after' ? 1 : 0);
    await expectSoundLedger(world, account.id);
  });

  test('refuses what is not a positive amount in the currency of the wallet, and an account without a card', async () => {
    const account = await withCard();
    for (const amount of [usd('0.00'), usd('-1.00'), usd('1000000.00'), { minorUnits: 100n, currency: 'EUR' }]) {
      await expect(topUp(world.deps, account.actor, { amount })).rejects.toMatchObject({ code: 'INVALID' });
    }
    const bare = await world.account();
    await expect(topUp(world.deps, bare.actor, { amount: usd('5.00') })).rejects.toMatchObject({
      code: 'ILLEGAL_STATE',
    });
    await expect(
      topUp(world.deps, { ...systemActor(bare.id), scopes: ['wallet:read'] }, { amount: usd('5.00') }),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await paymentsOf(world, account)).toEqual([]);
  });

  test('a refused amount attaches no card; a repeat answers the same after its card was removed', async () => {
    const account = await world.account();
    const key = freshKey();
    const bad = { idempotencyKey: key, amount: { minorUnits: 100n, currency: 'EUR' }, paymentMethodId: 'pm_card_visa' };
    await expect(topUp(world.deps, account.actor, bad)).rejects.toMatchObject({ code: 'INVALID' });
    const cards = () => activePaymentMethods(world.deps.db.orm.em.fork(), account.id);
    expect(await cards()).toEqual([]);
    const input = { idempotencyKey: key, amount: usd('5.00') };
    const paymentMethodId = await addCard(world, account);
    const first = await topUp(world.deps, account.actor, { ...input, paymentMethodId });
    await removePaymentMethod(world.deps, account.actor, { paymentMethodId });
    expect(await topUp(world.deps, account.actor, { ...input, paymentMethodId })).toEqual({ ...first, replayed: true });
  });

  test('20 at once with one key are one, 10 with ten keys are ten', async () => {
    const account = await withCard();
    const input = { idempotencyKey: freshKey(), amount: usd('1.00') };
    const { done, codes } = await allAtOnce(20, () => topUp(world.deps, account.actor, input));
    expect(new Set(done.map((d) => d.paymentId)).size).toBe(1);
    expect(codes.every((code) => code === 'IDEMPOTENCY_IN_FLIGHT')).toBe(true);
    expect(await wallet(account)).toBe(100n);
    await allAtOnce(10, () => topUp(world.deps, account.actor, { ...input, idempotencyKey: freshKey() }));
    expect(await wallet(account)).toBe(1100n);
    await expectSoundLedger(world, account.id);
  });

  test('through GraphQL: balance, available and the movement', async () => {
    const account = await world.account();
    const { data } = await world.gql(
      account.token,
      `mutation { topUp(input: { idempotencyKey: "t", amount: { amount: "12.50", currency: "USD" }, paymentMethodId: "pm_card_visa" }) {
        wallet { balance { minorUnits } available { amount } transactions(first: 5) { nodes { type amount { minorUnits } balanceAfter { minorUnits } } } }
        payment { status } userErrors { code } } }`,
    );
    expect(data.topUp).toEqual({
      wallet: {
        balance: { minorUnits: '1250' },
        available: { amount: '12.50' },
        transactions: {
          nodes: [{ type: 'top_up', amount: { minorUnits: '1250' }, balanceAfter: { minorUnits: '1250' } }],
        },
      },
      payment: { status: 'SUCCEEDED' },
      userErrors: [],
    });
  });
});

describe('auto-recharge', () => {
  test('charges once when the balance falls below the threshold, and not before', async () => {
    const account = await withCard();
    await topUp(world.deps, account.actor, { amount: usd('35.00') });
    await recharge(account);
    await runDue(world);
    expect(await wallet(account)).toBe(3500n);
    await subscribe(world.deps, account.actor, { planCode: 'basic' });
    await runDue(world);
    await Promise.all([rechargeIfLow(world.deps, account.id), rechargeIfLow(world.deps, account.id), runDue(world)]);
    expect(await wallet(account)).toBe(3000n);
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(2);
    await expectSoundLedger(world, account.id);
  });

  test('usage that is not yet invoiced counts against what is available', async () => {
    const { account } = await subscribed(world);
    await topUp(world.deps, account.actor, { amount: usd('12.00') });
    await recharge(account);
    await runDue(world);
    await recordUsage(world.deps, account.actor, [{ transactionId: 'u', metric: 'minutes', value: '200' }]); // 5.00 over
    await runDue(world);
    expect(await wallet(account)).toBe(3700n);
    await expectSoundLedger(world, account.id);
  });

  test('as often as it takes when one amount is not enough', async () => {
    const account = await withCard();
    await recharge(account, { threshold: usd('60.00') });
    await runDue(world);
    expect(await wallet(account)).toBe(7500n);
    await expectSoundLedger(world, account.id);
  });

  test('declined: says so and backs off for 1, 6 and 24 hours', async () => {
    const account = await withCard('tok_chargeDeclined');
    await recharge(account);
    await runDue(world);
    const failed = () => eventsOf(world, account, 'wallet.recharge_failed');
    expect((await failed()).map((e) => e.data.decline_code)).toEqual(['card_declined']);
    let attempts = 1;
    for (const hours of [1, 6, 24, 24]) {
      world.clock.advanceMs((hours - 0.5) * hourMs);
      await runDue(world);
      expect(await failed()).toHaveLength(attempts);
      world.clock.advanceMs(0.6 * hourMs);
      await runDue(world);
      expect(await failed()).toHaveLength(++attempts);
    }
    await addCard(world, account);
    world.clock.advanceMs(25 * hourMs);
    await runDue(world);
    expect(await wallet(account)).toBe(2500n);
    await expectSoundLedger(world, account.id);
  });

  test('without a card: says so and backs off', async () => {
    const account = await world.account();
    await recharge(account);
    await runDue(world);
    expect((await eventsOf(world, account, 'wallet.recharge_failed')).map((e) => e.data.decline_code)).toEqual([
      'no_payment_method',
    ]);
  });

  test.each(['before', 'after'] as const)('the answer is lost %s charging: one charge in the end', async (when) => {
    const account = await withCard();
    await recharge(account);
    await rechargeIfLow({ ...world.deps, payments: unreachable(world.deps.payments, when) }, account.id);
    await runDue(world);
    expect(await paymentsOf(world, account)).toHaveLength(1);
    for (const waitMs of [31_000, 31_000, hourMs]) {
      world.clock.advanceMs(waitMs);
      await runDue(world);
    }
    expect(await eventsOf(world, account, 'wallet.recharge_failed')).toHaveLength(when === 'before' ? 1 : 0);
    expect(await wallet(account)).toBe(2500n);
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(1);
    await expectSoundLedger(world, account.id);
  });

  test('a decline that is only heard of later backs off as one heard at once', async () => {
    const account = await withCard('tok_chargeDeclined');
    await recharge(account);
    await rechargeIfLow({ ...world.deps, payments: unreachable(world.deps.payments, 'after') }, account.id);
    const failed = () => eventsOf(world, account, 'wallet.recharge_failed');
    expect(await failed()).toHaveLength(0);
    world.clock.advanceMs(31_000);
    await Promise.all([runDue(world), runDue(world)]);
    expect((await failed()).map((e) => e.data.decline_code)).toEqual(['card_declined']);
    world.clock.advanceMs(0.5 * hourMs);
    await runDue(world);
    expect(await paymentsOf(world, account)).toHaveLength(1);
    world.clock.advanceMs(0.6 * hourMs);
    await runDue(world);
    expect(await failed()).toHaveLength(2);
  });

  test('a recharge its holder can still confirm keeps others back, and is told as failed once', async () => {
    const account = await withCard('tok_threeDSecure2Required');
    await recharge(account);
    await runDue(world);
    world.clock.advanceMs(2 * hourMs);
    await runDue(world);
    const [waiting, ...others] = await paymentsOf(world, account);
    expect(others).toEqual([]);
    await world.deps.payments.authenticate({ chargeRef: waiting!.chargeRef!, success: false });
    world.clock.advanceMs(6 * 60_000);
    await world.sweeps.runOnce();
    expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'FAILED' }, { status: 'REQUIRES_ACTION' }]);
    expect(await eventsOf(world, account, 'wallet.recharge_failed')).toHaveLength(2);
  });

  test('settings: both numbers are needed, kept when not given, and a repeat changes nothing', async () => {
    const account = await world.account();
    const input = { idempotencyKey: freshKey(), enabled: true };
    await expect(configureAutoRecharge(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'INVALID' });
    await expect(recharge(account, { amount: usd('0.00') })).rejects.toMatchObject({ code: 'INVALID' });
    await expect(recharge(account, { threshold: { minorUnits: 1n, currency: 'EUR' } })).rejects.toMatchObject({
      code: 'INVALID',
    });
    const settings = { idempotencyKey: freshKey(), threshold: usd('1.00') };
    expect(await recharge(account, settings)).toEqual({ replayed: false });
    expect(await recharge(account, settings)).toEqual({ replayed: true });
    await expect(recharge(account, { ...settings, threshold: usd('2.00') })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    });
    await configureAutoRecharge(world.deps, account.actor, { enabled: false });
    expect((await eventsOf(world, account, 'wallet.updated')).map((e) => e.data.auto_recharge)).toEqual([
      { enabled: true, threshold: 1, amount: 25 },
      { enabled: false, threshold: 1, amount: 25 },
    ]);
  });
});
