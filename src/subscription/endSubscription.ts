import { ended } from '../domain/lifecycle.js';
import { issueInvoice } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import type { Tx } from '../platform/db.js';
import { closeWindows } from '../usage/windows.js';
import { decideStop, minimumOf } from './decide.js';
import type { PaidFee } from './paidFee.js';
import { fieldsOf, readState } from './state.js';
import type { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';
import { takeBack } from './takeBack.js';

/**
 * Ends a subscription at `at`: windows close, the final invoice bills what they hold less what is given back of the fee
 * (`paid`; undefined: nothing), which of an unpaid one is taken off its invoice. Returns what to collect.
 */
export async function endSubscription(
  tx: Tx,
  subscription: Subscription,
  { at, paid, invoiceId }: { at: Date; paid: PaidFee | undefined; invoiceId: string },
): Promise<string | undefined> {
  const state = await readState(tx.em, subscription);
  const { start, end } = state.period;
  const usage = await closeWindows(tx, { subscriptionId: subscription.id, at, invoiceId });
  const { lines, takesBack } = decideStop({ state, at, usage, paid });
  await takeBack(tx, takesBack);
  let paymentId: string | undefined;
  if (lines.length > 0) {
    const collectFrom = await defaultPaymentMethod(tx.em, tx.accountId);
    ({ paymentId } = await issueInvoice(tx, {
      id: invoiceId,
      reason: 'subscription_cancel',
      subscriptionId: subscription.id,
      period: { start, end: at < end ? at : end },
      lines,
      minimumSpend: minimumOf(state, at),
      issuedAt: at,
      collectFrom,
    }));
  }
  Object.assign(subscription, fieldsOf(ended(state, at)));
  subscription.version += 1;
  await emitSubscription(tx, 'subscription.canceled', subscription);
  return paymentId;
}
