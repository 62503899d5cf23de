import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { setDefaultPaymentMethod } from '../../src/payment/setDefaultPaymentMethod.js';
import { transact } from '../../src/platform/db.js';
import { uuidOf } from '../../src/platform/ids.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  eventsOf,
  freshKey,
  paymentsOf,
  runDue,
  testCatalogYaml,
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
    await expect(addPaymentMethod(away, account.actor, input)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
    });
  expect(await addPaymentMethod(world.deps, account.actor, input)).toMatchObject({ replayed: true });
  expect(await methodsOf(account)).toMatchObject([{ status: 'ACTIVE', isDefault: true }]);
});

test('an account has at most 50 cards, however many come at once', async () => {
  const account = await world.account();
  await addCard(world, account);
  await world.rows(sql`
    insert into payment_method (account_id, id, status, type, is_default, created_at)
    select ${account.id}::uuid, gen_random_uuid(), 'ACTIVE', 'card', false, now() from generate_series(1, 47)`);
  const { done, codes } = await allAtOnce(5, () => addPaymentMethod(world.deps, account.actor, card()));
  expect(done).toHaveLength(2);
  expect(codes).toEqual(['LIMIT_EXCEEDED', 'LIMIT_EXCEEDED', 'LIMIT_EXCEEDED']);
});

test('a card removed while it is made the default does not become it', async () => {
  const account = await world.account();
  await addCard(world, account);
  const second = await addCard(world, account, 'tok_amex', false);
  const id = uuidOf('paymentMethod', second)!;
  let making: Promise<unknown> | undefined;
  await transact(world.deps, account.id, async (tx) => {
    await rowsOf(tx.em, sql`select 1 from payment_method where id = ${id} for update`);
    making = setDefaultPaymentMethod(world.deps, account.actor, { paymentMethodId: second }).catch((e: unknown) => e);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await rowsOf(tx.em, sql`update payment_method set status = 'REMOVED' where id = ${id}`);
  });
  expect(await making).toMatchObject({ code: 'NOT_FOUND' });
  expect((await methodsOf(account)).map((m) => m.isDefault)).toEqual([true, false]);
});

test('making a card the default answers a repeat the same after the card was removed', async () => {
  const account = await world.account();
  const first = await addCard(world, account);
  const second = await addCard(world, account, 'tok_amex', false);
  const input = { idempotencyKey: freshKey(), paymentMethodId: second };
  const { paymentMethodId } = await setDefaultPaymentMethod(world.deps, account.actor, input);
  await setDefaultPaymentMethod(world.deps, account.actor, { paymentMethodId: first });
  await removePaymentMethod(world.deps, account.actor, { paymentMethodId: second });
  expect(await setDefaultPaymentMethod(world.deps, account.actor, input)).toEqual({ paymentMethodId, replayed: true });
});

test('a 3-D Secure challenge nobody answers ends after a day, and its card can go; a later confirmation is credited', async () => {
  const account = await world.account();
  await addCard(world, account);
  const challenging = await addCard(world, account, 'tok_threeDSecure2Required', false);
  await topUp(world.deps, account.actor, { amount: usd('5.00'), paymentMethodId: challenging });
  const [payment] = await paymentsOf(world, account);
  const remove = () => removePaymentMethod(world.deps, account.actor, { paymentMethodId: challenging });
  world.clock.advanceMs(23 * 3_600_000);
  await runDue(world);
  await expect(remove()).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  world.clock.advanceMs(2 * 3_600_000);
  await runDue(world);
  expect(await paymentsOf(world, account)).toMatchObject([
    { status: 'FAILED', declineCode: 'authentication_required' },
  ]);
  await remove();
  await world.deps.payments.authenticate({ chargeRef: payment!.chargeRef!, success: true });
  world.clock.advanceMs(26 * 3_600_000);
  await runDue(world);
  expect(await paymentsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED', reconcileAt: null }]);
  expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
  expect(await balanceOf(world, account.id, 'wallet')).toBe(500n);
  await expectSoundLedger(world, account.id);
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
