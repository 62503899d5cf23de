import { settleInvoicePayment } from '../../src/invoice/collectInvoice.js';
import { payInvoice } from '../../src/invoice/payInvoice.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { publicId } from '../../src/platform/ids.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { entitlements } from '../../src/subscription/entitlements.js';
import { advanceSubscription } from '../../src/subscription/renew.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  allAtOnce,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  paymentsOf,
  runDue,
  subscribed,
  subscriptionOf,
  subscriptionsOf,
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

const granted = (account: TestAccount) =>
  entitlements(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });
const pay = (account: TestAccount, invoiceId: string) =>
  payInvoice(world.deps, account.actor, { idempotencyKey: freshKey(), invoiceId: publicId('invoice', invoiceId) });

const subscribeMutation = `mutation ($input: SubscribeInput!) {
  subscribe(input: $input) {
    replayed subscription { id status version plan { code } currentPeriod { start end } }
    invoice { number status total { minorUnits } amountDue { minorUnits } }
    userErrors { code declineCode field retryable clientSecret }
  }
}`;

describe('subscribe', () => {
  test('a paid subscription is active, charged once, and told about', async () => {
    const { account, answer } = await subscribed(world);
    expect(answer).toMatchObject({ replayed: false, error: undefined });
    const subscription = await subscriptionOf(world, account);
    expect(subscription).toMatchObject({ status: 'ACTIVE', version: 1 });
    expect(subscription.dueAt).toEqual(subscription.periodEnd);
    expect(subscription.periodEnd.toISOString().slice(0, 10)).toBe('2024-05-01');
    expect(await invoicesOf(world, account)).toMatchObject([
      { status: 'PAID', totalMinor: 3000n, amountDueMinor: 0n, amountPaidMinor: 3000n },
    ]);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
    const events = await eventsOf(world, account);
    expect(events.map((e) => e.type)).toEqual([
      'payment_method.added',
      'invoice.finalized',
      'invoice.paid',
      'subscription.created',
    ]);
    expect(events.map((e) => e.seq)).toEqual([1n, 2n, 3n, 4n]);
    expect((await granted(account)).map((e) => e.feature)).toContain('users');
    await expectSoundLedger(world, account.id);
  });

  test('declined: INCOMPLETE, grants nothing, and paying within 24 h activates', async () => {
    const { account, answer } = await subscribed(world, { token: 'tok_chargeDeclinedInsufficientFunds' });
    expect(answer.error).toMatchObject({ code: 'PAYMENT_DECLINED', details: { declineCode: 'insufficient_funds' } });
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'INCOMPLETE' });
    expect(await granted(account)).toEqual([]);
    const refused = await recordUsage(world.deps, account.actor, [{ transactionId: 'a', metric: 'requests' }]);
    expect(refused.results).toMatchObject([{ status: 'REJECTED', error: { code: 'ILLEGAL_STATE' } }]);
    expect(await eventsOf(world, account, 'subscription.created')).toEqual([]);

    world.clock.advanceMs(dayMs - 60_000);
    await runDue(world);
    expect(await pay(account, answer.invoiceId!)).toMatchObject({ error: { code: 'PAYMENT_DECLINED' } });
    await addCard(world, account, 'tok_visa');
    expect(await pay(account, answer.invoiceId!)).toMatchObject({ error: undefined });
    await world.settled();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    expect(await eventsOf(world, account, 'subscription.created')).toHaveLength(1);
    expect((await granted(account)).length).toBeGreaterThan(0);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
    await expectSoundLedger(world, account.id);
  });

  test('unpaid for 24 h: canceled, the invoice void and no longer payable', async () => {
    const { account, answer } = await subscribed(world, { token: 'tok_chargeDeclined' });
    world.clock.advanceMs(dayMs + 1000);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED', dueAt: null });
    expect(await invoicesOf(world, account)).toMatchObject([{ status: 'VOID', amountDueMinor: 0n }]);
    await addCard(world, account);
    await expect(pay(account, answer.invoiceId!)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
    await expectSoundLedger(world, account.id);
  });

  test('3-D Secure: waits for the holder, then the reconcile sweep activates', async () => {
    const { account, answer } = await subscribed(world, { token: 'tok_threeDSecure2Required' });
    expect(answer.error).toMatchObject({ code: 'REQUIRES_ACTION', details: { clientSecret: expect.any(String) } });
    expect(await granted(account)).toEqual([]);
    const [payment] = await paymentsOf(world, account);
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'INCOMPLETE' });
    await world.deps.payments.authenticate({ chargeRef: payment!.chargeRef!, success: true });
    world.clock.advanceMs(31_000);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    await expectSoundLedger(world, account.id);
  });

  test('3-D Secure confirmed only after the 24 h: the money is kept in the wallet', async () => {
    const { account } = await subscribed(world, { token: 'tok_threeDSecure2Required' });
    const [payment] = await paymentsOf(world, account);
    world.clock.advanceMs(dayMs + 1000);
    await runDue(world);
    await world.deps.payments.authenticate({ chargeRef: payment!.chargeRef!, success: true });
    world.clock.advanceMs(dayMs + 60_000);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(3000n);
    await expectSoundLedger(world, account.id);
  });

  test('without a payment method, or with one of another account, or a removed one: nothing happens', async () => {
    const account = await world.account();
    const stranger = await world.account();
    const foreign = await addCard(world, stranger);
    const input = { idempotencyKey: freshKey(), planCode: 'basic' };
    await expect(subscribe(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
    await expect(subscribe(world.deps, account.actor, { ...input, paymentMethodId: foreign })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(
      subscribe(world.deps, account.actor, { ...input, paymentMethodId: 'pm_nonsense' }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const removed = await addCard(world, account);
    await removePaymentMethod(world.deps, account.actor, { idempotencyKey: freshKey(), paymentMethodId: removed });
    await expect(subscribe(world.deps, account.actor, { ...input, paymentMethodId: removed })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await subscriptionsOf(world, account)).toEqual([]);
    expect(await invoicesOf(world, account)).toEqual([]);
    // The failures left the key free.
    await addCard(world, account);
    expect(await subscribe(world.deps, account.actor, input)).toMatchObject({ replayed: false, error: undefined });
    expect((await invoicesOf(world, account))[0]!.number).toMatch(/-000001$/);
  });

  test('an unknown plan is NOT_FOUND, one in another currency INVALID', async () => {
    const account = await world.account();
    await addCard(world, account);
    await expect(subscribe(world.deps, account.actor, { planCode: 'gold' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('basic'),
    });
    await expect(subscribe(world.deps, account.actor, { planCode: 'euro' })).rejects.toMatchObject({ code: 'INVALID' });
  });

  test('a second subscribe is a CONFLICT while the first is live', async () => {
    const { account } = await subscribed(world);
    await expect(
      subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'premium' }),
    ).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    expect(await subscriptionsOf(world, account)).toHaveLength(1);
    await expectSoundLedger(world, account.id);
  });

  test('subscribing again replaces an INCOMPLETE one, whose wallet part comes back', async () => {
    const account = await world.account();
    await topUp(world.deps, account.actor, { amount: usd('10.00'), paymentMethodId: 'pm_card_visa' });
    const broken = await addCard(world, account, 'tok_chargeDeclined');
    await subscribe(world.deps, account.actor, { planCode: 'basic' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    await removePaymentMethod(world.deps, account.actor, { paymentMethodId: broken }).catch(() => {});
    const good = await addCard(world, account, 'tok_mastercard');
    await subscribe(world.deps, account.actor, { planCode: 'premium', paymentMethodId: good });
    const subscriptions = await subscriptionsOf(world, account);
    expect(subscriptions.map((s) => s.status)).toEqual(['CANCELED', 'ACTIVE']);
    expect((await invoicesOf(world, account)).map((i) => [i.status, i.walletAppliedMinor, i.amountPaidMinor])).toEqual([
      ['VOID', 1000n, 0n],
      ['PAID', 1000n, 5000n],
    ]);
    await expectSoundLedger(world, account.id);
  });

  test('the wallet covers all: no card is charged, none is needed', async () => {
    const account = await world.account();
    await topUp(world.deps, account.actor, { amount: usd('50.00'), paymentMethodId: 'pm_card_visa' });
    const answer = await subscribe(world.deps, account.actor, { planCode: 'basic' });
    expect(answer.error).toBeUndefined();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    expect(await invoicesOf(world, account)).toMatchObject([
      { status: 'PAID', walletAppliedMinor: 3000n, amountPaidMinor: 0n },
    ]);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 5000n });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(2000n);
    await expectSoundLedger(world, account.id);
  });

  test('the wallet covers a part: the card pays exactly the rest', async () => {
    const account = await world.account();
    await topUp(world.deps, account.actor, { amount: usd('12.34'), paymentMethodId: 'pm_card_visa' });
    await subscribe(world.deps, account.actor, { planCode: 'basic' });
    expect(await invoicesOf(world, account)).toMatchObject([
      { status: 'PAID', walletAppliedMinor: 1234n, amountPaidMinor: 1766n },
    ]);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    await expectSoundLedger(world, account.id);
  });

  test('a free plan needs no card and is active at once', async () => {
    const account = await world.account();
    expect((await subscribe(world.deps, account.actor, { planCode: 'free' })).error).toBeUndefined();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    expect(await invoicesOf(world, account)).toMatchObject([{ status: 'PAID', totalMinor: 0n }]);
    await expectSoundLedger(world, account.id);
  });

  test('31 January renews on the 29th of February, then on the 31st of March', async () => {
    world.clock.set('2024-01-31T10:00:00Z');
    const { account } = await subscribed(world, { timeZone: 'Europe/Berlin' });
    for (const end of ['2024-02-29', '2024-03-31', '2024-04-30']) {
      const { periodEnd } = await subscriptionOf(world, account);
      expect(periodEnd.toISOString().slice(0, 10)).toBe(end);
      world.clock.set(new Date(periodEnd.getTime() + 1));
      await runDue(world);
    }
    await expectSoundLedger(world, account.id);
  });
});

describe('idempotency of subscribe', () => {
  test('a repeat gives the same answer, another input with the key is a mismatch', async () => {
    const account = await world.account();
    await addCard(world, account);
    const input = { idempotencyKey: freshKey(), planCode: 'basic' };
    const first = await subscribe(world.deps, account.actor, input);
    expect(await subscribe(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
    await expect(subscribe(world.deps, account.actor, { ...input, planCode: 'premium' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    });
    await expect(subscribe(world.deps, account.actor, { ...input, idempotencyKey: '' })).rejects.toMatchObject({
      code: 'INVALID',
    });
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
  });

  test('a repeat of a declined one declines again without charging again', async () => {
    const account = await world.account();
    await addCard(world, account, 'tok_chargeDeclined');
    const input = { idempotencyKey: freshKey(), planCode: 'basic' };
    const first = await subscribe(world.deps, account.actor, input);
    const again = await subscribe(world.deps, account.actor, input);
    expect(again).toMatchObject({
      subscriptionId: first.subscriptionId,
      replayed: true,
      error: { code: 'PAYMENT_DECLINED' },
    });
    expect(await paymentsOf(world, account)).toHaveLength(1);
  });

  test('20 at once with one key: one subscription, one charge', async () => {
    const account = await world.account();
    await addCard(world, account);
    const input = { idempotencyKey: freshKey(), planCode: 'basic' };
    const { done, codes } = await allAtOnce(20, () => subscribe(world.deps, account.actor, input));
    expect(new Set(codes)).toEqual(codes.length > 0 ? new Set(['IDEMPOTENCY_IN_FLIGHT']) : new Set());
    expect(new Set(done.map((d) => d.subscriptionId)).size).toBe(1);
    expect(done.filter((d) => !d.replayed)).toHaveLength(1);
    expect(await subscriptionsOf(world, account)).toHaveLength(1);
    expect(await invoicesOf(world, account)).toHaveLength(1);
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
    await expectSoundLedger(world, account.id);
  });

  test('20 at once with 20 keys: one subscription, one charge, 19 conflicts', async () => {
    const account = await world.account();
    await addCard(world, account);
    const { done, codes } = await allAtOnce(20, () =>
      subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' }),
    );
    expect(done).toHaveLength(1);
    expect(codes).toEqual(Array.from({ length: 19 }, () => 'CONFLICT'));
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
    await expectSoundLedger(world, account.id);
  });
});

describe('when the provider gives no answer', () => {
  test.each([
    ['before', 'INCOMPLETE', 0],
    ['after', 'ACTIVE', 1],
  ] as const)('lost %s charging: settled once by the sweep, then %s', async (when, status, charges) => {
    const account = await world.account();
    await addCard(world, account);
    const input = { idempotencyKey: freshKey(), planCode: 'basic' };
    const lost = { ...world.deps, payments: unreachable(world.deps.payments, when) };
    expect((await subscribe(lost, account.actor, input)).error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    await expect(subscribe(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'IDEMPOTENCY_IN_FLIGHT' });
    await expect(subscribe(world.deps, account.actor, { ...input, idempotencyKey: freshKey() })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    world.clock.advanceMs(29_000);
    await runDue(world);
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'PENDING' }]);
    world.clock.advanceMs(2_000);
    await runDue(world);
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({ status });
    expect((await world.deps.payments.moved({ accountId: account.id })).charges).toBe(charges);
    const replay = await subscribe(world.deps, account.actor, input);
    expect([replay.replayed, replay.error?.code]).toEqual([true, when === 'after' ? undefined : 'PAYMENT_DECLINED']);
    await expectSoundLedger(world, account.id);
  });
});

describe('through GraphQL', () => {
  test('subscribe answers with subscription and invoice, a repeat with replayed', async () => {
    const account = await world.account();
    const input = { idempotencyKey: 'k', planCode: 'basic', paymentMethodId: 'pm_card_visa' };
    const { data, errors } = await world.gql(account.token, subscribeMutation, { input });
    expect(errors).toBeUndefined();
    expect(data.subscribe).toMatchObject({
      replayed: false,
      userErrors: [],
      subscription: { status: 'ACTIVE', plan: { code: 'basic' } },
      invoice: { status: 'PAID', total: { minorUnits: '3000' }, amountDue: { minorUnits: '0' } },
    });
    const again = await world.gql(account.token, subscribeMutation, { input });
    expect(again.data.subscribe).toEqual({ ...data.subscribe, replayed: true });
    expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 1, amountMinor: 3000n });
  });

  test('a declined subscribe shows the decline and the INCOMPLETE subscription', async () => {
    const account = await world.account();
    await addCard(world, account, 'tok_chargeDeclinedLostCard');
    const { data } = await world.gql(account.token, subscribeMutation, {
      input: { idempotencyKey: 'k', planCode: 'basic' },
    });
    expect(data.subscribe).toMatchObject({
      subscription: { status: 'INCOMPLETE' },
      invoice: { status: 'OPEN', amountDue: { minorUnits: '3000' } },
      userErrors: [{ code: 'PAYMENT_DECLINED', declineCode: 'lost_card' }],
    });
  });

  test('a token without the scope is refused and changes nothing', async () => {
    const account = await world.account({ scopes: ['*:read'] });
    const { data, errors } = await world.gql(account.token, subscribeMutation, {
      input: { idempotencyKey: 'k', planCode: 'free' },
    });
    expect(JSON.stringify({ data, errors })).toContain('FORBIDDEN');
    expect(await subscriptionsOf(world, account)).toEqual([]);
  });
});

describe('a first invoice that is paid before anything reacts to it', () => {
  /** INCOMPLETE, the invoice PAID. */
  async function paidUnnoticed() {
    const { account, answer, id } = await subscribed(world, { token: 'tok_threeDSecure2Required' });
    const [payment] = await paymentsOf(world, account);
    const chargeRef = payment!.chargeRef!;
    await world.deps.payments.authenticate({ chargeRef, success: true });
    await settleInvoicePayment(
      { ...world.deps, db: { ...world.deps.db, onCommit: () => {} } },
      { accountId: account.id, paymentId: payment!.id, outcome: { status: 'succeeded', chargeRef } },
    );
    return { account, answer, id };
  }

  test('subscribing again is a CONFLICT, and the paid one is active', async () => {
    const { account } = await paidUnnoticed();
    await expect(subscribe(world.deps, account.actor, { planCode: 'premium' })).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    expect((await subscriptionsOf(world, account)).map((s) => s.status)).toEqual(['ACTIVE']);
    expect((await invoicesOf(world, account)).map((i) => i.status)).toEqual(['PAID']);
    expect((await granted(account)).length).toBeGreaterThan(0);
    await expectSoundLedger(world, account.id);
  });

  test('cancelling it at once credits the unused days', async () => {
    const { account, id } = await paidUnnoticed();
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(2900n);
    await expectSoundLedger(world, account.id);
  });

  test("cancelling it at the period's end leaves what was paid for", async () => {
    const { account, id } = await paidUnnoticed();
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'PERIOD_END' });
    const subscription = await subscriptionOf(world, account);
    expect(subscription).toMatchObject({ status: 'ACTIVE', cancelAt: subscription.periodEnd });
    expect((await granted(account)).length).toBeGreaterThan(0);
  });

  test('after the 24 h it is activated, not abandoned', async () => {
    const { account, answer } = await paidUnnoticed();
    world.clock.advanceMs(dayMs + 1_000);
    await advanceSubscription(world.deps, { accountId: account.id, subscriptionId: answer.subscriptionId });
    const subscription = await subscriptionOf(world, account);
    expect(subscription).toMatchObject({ status: 'ACTIVE', dueAt: subscription.periodEnd });
    await world.settled();
    expect(await eventsOf(world, account, 'subscription.created')).toHaveLength(1);
    await expectSoundLedger(world, account.id);
  });
});

describe('a card named when subscribing', () => {
  const cardsOf = (account: TestAccount) => world.deps.db.orm.em.fork().count(PaymentMethod, { accountId: account.id });

  test('is not attached by what is refused', async () => {
    const account = await world.account();
    const named = (planCode: string) =>
      subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode, paymentMethodId: 'pm_card_visa' });
    await expect(named('gold')).rejects.toMatchObject({ code: 'NOT_FOUND', details: { field: ['planCode'] } });
    await expect(named('euro')).rejects.toMatchObject({ code: 'INVALID' });
    expect(await cardsOf(account)).toBe(0);
    await named('basic');
    await expect(named('premium')).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await cardsOf(account)).toBe(1);
  });

  test('may be removed: a repeat still answers the same', async () => {
    const account = await world.account();
    const paymentMethodId = await addCard(world, account);
    const input = { idempotencyKey: freshKey(), planCode: 'basic', paymentMethodId };
    const first = await subscribe(world.deps, account.actor, input);
    await addCard(world, account);
    await removePaymentMethod(world.deps, account.actor, { idempotencyKey: freshKey(), paymentMethodId });
    expect(await subscribe(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
  });
});
