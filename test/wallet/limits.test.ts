import { advanceTestClock } from '../../src/account/advanceTestClock.js';
import { createTestClock } from '../../src/account/createTestClock.js';
import { createInvoice } from '../../src/invoice/createInvoice.js';
import { correctUsage } from '../../src/usage/correctUsage.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { type AutoRechargeInput, configureAutoRecharge } from '../../src/wallet/configureAutoRecharge.js';
import { setLowBalanceThreshold } from '../../src/wallet/setLowBalanceThreshold.js';
import { topUp } from '../../src/wallet/topUp.js';
import { addCard, eventsOf, freshKey, runDue, subscribed, testCatalogYaml, usd } from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { fundsOf, give, hold } from '../support/wallet.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-10T00:00:00Z'));

const recharge = (account: TestAccount, input: Partial<AutoRechargeInput> = {}) =>
  configureAutoRecharge(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    enabled: true,
    threshold: usd('10.00'),
    amount: usd('25.00'),
    ...input,
  });
async function withCard(of: { timeZone?: string } = {}): Promise<TestAccount> {
  const account = await world.account(of);
  await addCard(world, account);
  return account;
}
/** An invoice over an amount, and what follows. */
async function spend(account: TestAccount, amount: string): Promise<void> {
  const items = [{ description: 'Work', amount: usd(amount) }];
  await createInvoice(world.deps, account.actor, { idempotencyKey: freshKey(), items });
  await runDue(world);
}
const threshold = (account: TestAccount, amount: string | null) =>
  setLowBalanceThreshold(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    threshold: amount === null ? null : usd(amount),
  });

describe('the monthly limit of recharges', () => {
  const capped = (account: TestAccount) => eventsOf(world, account, 'wallet.recharge_capped');

  test('lets no more through, says so once, and goes on when the month of the account has ended', async () => {
    const account = await withCard({ timeZone: 'America/New_York' });
    await recharge(account, { monthlyLimit: usd('60.00') });
    await runDue(world);
    await spend(account, '20.00');
    expect(await fundsOf(world, account)).toBe('30.00 0.00 30.00'); // recharged twice
    await spend(account, '25.00');
    await spend(account, '1.00');
    expect(await fundsOf(world, account)).toBe('4.00 0.00 4.00');
    expect((await capped(account)).map((e) => e.data)).toMatchObject([
      { balance: 5, auto_recharge: { monthly_limit: 60 }, next_attempt_at: '2024-05-01T04:00:00.000Z' },
    ]);
    world.clock.set('2024-05-01T03:59:00Z');
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('4.00 0.00 4.00');
    world.clock.set('2024-05-01T04:00:00Z');
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('29.00 0.00 29.00');
    expect(await capped(account)).toHaveLength(1);
    expect(await eventsOf(world, account, 'wallet.recharge_failed')).toEqual([]);
    await expectSoundLedger(world, account.id);
  });

  test('raised or lifted, it lets the next one through at once', async () => {
    const account = await withCard();
    await recharge(account, { threshold: usd('60.00'), monthlyLimit: usd('50.00') });
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('50.00 0.00 50.00');
    await recharge(account, { threshold: usd('80.00'), monthlyLimit: usd('75.00') });
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('75.00 0.00 75.00');
    expect(await capped(account)).toHaveLength(1);
    await recharge(account, { threshold: usd('80.00') }); // as it was
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('75.00 0.00 75.00');
    await recharge(account, { threshold: usd('80.00'), monthlyLimit: null });
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('100.00 0.00 100.00');
    await expectSoundLedger(world, account.id);
  });

  test('counts what has moved or may move, not what was declined', async () => {
    const account = await world.account();
    await addCard(world, account, 'tok_chargeDeclined');
    await recharge(account, { monthlyLimit: usd('25.00') });
    await runDue(world);
    await addCard(world, account);
    world.clock.advanceMs(61 * 60_000);
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('25.00 0.00 25.00');
    expect(await capped(account)).toEqual([]);
  });

  test('is at least one recharge', async () => {
    const account = await withCard();
    await expect(recharge(account, { monthlyLimit: usd('24.99') })).rejects.toMatchObject({
      code: 'INVALID',
      message: 'monthlyLimit is 24.99, expected at least one recharge of 25.00',
    });
    await expect(recharge(account, { monthlyLimit: { minorUnits: 9_999n, currency: 'EUR' } })).rejects.toMatchObject({
      code: 'INVALID',
    });
    await recharge(account, { monthlyLimit: usd('30.00') });
    await expect(recharge(account, { amount: usd('31.00') })).rejects.toMatchObject({ code: 'INVALID' });
  });

  test('through REST and GraphQL, where it is not seen unless there is one', async () => {
    const account = await withCard();
    const put = (body: object) => world.rest(account.token, 'PUT', '/wallet/auto-recharge', body);
    const settings = { enabled: false, threshold: 5, amount: 10 };
    expect((await put(settings)).body.auto_recharge).toEqual(settings);
    expect((await put({ ...settings, monthly_limit: 40 })).body.auto_recharge).toEqual({
      ...settings,
      monthly_limit: 40,
    });
    const limitOf = async () =>
      (await world.gql(account.token, '{ wallet { autoRecharge { monthlyLimit { amount } } } }')).data.wallet
        .autoRecharge.monthlyLimit;
    expect(await limitOf()).toEqual({ amount: '40.00' });
    const lifted = await world.gql(
      account.token,
      'mutation { configureAutoRecharge(input: { idempotencyKey: "l", enabled: false, monthlyLimit: null }) { userErrors { code } } }',
    );
    expect(lifted.data.configureAutoRecharge.userErrors).toEqual([]);
    expect(await limitOf()).toBeNull();
  });
});

