import { ended } from '../domain/lifecycle.js';
import type { Tx } from '../platform/db.js';
import { billStop } from './finalInvoice.js';
import type { PaidFee } from './paidFee.js';
import { fieldsOf, readState } from './state.js';
import type { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';

/**
 * Ends a subscription at `at`: windows close and are billed, less what is given back of the fee (`paid`; undefined: nothing),
 * which of an unpaid one is taken off its invoice. Returns what to collect.
 */
export async function endSubscription(
  tx: Tx,
  subscription: Subscription,
  { at, paid, invoiceId }: { at: Date; paid: PaidFee | undefined; invoiceId: string },
): Promise<string | undefined> {
  const state = await readState(tx.em, subscription);
  const paymentId = await billStop(tx, subscription, { at, paid, invoiceId, reason: 'subscription_cancel' });
  Object.assign(subscription, fieldsOf(ended(state, at)));
  subscription.version += 1;
  await emitSubscription(tx, 'subscription.canceled', subscription);
  return paymentId;
}
