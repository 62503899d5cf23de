import { createInvoice } from '../../src/invoice/createInvoice.js';
import { systemActor } from '../../src/platform/actor.js';
import type { Deps } from '../../src/platform/deps.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { refundTopUp, settleTopUpRefund } from '../../src/wallet/refundTopUp.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  eventsOf,
  freshKey,
  operatorOf,
  paymentsOf,
  runDue,
  testCatalogYaml,
  unreachable,
  usd,
} from '../support/billing.js';
import { refundsOf } from '../support/creditNotes.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { fundsOf, give, hold, leftOf } from '../support/wallet.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

/** An account with a top-up of 20.00; `paymentId` is the public one. */
async function bought(token = 'tok_visa'): Promise<{ account: TestAccount; paymentId: string }> {
  const account = await world.account();
  await addCard(world, account, token);
  const { paymentId } = await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('20.00') });
  return { account, paymentId: publicId('payment', paymentId) };
}
const refund = (
  { account, paymentId }: { account: TestAccount; paymentId: string },
  amount?: string,
  { deps = world.deps, key = freshKey() }: { deps?: Deps; key?: string } = {},
) =>
  refundTopUp(deps, account.actor, {
    idempotencyKey: key,
    paymentId,
    amount: amount === undefined ? undefined : usd(amount),
  });
async function spend(account: TestAccount, amount: string): Promise<void> {
  const items = [{ description: 'Work', amount: usd(amount) }];
  await createInvoice(world.deps, account.actor, { idempotencyKey: freshKey(), items });
}
const moved = async ({ id }: TestAccount) => (await world.deps.payments.moved({ accountId: id })).amountMinor;
const told = async (account: TestAccount) =>
  (await eventsOf(world, account, 'refund.succeeded', 'refund.failed', 'wallet.credited', 'wallet.updated')).map(
    ({ type }) => type,
  );

test('goes back to the card, in steps, until nothing is left of it', async () => {
  const of = await bought();
  await refund(of, '5.00');
  expect(await fundsOf(world, of.account)).toBe('15.00 0.00 15.00');
  expect(await paymentsOf(world, of.account)).toMatchObject([{ status: 'SUCCEEDED' }]);
  await refund(of);
  expect(await fundsOf(world, of.account)).toBe('0.00 0.00 0.00');
  expect(await paymentsOf(world, of.account)).toMatchObject([{ status: 'REFUNDED' }]);
  expect(await refundsOf(world, of.account)).toMatchObject([
    { status: 'SUCCEEDED', purpose: 'top_up', amountMinor: 500n },
    { status: 'SUCCEEDED', amountMinor: 1500n },
  ]);
  expect(await moved(of.account)).toBe(0n);
  expect(await told(of.account)).toEqual(['wallet.updated', 'refund.succeeded', 'wallet.updated', 'refund.succeeded']);
  const [first] = await eventsOf(world, of.account, 'refund.succeeded');
  expect(first!.data).toMatchObject({ payment_id: of.paymentId, amount: 5, status: 'succeeded' });
  expect(first!.data).not.toHaveProperty('credit_note_id');
  await expectSoundLedger(world, of.account.id);
});

test('is at most what is left of that very top-up, and not what is held of it', async () => {
  const of = await bought();
  const { account } = of;
  await spend(account, '4.00');
  await hold(world, account, '6.00');
  await give(world, account, '50.00');
  await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('30.00') });
  await expect(refund(of, '10.01')).rejects.toMatchObject({
    code: 'INSUFFICIENT_BALANCE',
    message: 'Of this top-up 10.00 USD is left and not held, found 10.01 to refund',
  });
  await refund(of, '10.00');
  expect(await leftOf(world, account)).toEqual(['purchased 600', 'granted 5000', 'purchased 3000']);
  await expect(refund(of)).rejects.toMatchObject({ code: 'INSUFFICIENT_BALANCE' });
  await expectSoundLedger(world, account.id);
});

test.each<[string, (of: { account: TestAccount; paymentId: string }) => Promise<unknown>, string]>([
  ['nothing', (of) => refund(of, '0.00'), 'INVALID'],
  ['less than nothing', (of) => refund(of, '-1.00'), 'INVALID'],
  ['a payment there is not', ({ account }) => refund({ account, paymentId: 'pay_x' }), 'NOT_FOUND'],
  ["another account's", async ({ paymentId }) => refund({ account: await world.account(), paymentId }), 'NOT_FOUND'],
  [
    "an account's own wish",
    ({ account, paymentId }) => refundTopUp(world.deps, { ...systemActor(account.id), operator: false }, { paymentId }),
    'FORBIDDEN',
  ],
])('refuses %s', async (_name, ask, code) => {
  const of = await bought();
  await expect(ask(of)).rejects.toMatchObject({ code });
  expect(await refundsOf(world, of.account)).toEqual([]);
  expect(await fundsOf(world, of.account)).toBe('20.00 0.00 20.00');
});

