import {
  ProviderMisuse,
  ProviderStillWorking,
  ProviderUnavailable,
  type RefundInput,
} from '../../src/integrations/payments/provider.js';
import { settleCreditNoteRefund } from '../../src/invoice/refundCreditNote.js';
import { settlersOf } from '../../src/invoice/settlers.js';
import type { Refund } from '../../src/payment/payment.entity.js';
import { reconcileRefunds } from '../../src/payment/reconcileRefunds.js';
import { sendRefund } from '../../src/payment/refund.js';
import type { Deps } from '../../src/platform/deps.js';
import { sql } from '../../src/platform/sql.js';
import {
  eventsOf,
  invoicesOf,
  paymentsOf,
  runDue,
  subscribed,
  testCatalogYaml,
  unreachable,
} from '../support/billing.js';
import { credit, creditNotesOf, refundsOf } from '../support/creditNotes.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

/** A refund of 30.00 while the provider behaves as `payments` says. */
async function refunded(payments: Partial<Deps['payments']>): Promise<TestAccount> {
  const { account } = await subscribed(world);
  const [invoice] = await invoicesOf(world, account);
  const deps = { ...world.deps, payments: { ...world.deps.payments, ...payments } };
  await credit(world, account, { invoice: invoice!, kind: 'REFUND', deps });
  return account;
}
const moved = async ({ id }: TestAccount) => (await world.deps.payments.moved({ accountId: id })).amountMinor;
const events = async (account: TestAccount) =>
  (await eventsOf(world, account, 'refund.succeeded', 'refund.failed')).map(({ type }) => type);

test('a refund whose answer was lost is found by the sweep, and settled once', async () => {
  const account = await refunded(unreachable(world.deps.payments, 'after'));
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'PENDING' }]);
  expect(await balanceOf(world, account.id, 'refunds_payable')).toBe(3000n);
  expect(await events(account)).toEqual([]);
  world.clock.advanceMs(31_000);
  await Promise.all([runDue(world), runDue(world)]);
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED', reconcileAt: null }]);
  expect(await paymentsOf(world, account)).toMatchObject([{ status: 'REFUNDED' }]);
  expect(await events(account)).toEqual(['refund.succeeded']);
  expect(await moved(account)).toBe(0n);
  await expectSoundLedger(world, account.id);
});

test('a refund that never arrived is not sent again: the money stays as credit', async () => {
  const account = await refunded(unreachable(world.deps.payments, 'before'));
  await expectSoundLedger(world, account.id).catch(() => undefined);
  world.clock.advanceMs(29_000);
  await runDue(world);
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'PENDING' }]);
  world.clock.advanceMs(2_000);
  await runDue(world);
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'FAILED', failureCode: 'provider_unreachable' }]);
  expect(await creditNotesOf(world, account)).toMatchObject([{ refundedMinor: 0n, balanceMinor: 3000n }]);
  expect(await events(account)).toEqual(['refund.failed']);
  expect(await moved(account)).toBe(3000n);
  await expectSoundLedger(world, account.id);
});

/** A refund still on its way when the sweep gave it up. `arrive` lets it through. */
async function givenUp(): Promise<{ account: TestAccount; arrive: () => Promise<unknown> }> {
  let underWay: RefundInput | undefined;
  const account = await refunded({
    refund: async (input) => {
      underWay = input;
      throw new ProviderUnavailable('timeout');
    },
  });
  world.clock.advanceMs(31_000);
  await runDue(world);
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'FAILED' }]);
  return { account, arrive: () => world.deps.payments.refund(underWay!) };
}

test('money that went back after the sweep gave up takes its credit along', async () => {
  const { account, arrive } = await givenUp();
  await arrive();
  world.clock.advanceMs(60_000);
  await Promise.all([runDue(world), runDue(world)]);
  expect(await refundsOf(world, account)).toMatchObject([
    { status: 'SUCCEEDED', failureCode: null, reconcileAt: null },
  ]);
  expect(await creditNotesOf(world, account)).toMatchObject([{ refundedMinor: 3000n, balanceMinor: 0n }]);
  expect(await events(account)).toEqual(['refund.failed', 'refund.succeeded']);
  await expectSoundLedger(world, account.id);
});

