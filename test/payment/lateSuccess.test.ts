import type { ChargeInput } from '../../src/integrations/payments/provider.js';
import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { callProvider } from '../../src/payment/callProvider.js';
import { chargePayment } from '../../src/payment/charge.js';
import { sql } from '../../src/platform/sql.js';
import { topUp } from '../../src/wallet/topUp.js';
import { addCard, eventsOf, freshKey, paymentsOf, runDue, testCatalogYaml, usd } from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const wallet = (account: TestAccount) => balanceOf(world, account.id, 'wallet');

/** A top-up whose charge has not reached the provider by the time the sweep gives it up. `arrive` lets it through. */
async function givenUp(): Promise<{ account: TestAccount; arrive: () => Promise<unknown> }> {
  const account = await world.account();
  await addCard(world, account);
  let underWay: ChargeInput | undefined;
  const slow = {
    ...world.deps,
    payments: {
      ...world.deps.payments,
      charge: async (input: ChargeInput) => {
        underWay = input;
        throw new ProviderUnavailable('timeout');
      },
    },
  };
  await topUp(slow, account.actor, { idempotencyKey: freshKey(), amount: usd('50.00') });
  world.clock.advanceMs(31_000);
  await runDue(world);
  expect(await paymentsOf(world, account)).toMatchObject([{ status: 'FAILED', declineCode: 'provider_unreachable' }]);
  return { account, arrive: () => world.deps.payments.charge(underWay!) };
}

test('money that moves after the sweep gave up is credited, once, and the failure is told once', async () => {
  const { account, arrive } = await givenUp();
  await arrive();
  world.clock.advanceMs(60_000);
  await Promise.all([runDue(world), runDue(world)]);
  expect(await paymentsOf(world, account)).toMatchObject([
    { status: 'SUCCEEDED', declineCode: null, failureMessage: null, reconcileAt: null },
  ]);
  expect(await wallet(account)).toBe(5000n);
  expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
  expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(1);
  await expectSoundLedger(world, account.id);
});

test('a payment that was given up is asked for ever more rarely, for a week, and fails once', async () => {
  const { account } = await givenUp();
  const waits: number[] = [];
  for (;;) {
    const [payment] = await paymentsOf(world, account);
    if (!payment!.reconcileAt) break;
    waits.push(payment!.reconcileAt.getTime() - world.clock.now().getTime());
    world.clock.set(new Date(payment!.reconcileAt.getTime() + 1));
    await runDue(world);
  }
  expect(waits.length).toBeGreaterThan(10);
  expect(waits.length).toBeLessThan(20);
  expect(waits).toEqual(waits.toSorted((a, b) => a - b));
  expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
});

test('a charge is not sent once its payment has ended, nor when it is too late to end before the sweep', async () => {
  const { account } = await givenUp();
  const [failed] = await paymentsOf(world, account);
  const ids = { accountId: account.id, paymentId: failed!.id };
  world.clock.set(failed!.createdAt);
  expect(await chargePayment(world.deps, ids)).toBeUndefined();
  await world.rows(
    sql`update payment set status = 'PENDING', reconcile_at = created_at + interval '30 seconds' where id = ${failed!.id}`,
  );
  world.clock.advanceMs(31_000);
  expect(await chargePayment(world.deps, ids)).toBeUndefined();
  expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(0);
});

test('a call to the provider that hangs counts as no answer', async () => {
  await expect(callProvider(new Promise(() => {}), 20)).rejects.toBeInstanceOf(ProviderUnavailable);
  expect(await callProvider(Promise.resolve(7), 20)).toBe(7);
});