describe('a low balance', () => {
  const low = (account: TestAccount) => eventsOf(world, account, 'wallet.low');

  test('is told once when what is available falls below the threshold, and again after it was above', async () => {
    const account = await world.account();
    await give(world, account, '20.00');
    await threshold(account, '10.00');
    await runDue(world);
    expect(await low(account)).toEqual([]);
    await spend(account, '10.00'); // exactly the threshold is not below it
    expect(await low(account)).toEqual([]);
    await spend(account, '1.00');
    await spend(account, '1.00');
    expect((await low(account)).map((e) => e.data)).toMatchObject([
      { balance: 9, held: 0, available: 9, threshold: 10, currency: 'USD' },
    ]);
    await give(world, account, '5.00');
    await runDue(world);
    await hold(world, account, '4.00');
    await runDue(world);
    expect((await low(account)).map((e) => [e.data.balance, e.data.available])).toEqual([
      [9, 9],
      [13, 9],
    ]);
  });

  test('is by default below the threshold of auto-recharge, before that recharges; without one it is never told', async () => {
    const account = await withCard();
    await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('12.00') });
    await recharge(account);
    await runDue(world);
    await spend(account, '5.00');
    const types = (await eventsOf(world, account)).map(({ type }) => type);
    expect(types.filter((type) => type === 'wallet.low')).toHaveLength(1);
    expect(types.indexOf('wallet.low')).toBeLessThan(types.lastIndexOf('wallet.topped_up'));
    await recharge(account, { enabled: false });
    await spend(account, '30.00');
    expect(await low(account)).toHaveLength(1);
  });

  test('counts usage that is not yet invoiced, and a correction that takes it away', async () => {
    const { account } = await subscribed(world);
    await give(world, account, '12.00');
    await threshold(account, '10.00');
    const record = async (transactionId: string, value: string) => {
      await recordUsage(world.deps, account.actor, [{ transactionId, metric: 'minutes', value }]);
      await runDue(world);
    };
    await record('u1', '100');
    expect(await low(account)).toEqual([]);
    await record('u2', '60'); // 60 over at 0.05
    expect((await low(account)).map((e) => e.data.available)).toEqual([9]);
    await correctUsage(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      corrections: [{ transactionId: 'u2', action: 'VOID' }],
    });
    await runDue(world);
    await record('u3', '50');
    expect((await low(account)).map((e) => e.data.available)).toEqual([9, 9.5]);
  });

  test('comes at its own time on a test clock, when credit expires', async () => {
    const account = await world.account();
    await createTestClock(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      now: new Date('2024-01-01T00:00:00Z'),
    });
    await give(world, account, '20.00', { expiresAt: new Date('2024-02-01T00:00:00Z') });
    await threshold(account, '10.00');
    const to = new Date('2024-03-01T00:00:00Z');
    await advanceTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), to });
    expect((await low(account)).map((e) => [e.occurredAt.toISOString(), e.data.available])).toEqual([
      ['2024-02-01T00:00:00.000Z', 0],
    ]);
  });

  test('a threshold is more than nothing; null is the default again', async () => {
    const account = await world.account();
    await expect(threshold(account, '0.00')).rejects.toMatchObject({ code: 'INVALID' });
    const set = (value: string) =>
      world.gql(
        account.token,
        `mutation { setLowBalanceThreshold(input: { idempotencyKey: "${freshKey()}", threshold: ${value} }) { wallet { lowBalanceThreshold { amount } } userErrors { code } } }`,
      );
    expect((await set('{ amount: "7.50", currency: "USD" }')).data.setLowBalanceThreshold).toEqual({
      wallet: { lowBalanceThreshold: { amount: '7.50' } },
      userErrors: [],
    });
    expect((await set('null')).data.setLowBalanceThreshold.wallet).toEqual({ lowBalanceThreshold: null });
    expect((await set('{ amount: "1", currency: "EUR" }')).data.setLowBalanceThreshold.userErrors).toEqual([
      { code: 'INVALID' },
    ]);
  });
});