test('when the credit was spent by then, we have given it away', async () => {
  const { account, arrive } = await givenUp();
  await world.rows(sql`update refund set reconcile_at = '2024-05-02T00:00:00Z' where account_id = ${account.id}`);
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'PAID', creditAppliedMinor: 3000n });
  await arrive();
  world.clock.set('2024-05-02T00:01:00Z');
  await runDue(world);
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED' }]);
  expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-3000n);
  await expectSoundLedger(world, account.id);
});

test('a refund that was given up is asked for ever more rarely, for a week', async () => {
  const { account } = await givenUp();
  const waits: number[] = [];
  for (;;) {
    const [refund] = await refundsOf(world, account);
    if (!refund!.reconcileAt) break;
    waits.push(refund!.reconcileAt.getTime() - world.clock.now().getTime());
    world.clock.set(new Date(refund!.reconcileAt.getTime() + 1));
    await runDue(world);
  }
  expect(waits.length).toBeGreaterThan(10);
  expect(waits.length).toBeLessThan(20);
  expect(await events(account)).toEqual(['refund.failed']);
});

test('a refund that the bank takes days for is asked for now and then, and ends when it has ended', async () => {
  const slow = async () => {
    throw new ProviderStillWorking('pending');
  };
  const account = await refunded({ refund: slow });
  const deps = { ...world.deps, payments: { ...world.deps.payments, findRefund: slow } };
  const waits: number[] = [];
  for (let asked = 0; asked < 12; asked++) {
    const { reconcileAt } = (await refundsOf(world, account))[0]!;
    world.clock.set(new Date(reconcileAt!.getTime() + 1));
    await reconcileRefunds(deps, settlersOf(deps).refund);
    const [{ status, reconcileAt: next }] = (await refundsOf(world, account)) as [Refund];
    expect(status).toBe('PENDING');
    waits.push(Math.floor((next!.getTime() - reconcileAt!.getTime()) / 1000));
  }
  expect(waits[0]).toBe(30);
  expect(Math.max(...waits)).toBe(300);
  const [refund] = await refundsOf(world, account);
  const outcome = { status: 'succeeded', refundRef: 're_1' } as const;
  await settleCreditNoteRefund(world.deps, { accountId: account.id, refundId: refund!.id, outcome });
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED', reconcileAt: null }]);
});

test('a refund the provider refuses as malformed fails, and is credit', async () => {
  const log = { ...world.deps.log, error: () => {} } as unknown as Deps['log'];
  const { account } = await subscribed(world);
  const [invoice] = await invoicesOf(world, account);
  const refuses = async () => {
    throw new ProviderMisuse('No such charge');
  };
  const deps = { ...world.deps, log, payments: { ...world.deps.payments, refund: refuses } };
  await credit(world, account, { invoice: invoice!, kind: 'REFUND', deps });
  expect(await refundsOf(world, account)).toMatchObject([{ status: 'FAILED', failureCode: 'invalid_request' }]);
  await expectSoundLedger(world, account.id);
});

test('a refund is not sent once it has ended, nor when it is too late to end before the sweep', async () => {
  const account = await refunded(unreachable(world.deps.payments, 'before'));
  const [refund] = await refundsOf(world, account);
  const ids = { accountId: account.id, refundId: refund!.id };
  world.clock.advanceMs(11_000);
  expect(await sendRefund(world.deps, ids)).toBeUndefined();
  await settleCreditNoteRefund(world.deps, {
    ...ids,
    outcome: { status: 'failed', refundRef: 're_1', failureCode: 'declined' },
  });
  world.clock.set(refund!.createdAt);
  expect(await sendRefund(world.deps, ids)).toBeUndefined();
  expect(await moved(account)).toBe(3000n);
  await expectSoundLedger(world, account.id);
});

test('many answers at once are settled once', async () => {
  const account = await refunded(unreachable(world.deps.payments, 'after'));
  const [refund] = await refundsOf(world, account);
  const outcome = (await world.deps.payments.findRefund({ key: refund!.providerKey, refundId: refund!.id }))!;
  const input = { accountId: account.id, refundId: refund!.id, outcome };
  await Promise.all(Array.from({ length: 8 }, () => settleCreditNoteRefund(world.deps, input)));
  expect(await events(account)).toEqual(['refund.succeeded']);
  await expectSoundLedger(world, account.id);
});
