import { LockMode } from '@mikro-orm/postgresql';
import { type PaymentProvider, ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { collectDueInvoices, retryOpenInvoices } from '../../src/invoice/collectInvoice.js';
import { Invoice } from '../../src/invoice/invoice.entity.js';
import { intendInvoicePayment } from '../../src/invoice/issueInvoice.js';
import { payInvoice } from '../../src/invoice/payInvoice.js';
import { activePaymentMethods, defaultPaymentMethod } from '../../src/payment/paymentMethods.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { setDefaultPaymentMethod } from '../../src/payment/setDefaultPaymentMethod.js';
import { transact } from '../../src/platform/db.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import {
  addCard,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  paymentsOf,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
  unreachable,
} from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const renewalAt = Date.parse('2024-05-01T00:01:00Z');
/** A renewal whose collection with `token` was tried for the first time. */
async function renewedWith(token: string): Promise<TestAccount> {
  world.clock.set('2024-04-01T00:00:00Z');
  const { account } = await subscribed(world);
  await addCard(world, account, token);
  world.clock.set(new Date(renewalAt));
  await runDue(world);
  return account;
}
const afterDays = async (days: number): Promise<void> => {
  world.clock.set(new Date(renewalAt + days * dayMs + 60_000));
  await runDue(world);
};
const renewalOf = async (account: TestAccount) => (await invoicesOf(world, account))[1]!;
const pay = async (account: TestAccount, idempotencyKey = freshKey()) =>
  payInvoice(world.deps, account.actor, {
    idempotencyKey,
    invoiceId: publicId('invoice', (await renewalOf(account)).id),
  });

test('declined: tried again after 1, 3, 5 and 7 days, then UNCOLLECTIBLE and the subscription is canceled', async () => {
  const account = await renewedWith('tok_chargeDeclinedInsufficientFunds');
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
  let attempts = 1;
  for (const days of [1, 3, 5, 7]) {
    const { nextPaymentAttemptAt, firstAttemptAt } = await renewalOf(account);
    expect(nextPaymentAttemptAt!.getTime() - firstAttemptAt!.getTime()).toBe(days * dayMs);
    await afterDays(days - 0.5);
    expect((await renewalOf(account)).failedAttempts).toBe(attempts);
    await afterDays(days);
    expect((await renewalOf(account)).failedAttempts).toBe(++attempts);
  }
  expect(await renewalOf(account)).toMatchObject({ status: 'UNCOLLECTIBLE', nextPaymentAttemptAt: null });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  expect(await eventsOf(world, account, 'invoice.failed')).toHaveLength(5);
  for (const type of ['invoice.uncollectible', 'subscription.past_due', 'subscription.canceled']) {
    expect(await eventsOf(world, account, type)).toHaveLength(1);
  }
  await afterDays(40);
  expect((await renewalOf(account)).failedAttempts).toBe(5);
  expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(1);
  await expectSoundLedger(world, account.id);
});

/** A renewal of an account without retries, after `change`. */
async function renewedWithoutRetries(change: (account: TestAccount) => Promise<unknown>): Promise<TestAccount> {
  const { account } = await subscribed(world);
  await world.rows(sql`update account set retry_after_days = '{}' where id = ${account.id}`);
  await change(account);
  world.clock.set(new Date(renewalAt));
  await runDue(world);
  return account;
}

test.each([
  ['declined', (account: TestAccount) => addCard(world, account, 'tok_chargeDeclined')],
  ['a hard decline', (account: TestAccount) => addCard(world, account, 'tok_chargeDeclinedLostCard')],
  [
    'no card',
    async (account: TestAccount) => {
      const card = (await defaultPaymentMethod(world.deps.db.orm.em.fork(), account.id))!;
      await removePaymentMethod(world.deps, account.actor, { paymentMethodId: publicId('paymentMethod', card.id) });
    },
  ],
])('an account without retries gives up at the first failure, told once: %s', async (_, change) => {
  const account = await renewedWithoutRetries(change);
  expect(await renewalOf(account)).toMatchObject({
    status: 'UNCOLLECTIBLE',
    failedAttempts: 1,
    nextPaymentAttemptAt: null,
  });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  for (const type of ['invoice.failed', 'invoice.uncollectible', 'subscription.canceled'])
    expect(await eventsOf(world, account, type)).toHaveLength(1);
  await expectSoundLedger(world, account.id);
});

test('after a standstill the retries that were due before the next renewal go first, and there is none', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  await afterDays(60); // a last retry of 8 May, and a renewal of 1 June
  expect(await invoicesOf(world, account)).toHaveLength(2);
  const { status, canceledAt, periodEnd } = await subscriptionOf(world, account);
  expect([status, canceledAt]).toEqual(['CANCELED', periodEnd]);
  await expectSoundLedger(world, account.id);
});

