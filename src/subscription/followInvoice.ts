import { LockMode } from '@mikro-orm/postgresql';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { endSubscription } from './cancelSubscription.js';
import { activatePaid } from './subscribe.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';
import { endWaitingChange, finishChange } from './waitingChange.js';

/**
 * Reaction to `invoice.paid`, `invoice.failed` and `invoice.uncollectible`: activation, a change that waited for its
 * payment, past due and back, the end when collecting has given up. Reads the invoice as it is now, so that late and
 * repeated events do no harm.
 */
export async function followInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, invoiceId }: { accountId: string; invoiceId: string },
): Promise<void> {
  await activatePaid(deps, { accountId, invoiceId });
  await finishChange(deps, { accountId, invoiceId });
  const paymentId = await transact(deps, accountId, async (tx) => {
    const invoice = await tx.em.findOneOrFail(Invoice, { accountId, id: invoiceId });
    if (invoice.reason !== 'subscription_cycle' || invoice.subscriptionId == null) return undefined;
    const subscription = await tx.em.findOneOrFail(
      Subscription,
      { accountId, id: invoice.subscriptionId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (subscription.status !== 'ACTIVE' && subscription.status !== 'PAST_DUE') return undefined;
    if (invoice.status === 'UNCOLLECTIBLE') {
      await endWaitingChange(tx, subscription);
      return endSubscription(tx, subscription, { at: tx.now, credit: [], invoiceId: newId() });
    }
    const unpaid = await tx.em.count(Invoice, {
      accountId,
      subscriptionId: subscription.id,
      reason: 'subscription_cycle',
      status: 'OPEN',
      failedAttempts: { $gt: 0 },
    });
    const status = unpaid > 0 ? 'PAST_DUE' : 'ACTIVE';
    if (status !== subscription.status) {
      subscription.status = status;
      subscription.version += 1;
      await emitSubscription(
        tx,
        status === 'PAST_DUE' ? 'subscription.past_due' : 'subscription.updated',
        subscription,
      );
    }
    return undefined;
  });
  await collectInvoice(deps, { accountId, paymentId });
}
