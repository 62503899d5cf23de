import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { setDefaultPaymentMethod } from '../../src/payment/setDefaultPaymentMethod.js';
import { topUp } from '../../src/wallet/topUp.js';
import { addCard, allAtOnce, eventsOf, freshKey, testCatalogYaml, usd } from '../support/billing.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const methodsOf = ({ id }: TestAccount) =>
  world.deps.db.orm.em.fork().find(PaymentMethod, { accountId: id }, { orderBy: { id: 'asc' } });
const card = (token = 'tok_visa') => ({ idempotencyKey: freshKey(), type: 'card', token, makeDefault: false });

test('the first card becomes the default, a later one only when asked; there is always one', async () => {
  const account = await world.account();
  await addCard(world, account, 'tok_visa', false);
  const second = await addCard(world, account, 'tok_mastercard', false);
  expect((await methodsOf(account)).map((m) => m.isDefault)).toEqual([true, false]);
  await setDefaultPaymentMethod(world.deps, account.actor, { idempotencyKey: freshKey(), paymentMethodId: second });
  expect((await methodsOf(account)).map((m) => m.isDefault)).toEqual([false, true]);
  await addCard(world, account, 'tok_amex', true);
  expect((await methodsOf(account)).map((m) => m.isDefault)).toEqual([false, false, true]);
  expect((await eventsOf(world, account)).map((e) => [e.type, e.data.is_default])).toEqual([
    ['payment_method.added', true],
    ['payment_method.added', false],
    ['payment_method.updated', true],
    ['payment_method.added', true],
  ]);
});

test('20 cards at once leave one default; 20 repeats of one are one card', async () => {
  const account = await world.account();
  await allAtOnce(20, () => addPaymentMethod(world.deps, account.actor, { ...card(), makeDefault: true }));
  expect((await methodsOf(account)).filter((m) => m.isDefault)).toHaveLength(1);
  const other = await world.account();
  const input = card();
  const { done } = await allAtOnce(20, () => addPaymentMethod(world.deps, other.actor, input));
  expect(new Set(done.map((d) => d.paymentMethodId)).size).toBe(1);
  expect(await methodsOf(other)).toHaveLength(1);
  expect(await eventsOf(world, other, 'payment_method.added')).toHaveLength(1);
});

test('a repeat answers the same, another input with the key is a mismatch, a bad token INVALID', async () => {
  const account = await world.account();
  const input = card();
  const first = await addPaymentMethod(world.deps, account.actor, input);
  expect(await addPaymentMethod(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
  await expect(addPaymentMethod(world.deps, account.actor, { ...input, token: 'tok_amex' })).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISMATCH',
  });
  const secret = await addPaymentMethod(world.deps, account.actor, card('4242 4242 4242 4242')).catch((e: Error) => e);
  expect(secret).toMatchObject({ code: 'INVALID', message: expect.not.stringContaining('4242') });
  await expect(addPaymentMethod(world.deps, account.actor, { ...card(), type: 'sepa' })).rejects.toMatchObject({
    code: 'INVALID',
  });
});

test('a process that dies while attaching: the repeat finishes it, with one card', async () => {
  const account = await world.account();
  const input = card();
  const dies = {
    ...world.deps,
    payments: {
      ...world.deps.payments,
      attachPaymentMethod: async (of: Parameters<typeof world.deps.payments.attachPaymentMethod>[0]) => {
        await world.deps.payments.attachPaymentMethod(of);
        throw new Error('killed');
      },
    },
  };
  await expect(addPaymentMethod(dies, account.actor, input)).rejects.toThrow('killed');
  expect(await addPaymentMethod(world.deps, account.actor, input)).toMatchObject({ replayed: true });
  expect(await methodsOf(account)).toMatchObject([{ status: 'ACTIVE', isDefault: true }]);
});

test('a provider that cannot be reached for the first card is an answer, not a fault', async () => {
  const account = await world.account();
  const away = {
    ...world.deps,
    payments: {
      ...world.deps.payments,
      createCustomer: async () => {
        throw new ProviderUnavailable('away');
      },
    },
  };
  const input = card();
  for (let i = 0; i < 2; i++)
    await expect(addPaymentMethod(away, account.actor, input)).rejects.toMatchObject({ name: 'BillingError' });
  expect(await addPaymentMethod(world.deps, account.actor, card())).toMatchObject({ replayed: false });
});

test('removing: not the default beside others, not while it is charged, not a stranger’s; a removed card pays nothing', async () => {
  const account = await world.account();
  const first = await addCard(world, account);
  const second = await addCard(world, account, 'tok_threeDSecure2Required', false);
  const remove = (paymentMethodId: string, actor = account.actor, idempotencyKey = freshKey()) =>
    removePaymentMethod(world.deps, actor, { idempotencyKey, paymentMethodId });
  await expect(remove(first)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  await expect(remove(second, (await world.account()).actor)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await topUp(world.deps, account.actor, { amount: usd('5.00'), paymentMethodId: second });
  await expect(remove(second)).rejects.toMatchObject({ code: 'ILLEGAL_STATE', retryable: true });
  const third = await addCard(world, account, 'tok_amex', false);
  const key = freshKey();
  expect(await remove(third, account.actor, key)).toMatchObject({ replayed: false });
  expect(await remove(third, account.actor, key)).toMatchObject({ replayed: true });
  await expect(topUp(world.deps, account.actor, { amount: usd('5.00'), paymentMethodId: third })).rejects.toMatchObject(
    { code: 'NOT_FOUND' },
  );
});
