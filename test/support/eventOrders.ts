import assert from 'node:assert/strict';
import { sql } from '../../src/platform/sql.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { topUp } from '../../src/wallet/topUp.js';
import { eventsOf, freshKey, invoicesOf, paymentsOf, subscriptionOf, usd } from './billing.js';
import { balanceOf } from './ledger.js';
import { randomFrom } from './random.js';
import type { StripeWorld } from './stripeWorld.js';

const expected = {
  payments: [
    ['SUCCEEDED', null],
    ['FAILED', 'payment_intent_authentication_failure'],
    ['SUCCEEDED', null],
  ],
  invoices: ['PAID'],
  subscription: 'ACTIVE',
  wallet: 500n,
  dispute: [{ status: 'LOST' }],
  told: [
    'dispute.closed',
    'dispute.opened',
    'invoice.finalized',
    'invoice.paid',
    'invoice.payment_action_required',
    'payment_method.added',
    'subscription.created',
    'wallet.top_up_failed',
    'wallet.topped_up',
  ],
};

/**
 * A card whose holder confirms two payments and refuses one, and disputes one, while Stripe's events come four times each, in a random
 * order, late, or never: the list of events is then read. Throws unless it ends as it would with each event once, in order.
 */
export async function proveEventOrder(world: StripeWorld, seed: number): Promise<void> {
  const random = randomFrom(seed);
  const { hooks, books } = world.standin;
  hooks.set({ duplicates: 3, shuffle: true, delayMs: 10, dropped: random.pick([0, 0.3, 0.9]), random: random.next });
  const account = await world.withCard('tok_authenticationRequired');
  const last = async () => (await paymentsOf(world, account)).at(-1)!;
  const pay = (amount: string) =>
    topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd(amount) }).then(last);
  const paid = await pay('5.00');
  const refused = await pay('6.00');
  await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
  const invoiced = await last();
  books.authenticate(paid.chargeRef!, true);
  books.authenticate(refused.chargeRef!, false);
  books.authenticate(invoiced.chargeRef!, true);
  books.closeDispute(books.openDispute(paid.chargeRef!).id, 'lost');
  await world.quiet();
  world.clock.advanceMs(61_000); // the list is read once a minute
  await world.quiet();

  const seen = {
    payments: (await paymentsOf(world, account)).map(({ status, declineCode }) => [status, declineCode]),
    invoices: (await invoicesOf(world, account)).map(({ status }) => status),
    subscription: (await subscriptionOf(world, account)).status,
    wallet: await balanceOf(world, account.id, 'wallet'),
    dispute: await world.rows(sql`select status from dispute where account_id = ${account.id}`),
    told: (await eventsOf(world, account)).map(({ type }) => type).sort(),
  };
  assert.deepEqual({ seed, ...seen }, { seed, ...expected });
  await world.expectSound(account);
}