test('when dunning gives up, a later renewal that is not paid yet is owed for the days used', async () => {
  const { account } = await subscribed(world);
  await world.rows(sql`update account set retry_after_days = '{35}' where id = ${account.id}`);
  await addCard(world, account, 'tok_chargeDeclined');
  world.clock.set(new Date(renewalAt));
  await runDue(world);
  world.clock.set('2024-06-01T00:01:00Z');
  await runDue(world);
  await afterDays(35); // the fifth day of June, of 30
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  const [, may, june] = await invoicesOf(world, account);
  expect(may).toMatchObject({ status: 'UNCOLLECTIBLE', amountDueMinor: 3000n });
  expect(june).toMatchObject({ status: 'OPEN', creditNotedMinor: 2500n, amountDueMinor: 500n });
  await expectSoundLedger(world, account.id);
});

test('an account has a schedule of its own', async () => {
  const { account } = await subscribed(world);
  await world.rows(sql`update account set retry_after_days = '{2,10}' where id = ${account.id}`);
  await addCard(world, account, 'tok_chargeDeclined');
  world.clock.set(new Date(renewalAt));
  await runDue(world);
  for (const days of [2, 10]) {
    const { nextPaymentAttemptAt, firstAttemptAt } = await renewalOf(account);
    expect(nextPaymentAttemptAt!.getTime() - firstAttemptAt!.getTime()).toBe(days * dayMs);
    await afterDays(days);
  }
  expect(await renewalOf(account)).toMatchObject({ status: 'UNCOLLECTIBLE', failedAttempts: 3 });
});

test('a new default card pays at once, and PAST_DUE is over', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  await addCard(world, account, 'tok_mastercard');
  await runDue(world);
  expect(await renewalOf(account)).toMatchObject({ status: 'PAID', amountDueMinor: 0n });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(2);
  await expectSoundLedger(world, account.id);
});

test('a hard decline waits for another card, and is tried a last time when the schedule ends', async () => {
  const account = await renewedWith('tok_chargeDeclinedLostCard');
  await afterDays(6);
  expect((await renewalOf(account)).failedAttempts).toBe(1);
  await afterDays(7);
  expect(await renewalOf(account)).toMatchObject({ status: 'UNCOLLECTIBLE', failedAttempts: 2 });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  await expectSoundLedger(world, account.id);
});

test('paying by hand with a bad card uses none of the schedule up', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  for (let i = 0; i < 6; i++) expect((await pay(account)).error).toMatchObject({ code: 'PAYMENT_DECLINED' });
  await world.settled();
  const { status, nextPaymentAttemptAt, firstAttemptAt } = await renewalOf(account);
  expect(status).toBe('OPEN');
  expect(nextPaymentAttemptAt!.getTime() - firstAttemptAt!.getTime()).toBe(dayMs);
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
});

test('a card that asks for 3-D Secure: past due, and another card pays; a late confirmation is kept as credit', async () => {
  const account = await renewedWith('tok_threeDSecure2Required');
  expect(await eventsOf(world, account, 'invoice.payment_action_required')).toHaveLength(1);
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
  await addCard(world, account);
  await runDue(world);
  expect(await renewalOf(account)).toMatchObject({ status: 'PAID' });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  const waiting = (await paymentsOf(world, account)).find((p) => p.status === 'REQUIRES_ACTION')!;
  await world.deps.payments.authenticate({ chargeRef: waiting.chargeRef!, success: true });
  world.clock.advanceMs(61_000);
  await runDue(world);
  expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(1);
  await expectSoundLedger(world, account.id);
});

test('a renewal that asks for 3-D Secure is paid when the holder confirms, and given up when nobody does', async () => {
  const [confirms, ignores] = [
    await renewedWith('tok_threeDSecure2Required'),
    await renewedWith('tok_threeDSecure2Required'),
  ];
  const waiting = (await paymentsOf(world, confirms)).find((p) => p.status === 'REQUIRES_ACTION')!;
  await world.deps.payments.authenticate({ chargeRef: waiting.chargeRef!, success: true });
  await afterDays(1);
  expect(await renewalOf(confirms)).toMatchObject({ status: 'PAID' });
  expect(await subscriptionOf(world, confirms)).toMatchObject({ status: 'ACTIVE' });
  await afterDays(7.1);
  expect(await renewalOf(ignores)).toMatchObject({ status: 'UNCOLLECTIBLE' });
  expect(await subscriptionOf(world, ignores)).toMatchObject({ status: 'CANCELED' });
  const told = async (account: TestAccount) => [
    (await eventsOf(world, account, 'invoice.failed')).length,
    (await eventsOf(world, account, 'invoice.paid')).length,
    (await eventsOf(world, account, 'invoice.payment_action_required')).length,
  ];
  // Each outcome once: the challenge counts as failed when it begins, and not again when it ends or is given up.
  expect([await told(confirms), await told(ignores)]).toEqual([
    [1, 2, 1],
    [2, 1, 2],
  ]);
  for (const { id } of [confirms, ignores]) await expectSoundLedger(world, id);
});