test('a card that takes nothing back: the credit is in its grant again, and the refund says why', async () => {
  const of = await bought('tok_refundFail');
  await refund(of, '5.00');
  expect(await refundsOf(world, of.account)).toMatchObject([{ status: 'FAILED' }]);
  expect(await leftOf(world, of.account)).toEqual(['purchased 2000']);
  expect(await told(of.account)).toEqual(['wallet.updated', 'wallet.credited', 'refund.failed']);
  expect(await balanceOf(world, of.account.id, 'refunds_payable')).toBe(0n);
  await expectSoundLedger(world, of.account.id);
});

test('20 at once with one key are one', async () => {
  const of = await bought();
  const key = freshKey();
  const { done, codes } = await allAtOnce(20, () => refund(of, '5.00', { key }));
  expect(codes).toEqual([]);
  expect(done.filter(({ replayed }) => !replayed)).toHaveLength(1);
  await expect(refund(of, '5.01', { key })).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' });
  expect(await moved(of.account)).toBe(1500n);
  await expectSoundLedger(world, of.account.id);
});

test.each([
  'before',
  'after',
] as const)('the answer is lost %s the money went: settled once by the sweep', async (when) => {
  const of = await bought();
  await refund(of, '5.00', { deps: { ...world.deps, payments: unreachable(world.deps.payments, when) } });
  expect(await refundsOf(world, of.account)).toMatchObject([{ status: 'PENDING' }]);
  expect(await balanceOf(world, of.account.id, 'refunds_payable')).toBe(500n);
  expect(await fundsOf(world, of.account)).toBe('15.00 0.00 15.00');
  world.clock.advanceMs(31_000);
  await Promise.all([runDue(world), runDue(world)]);
  expect(await fundsOf(world, of.account)).toBe(when === 'after' ? '15.00 0.00 15.00' : '20.00 0.00 20.00');
  expect(await moved(of.account)).toBe(when === 'after' ? 1500n : 2000n);
  await expectSoundLedger(world, of.account.id);
});

describe('that had failed and went through after all', () => {
  /** A refund of 20.00 that was given up; `arrive` tells that the money has gone. */
  const givenUp = async () => {
    const of = await bought();
    const { refundId } = await refund(of, undefined, {
      deps: { ...world.deps, payments: unreachable(world.deps.payments, 'after') },
    });
    const { id: accountId } = of.account;
    const settle = (outcome: Parameters<typeof settleTopUpRefund>[1]['outcome']) =>
      settleTopUpRefund(world.deps, { accountId, refundId, outcome });
    await settle({ status: 'failed', refundRef: '', failureCode: 'provider_unreachable' });
    expect(await fundsOf(world, of.account)).toBe('20.00 0.00 20.00');
    return { ...of, settle };
  };

  test('takes the credit along', async () => {
    const { account, settle } = await givenUp();
    await settle({ status: 'succeeded', refundRef: 're_1' });
    expect(await fundsOf(world, account)).toBe('0.00 0.00 0.00');
    await expectSoundLedger(world, account.id);
  });

  test('takes what is left of it; what was spent or is held we have given away; and back again when the bank returns it', async () => {
    const { account, settle } = await givenUp();
    await spend(account, '4.00');
    await hold(world, account, '6.00');
    await settle({ status: 'succeeded', refundRef: 're_1' });
    expect(await fundsOf(world, account)).toBe('6.00 6.00 0.00');
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-1000n);
    await expectSoundLedger(world, account.id);
    await settle({ status: 'failed', refundRef: 're_1', failureCode: 'account_closed' });
    expect(await fundsOf(world, account)).toBe('16.00 6.00 10.00');
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(0n);
    const [{ broken }] = (await world.rows(
      sql<{
        broken: string;
      }>`select count(*)::text as broken from ledger_account where account_id = ${account.id} and kind = 'wallet' and balance_minor <> 1600`,
    )) as [{ broken: string }];
    expect(broken).toBe('0');
  });
});

test('through GraphQL, once for each key', async () => {
  const of = await bought();
  const ask = await operatorOf(world, of.account);
  const mutation = `mutation { refundTopUp(input: { idempotencyKey: "r", paymentId: "${of.paymentId}", amount: { amount: "5.00", currency: "USD" } }) {
    refund { status amount { amount } payment { id } } wallet { balance { amount } } replayed userErrors { code } } }`;
  const answer = {
    refund: { status: 'SUCCEEDED', amount: { amount: '5.00' }, payment: { id: of.paymentId } },
    wallet: { balance: { amount: '15.00' } },
    userErrors: [],
  };
  expect((await ask(mutation)).refundTopUp).toEqual({ ...answer, replayed: false });
  expect((await ask(mutation)).refundTopUp).toEqual({ ...answer, replayed: true });
});
