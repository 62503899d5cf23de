import { settlersOf } from '../../src/invoice/settlers.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { applyProviderEvent, type Settlers } from '../../src/payment/applyProviderEvent.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { newId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { topUp } from '../../src/wallet/topUp.js';
import { eventsOf, freshKey, invoicesOf, paymentsOf, usd } from '../support/billing.js';
import { credit, creditNotesOf, refundsOf } from '../support/creditNotes.js';
import { proveEventOrder } from '../support/eventOrders.js';
import { type StripeWorld, startStripeWorld } from '../support/stripeWorld.js';
import type { TestAccount } from '../support/world.js';

let world: StripeWorld;
beforeAll(async () => {
  world = await startStripeWorld();
});
afterAll(() => world.stop());
const calm = { duplicates: 0, shuffle: false, delayMs: 0, dropped: 0, paused: false, random: Math.random };
beforeEach(async () => {
  world.standin.hooks.set(calm);
  await world.quiet();
});

const topUpBy = (account: TestAccount, amount = '5.00') =>
  topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd(amount) });
const lastPayment = async (account: TestAccount) => (await paymentsOf(world, account)).at(-1)!;
const methodsOf = ({ id }: TestAccount) =>
  world.deps.db.orm.em.fork().find(PaymentMethod, { accountId: id }, { orderBy: { id: 'asc' } });
const lastEvent = (type: string) => world.standin.books.events.findLast((event) => event.type === type);

describe('the door', () => {
  test('takes what Stripe signed, and refuses another secret, an old signature, no signature and another body', async () => {
    const event = {
      id: 'evt_x',
      object: 'event',
      type: 'customer.created',
      created: 1,
      data: { object: { id: 'cus_x' } },
    };
    const post = (init: RequestInit) => fetch(`${world.url}/webhooks/stripe`, { method: 'POST', ...init });
    expect(await world.standin.hooks.post(event)).toBe(200);
    expect(await world.standin.hooks.post(event, { secret: 'whsec_other' })).toBe(400);
    expect(await world.standin.hooks.post(event, { at: Date.now() - 301_000 })).toBe(400);
    expect((await post({ body: JSON.stringify(event) })).status).toBe(400);
    expect((await post({ headers: { 'stripe-signature': 'nonsense' } })).status).toBe(400);
    expect((await post({ body: 'x'.repeat(1_000_001) })).status).toBe(413);
    expect((await fetch(`${world.url}/webhooks/stripe`)).status).toBe(404);
  });

  test('types nobody knows, and objects of other systems on the same key, are taken and change nothing', async () => {
    const before = await world.rows(sql`select * from provider_event`);
    for (const type of ['invoice.paid', 'payment_intent.succeeded', 'charge.dispute.created', 'refund.created']) {
      const event = {
        id: `evt_${type}`,
        object: 'event',
        type,
        created: 1,
        data: { object: { id: 'nothing_of_ours' } },
      };
      expect(await world.standin.hooks.post(event)).toBe(200);
    }
    expect(await world.rows(sql`select * from provider_event`)).toEqual(before);
  });

  test('an event sent again is taken and changes nothing; its id is kept with its effect', async () => {
    const account = await world.withCard('tok_authenticationRequired');
    await topUpBy(account);
    world.standin.books.authenticate((await lastPayment(account)).chargeRef!, true);
    await world.standin.hooks.drained();
    const event = lastEvent('payment_intent.succeeded');
    const kept = await world.rows(
      sql<{ account_id: string }>`select account_id from provider_event where event_ref = ${event.id}`,
    );
    expect(kept).toEqual([{ account_id: account.id }]);
    const before = await eventsOf(world, account);
    expect(await Promise.all([1, 2, 3].map(() => world.standin.hooks.post(event)))).toEqual([200, 200, 200]);
    expect(await eventsOf(world, account)).toEqual(before);
  });

  test('ten deliveries of one event at once have one effect', async () => {
    const account = await world.withCard('tok_authenticationRequired');
    await topUpBy(account);
    await world.standin.hooks.drained();
    world.standin.hooks.set({ dropped: 1 });
    world.standin.books.authenticate((await lastPayment(account)).chargeRef!, true);
    const event = lastEvent('payment_intent.succeeded');
    const answers = await Promise.all(Array.from({ length: 10 }, () => world.standin.hooks.post(event)));
    expect(new Set(answers)).toEqual(new Set([200]));
    expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(1);
    await world.expectSound(account);
  });

  test('what cannot be taken now is 503 and sent again: Stripe silent, or the database away', async () => {
    const account = await world.withCard('tok_authenticationRequired');
    await topUpBy(account);
    await world.standin.hooks.drained();
    world.standin.hooks.set({ dropped: 1 });
    world.standin.books.authenticate((await lastPayment(account)).chargeRef!, true);
    const event = lastEvent('payment_intent.succeeded');

    world.standin.fail({ kind: 'hang_before', path: /payment_intents/ });
    const startedAt = performance.now();
    expect(await world.standin.hooks.post(event)).toBe(503);
    expect(performance.now() - startedAt).toBeLessThan(2_000);

    const { em } = world.deps.db.orm;
    const fork = em.fork;
    em.fork = () => {
      throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    };
    try {
      expect(await world.standin.hooks.post(event)).toBe(503);
    } finally {
      em.fork = fork;
    }
    expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(0);
    expect(await world.standin.hooks.post(event)).toBe(200);
    expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(1);
  });
});

