import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { endSubscription } from './endSubscription.js';
import { paidFee } from './paidFee.js';
import { stopForPause } from './pauseSubscription.js';
import { failsToPay } from './standing.js';
import { activatePaid } from './subscribe.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';
import { endWaitingChange, finishChange } from './waitingChange.js';

/**
 * Reaction to `invoice.paid`, `invoice.failed` and `invoice.uncollectible`: activation, a change that waited for its
 * payment, past due and back, and what the account's policy says when collecting has given up: the end, a pause, or
 * past due. Reads the invoice as it is now, so that late and repeated events do no harm.
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
    const { status } = subscription;
    if (status !== 'ACTIVE' && status !== 'PAST_DUE' && status !== 'PAUSED') return undefined;
    if (invoice.status === 'UNCOLLECTIBLE') {
      const { dunningEnd } = await tx.em.findOneOrFail(Account, { id: accountId });
      const ends = dunningEnd === 'cancel' || (dunningEnd === 'pause' && subscription.cancelAt != null);
      const pauses = !ends && dunningEnd === 'pause' && status !== 'PAUSED';
      if (ends || pauses) return stop(tx, subscription, { ends });
    }
    if (status === 'PAUSED') return undefined;
    const standing = (await failsToPay(tx.em, subscription)) ? 'PAST_DUE' : 'ACTIVE';
    if (standing !== status) {
      subscription.status = standing;
      subscription.version += 1;
      await emitSubscription(
        tx,
        standing === 'PAST_DUE' ? 'subscription.past_due' : 'subscription.updated',
        subscription,
      );
    }
    return undefined;
  });
  await collectInvoice(deps, { accountId, paymentId });
}

/** Ends or pauses a subscription whose collecting has given up. Returns what to collect of the usage. */
async function stop(tx: Tx, subscription: Subscription, { ends }: { ends: boolean }): Promise<string | undefined> {
  await endWaitingChange(tx, subscription); // first: one that has been paid moves the period, and takes back of its fee
  // Given up as its period ended: no other has begun, and none is begun by being late.
  const late = subscription.status !== 'PAUSED' && tx.now > subscription.periodEnd;
  const at = late ? subscription.periodEnd : tx.now;
  // Of what was given up all stays owed; a later renewal that is not paid yet is owed for the days used.
  const fees = await paidFee(tx.em, subscription);
  const paid = fees.filter(({ status }) => status === 'OPEN' || status === 'DRAFT');
  const stopping = { at, paid, invoiceId: newId() };
  return ends
    ? endSubscription(tx, subscription, stopping)
    : stopForPause(tx, subscription, { ...stopping, resumeAt: null });
}