test('money that comes after collecting was given up pays the invoice', async () => {
  const account = await renewedWith('tok_threeDSecure2Required');
  const waiting = (await paymentsOf(world, account)).at(-1)!;
  await afterDays(7);
  expect(await renewalOf(account)).toMatchObject({ status: 'UNCOLLECTIBLE' });
  const late = (await paymentsOf(world, account)).at(-1)!;
  expect(late.id).not.toBe(waiting.id);
  await world.deps.payments.authenticate({ chargeRef: late.chargeRef!, success: true });
  await afterDays(7.1);
  expect(await renewalOf(account)).toMatchObject({ status: 'PAID', amountDueMinor: 0n, nextPaymentAttemptAt: null });
  expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(0);
  expect((await eventsOf(world, account, 'invoice.paid')).at(-1)!.data.status).toBe('paid');
  await expectSoundLedger(world, account.id);
});

test('a charge that arrives after the sweep gave it up pays the open invoice, which was told as failed once for it', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  await addCard(world, account, 'tok_visa', false);
  const { id } = await renewalOf(account);
  const visa = (await activePaymentMethods(world.deps.db.orm.em.fork(), account.id)).find((m) => !m.isDefault)!;
  await setDefaultPaymentMethod(world.deps, account.actor, { paymentMethodId: publicId('paymentMethod', visa.id) });
  await world.settled();
  let arrive: (() => Promise<unknown>) | undefined;
  const charge: PaymentProvider['charge'] = async (input) => {
    arrive = () => world.deps.payments.charge(input);
    throw new ProviderUnavailable('timeout');
  };
  const slow = { ...world.deps, payments: { ...world.deps.payments, charge } };
  await payInvoice(slow, account.actor, { invoiceId: publicId('invoice', id) });
  world.clock.advanceMs(31_000);
  await world.sweeps.runOnce();
  expect(await renewalOf(account)).toMatchObject({ status: 'OPEN', failedAttempts: 2 });
  await arrive!();
  world.clock.advanceMs(61_000);
  await runDue(world);
  expect(await renewalOf(account)).toMatchObject({ status: 'PAID', amountDueMinor: 0n });
  expect(await eventsOf(world, account, 'invoice.failed')).toHaveLength(2);
  expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(0);
  await expectSoundLedger(world, account.id);
});

test('an invoice with a charge under way is not collected a second time, by the schedule nor for a new card', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  const { id } = await renewalOf(account);
  await addCard(world, account, 'tok_visa', false);
  const lost = { ...world.deps, payments: unreachable(world.deps.payments, 'after') };
  await payInvoice(lost, account.actor, { invoiceId: publicId('invoice', id) });
  const before = (await paymentsOf(world, account)).length;
  await world.rows(sql`update invoice set next_payment_attempt_at = now() - interval '10 years' where id = ${id}`);
  await collectDueInvoices(world.deps);
  expect(await paymentsOf(world, account)).toHaveLength(before);
  expect((await renewalOf(account)).nextPaymentAttemptAt).toBeNull();
  await retryOpenInvoices(world.deps, account.id);
  expect((await renewalOf(account)).nextPaymentAttemptAt).toBeNull();
});

test('a new card that arrives while an attempt begins waits for its outcome', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  const { id } = await renewalOf(account);
  let retrying: Promise<void> | undefined;
  await transact(world.deps, account.id, async (tx) => {
    const invoice = await tx.em.findOneOrFail(Invoice, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    const method = await defaultPaymentMethod(tx.em, account.id);
    intendInvoicePayment(tx, invoice, method!);
    await tx.em.flush();
    retrying = retryOpenInvoices(world.deps, account.id);
    await new Promise((resolve) => setTimeout(resolve, 300));
  });
  await retrying;
  expect((await renewalOf(account)).nextPaymentAttemptAt).toBeNull();
});

test('payInvoice: a repeat answers the same, a paid or foreign invoice is refused', async () => {
  const account = await renewedWith('tok_chargeDeclined');
  await addCard(world, account, 'tok_visa', false);
  const key = freshKey();
  const first = await pay(account, key);
  expect(first.error).toMatchObject({ code: 'PAYMENT_DECLINED' });
  expect(await pay(account, key)).toMatchObject({ replayed: true, error: { code: 'PAYMENT_DECLINED' } });
  const own = (await invoicesOf(world, account))[0]!;
  const invoiceId = publicId('invoice', own.id);
  const input = { idempotencyKey: key, invoiceId };
  await expect(payInvoice(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' });
  await expect(payInvoice(world.deps, account.actor, { ...input, idempotencyKey: freshKey() })).rejects.toMatchObject({
    code: 'ILLEGAL_STATE',
  });
  await expect(payInvoice(world.deps, (await world.account()).actor, input)).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await addCard(world, account);
  const { data } = await world.gql(
    account.token,
    'mutation ($id: ID!) { payInvoice(input: { idempotencyKey: "g", invoiceId: $id }) { invoice { status amountDue { minorUnits } } userErrors { code } } }',
    { id: publicId('invoice', (await renewalOf(account)).id) },
  );
  expect(data.payInvoice).toEqual({ invoice: { status: 'PAID', amountDue: { minorUnits: '0' } }, userErrors: [] });
  await expectSoundLedger(world, account.id);
});