describe('cards', () => {
  test('a card renewed by its issuer is the same method with new digits', async () => {
    const account = await world.withCard();
    const [method] = await methodsOf(account);
    world.standin.books.renewCard(method!.methodRef!, { exp_year: 2040, last4: '1111' });
    await world.standin.hooks.drained();
    expect(await methodsOf(account)).toMatchObject([{ id: method!.id, last4: '1111', expYear: 2040 }]);
    expect(await eventsOf(world, account, 'payment_method.updated')).toHaveLength(1);
  });

  test('a card detached at Stripe is gone here, and another becomes the default', async () => {
    const account = await world.withCard();
    await addPaymentMethod(world.deps, account.actor, { type: 'card', token: 'tok_amex', makeDefault: false });
    const [first, second] = await methodsOf(account);
    world.standin.books.detach(first!.methodRef!);
    await world.standin.hooks.drained();
    expect(await methodsOf(account)).toMatchObject([
      { id: first!.id, status: 'REMOVED', isDefault: false },
      { id: second!.id, status: 'ACTIVE', isDefault: true },
    ]);
  });
});

describe('disputes', () => {
  const disputesOf = ({ id }: TestAccount) =>
    world.rows(sql`select status, amount_minor, reason from dispute where account_id = ${id}`);

  test.each(['won', 'lost'] as const)('one is opened and then %s; each is told once', async (end) => {
    const account = await world.withCard();
    await topUpBy(account);
    const dispute = world.standin.books.openDispute((await lastPayment(account)).chargeRef!);
    await world.quiet();
    expect(await disputesOf(account)).toEqual([{ status: 'OPEN', amount_minor: '500', reason: 'fraudulent' }]);
    world.standin.books.closeDispute(dispute.id, end);
    await world.quiet();
    expect(await disputesOf(account)).toMatchObject([{ status: end.toUpperCase() }]);
    const told = await eventsOf(world, account, 'dispute.opened', 'dispute.closed');
    expect(told.map(({ type, data }) => [type, data.status, data.amount])).toEqual([
      ['dispute.opened', 'open', 5],
      ['dispute.closed', end, 5],
    ]);
  });

  test('one that was never sent to us is read from the list within two minutes', async () => {
    const account = await world.withCard();
    await topUpBy(account);
    await world.quiet();
    world.standin.hooks.set({ dropped: 1 });
    world.standin.books.openDispute((await lastPayment(account)).chargeRef!);
    world.clock.advanceMs(61_000);
    world.standin.fail({ kind: 'drop_before', path: /disputes/, times: 2 });
    await world.quiet();
    expect(await disputesOf(account)).toEqual([]);
    world.clock.advanceMs(61_000);
    await world.quiet();
    expect(await disputesOf(account)).toMatchObject([{ status: 'OPEN' }]);
  });
});

