import type { PaymentProvider } from '../../src/integrations/payments/provider.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { publicId } from '../../src/platform/ids.js';
import { addCard, eventsOf, freshKey, runDue, testCatalogYaml } from '../support/billing.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-10T00:00:00Z'));

/** Adds a card that expires in this month; returns its public id. */
async function addCardUntil(account: TestAccount, expMonth: number, expYear: number): Promise<string> {
  const payments: PaymentProvider = {
    ...world.deps.payments,
    attachPaymentMethod: async (input) => {
      const attached = await world.deps.payments.attachPaymentMethod(input);
      return attached.status === 'attached' ? { ...attached, card: { ...attached.card, expMonth, expYear } } : attached;
    },
  };
  const input = { idempotencyKey: freshKey(), type: 'card', token: 'tok_visa', makeDefault: true };
  const { paymentMethodId } = await addPaymentMethod({ ...world.deps, payments }, account.actor, input);
  return publicId('paymentMethod', paymentMethodId);
}
const announced = async (account: TestAccount): Promise<unknown[]> =>
  (await eventsOf(world, account, 'payment_method.expiring')).map(({ data }) => data.id);

test('a card is announced 30 days before its last day ends where the account lives, once', async () => {
  const account = await world.account({ timeZone: 'America/New_York' });
  const id = await addCardUntil(account, 6, 2024);
  // Good until 1 July 00:00 in New York; 30 days before is 1 June 00:00 = 04:00Z.
  world.clock.set('2024-06-01T03:59:00Z');
  await runDue(world);
  expect(await announced(account)).toEqual([]);
  world.clock.set('2024-06-01T04:00:00Z');
  await runDue(world);
  expect(await announced(account)).toEqual([id]);
  const [event] = await eventsOf(world, account, 'payment_method.expiring');
  expect(event!.data).toMatchObject({ exp_month: 6, exp_year: 2024, last4: '4242', is_default: true });
  for (const at of ['2024-06-02T00:00:00Z', '2024-08-01T00:00:00Z']) {
    world.clock.set(at);
    await runDue(world);
  }
  expect(await announced(account)).toHaveLength(1);
});

test('a card that comes with less than 30 days left is announced at once', async () => {
  const account = await world.account();
  const id = await addCardUntil(account, 4, 2024);
  await runDue(world);
  expect(await announced(account)).toEqual([id]);
});

test('a card that was removed is not announced; the one that took its place is', async () => {
  const account = await world.account();
  const old = await addCardUntil(account, 6, 2024);
  const next = await addCardUntil(account, 6, 2024);
  await removePaymentMethod(world.deps, account.actor, { paymentMethodId: old });
  await addCard(world, account, 'tok_mastercard');
  world.clock.set('2024-06-15T00:00:00Z');
  await runDue(world);
  expect(await announced(account)).toEqual([next]);
});