describe('refunds', () => {
  test('the event of a refund settles it, as it is at Stripe by then', async () => {
    const account = await world.withCard();
    await topUpBy(account);
    await world.quiet();
    world.standin.hooks.set({ dropped: 1 });
    const payment = await lastPayment(account);
    const refundId = newId();
    await world.rows(sql`
      insert into refund (account_id, id, purpose, payment_id, subject_id, amount_minor, currency, status, provider_key, created_at)
      values (${account.id}, ${refundId}, 'credit_note', ${payment.id}, ${newId()}, 200, 'USD', 'PENDING', 'k', now())`);
    const of = { accountId: account.id, refundId, chargeRef: payment.chargeRef!, amount: usd('2.00') };
    const { refundRef } = await world.deps.payments.refund({ key: `refund-${refundId}`, ...of });
    const created = lastEvent('refund.created');
    world.standin.books.failRefund(refundRef);

    const settled: object[] = [];
    const refund = async (what: object) => void settled.push(what);
    const settle: Settlers = { ...settlersOf(world.deps), refund: { credit_note: refund, top_up: refund } };
    const event = { ref: created.id, second: created.created, type: created.type, objectRef: refundRef };
    await applyProviderEvent(world.deps, () => settle, { event });
    const outcome = { status: 'failed', refundRef, failureCode: 'expired_or_canceled_card' };
    expect(settled).toEqual([{ accountId: account.id, refundId, outcome }]);

    world.standin.books.refunds.get(refundRef)!.status = 'pending';
    await applyProviderEvent(world.deps, () => settle, { event: { ...event, ref: 'evt_early' } });
    expect(await world.standin.hooks.post({ ...created, id: 'evt_early' })).toBe(200);
    expect(settled).toHaveLength(1);
  });

  test('money that the bank sends back days later is credit of the note', async () => {
    const account = await world.withCard();
    await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
    const [invoice] = await invoicesOf(world, account);
    await credit(world, account, { invoice: invoice!, kind: 'REFUND' });
    await world.quiet();
    const [refund] = await refundsOf(world, account);
    expect(refund).toMatchObject({ status: 'SUCCEEDED' });
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'REFUNDED' }]);

    world.standin.hooks.set({ duplicates: 2 });
    world.standin.books.failRefund(refund!.refundRef!);
    await world.quiet();
    expect(await refundsOf(world, account)).toMatchObject([
      { status: 'FAILED', failureCode: 'expired_or_canceled_card', reconcileAt: null },
    ]);
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED' }]);
    expect(await creditNotesOf(world, account)).toMatchObject([{ refundedMinor: 0n, balanceMinor: 3000n }]);
    expect(await eventsOf(world, account, 'refund.failed')).toHaveLength(1);
    await world.expectSound(account);
  });

  test("ids of other systems in our places are nobody's", async () => {
    const account = await world.withCard();
    const id = 'order-17';
    const outcome = { status: 'succeeded', chargeRef: 'pi_x', refundRef: 're_x' } as const;
    const dispute = { disputeRef: 'dp_x', amount: usd('1.00'), reason: 'fraudulent', status: 'OPEN' } as const;
    for (const [i, news] of (
      [
        { about: 'charge', accountId: account.id, paymentId: id, outcome },
        { about: 'refund', accountId: account.id, refundId: id, outcome },
        { about: 'dispute', accountId: account.id, paymentId: id, dispute },
      ] as const
    ).entries()) {
      const events = { ...world.deps.payments.events!, read: async () => news as never };
      const deps = { ...world.deps, payments: { ...world.deps.payments, events } };
      const event = { ref: `evt_foreign_${i}`, second: 1, type: 'x', objectRef: 'x' };
      await applyProviderEvent(deps, settlersOf, { event });
    }
    expect(await paymentsOf(world, account)).toEqual([]);
  });
});

test('a list of more than one page is read to its end', async () => {
  const account = await world.withCard();
  await topUpBy(account);
  await world.quiet();
  world.standin.hooks.set({ dropped: 1 });
  world.standin.books.openDispute((await lastPayment(account)).chargeRef!);
  const { methodRef } = (await methodsOf(account))[0]!;
  for (let i = 0; i < 210; i++) world.standin.books.renewCard(methodRef!, { exp_year: 2040, last4: `${1000 + i}` });
  world.clock.advanceMs(61_000);
  await world.quiet();
  expect(await eventsOf(world, account, 'dispute.opened')).toHaveLength(1);
  expect(await methodsOf(account)).toMatchObject([{ last4: '1209' }]);
});

test('webhooks repeated, shuffled, delayed and dropped in 12 ways end in the same state', async () => {
  for (let seed = 1; seed <= 12; seed++) await proveEventOrder(world, seed);
});
