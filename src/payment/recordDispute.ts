import { LockMode } from '@mikro-orm/postgresql';
import type { DisputeState } from '../integrations/payments/provider.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { Dispute, Payment } from './payment.entity.js';
import { presentDispute } from './payment.present.js';

/**
 * Keeps a dispute as the provider tells it, and says when it opens and when it is closed. No money is booked: what the bank
 * takes and gives back stays between seller and provider until somebody decides what becomes of the customer's debt.
 */
export async function recordDispute(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, paymentId, dispute: told }: { accountId: string; paymentId: string; dispute: DisputeState },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    // The payment's row orders the first two notices of one dispute.
    const lock = { lockMode: LockMode.PESSIMISTIC_WRITE } as const;
    const payment = await tx.em.findOne(Payment, { accountId, id: paymentId }, lock);
    if (!payment) return;
    const { disputeRef, amount, reason } = told;
    let dispute = await tx.em.findOne(Dispute, { accountId, disputeRef }, lock);
    if (!dispute) {
      dispute = tx.em.create(Dispute, {
        accountId,
        id: newId(),
        paymentId,
        disputeRef,
        amountMinor: amount.minorUnits,
        currency: amount.currency,
        reason,
        status: 'OPEN',
        createdAt: tx.now,
      });
      tx.emit({ type: 'dispute.opened', data: presentDispute(dispute) });
    }
    const wasOpen = dispute.status === 'OPEN';
    Object.assign(dispute, { amountMinor: amount.minorUnits, reason, status: told.status });
    if (told.status === 'OPEN') dispute.closedAt = null;
    if (!wasOpen || told.status === 'OPEN') return;
    dispute.closedAt = tx.now;
    tx.emit({ type: 'dispute.closed', data: presentDispute(dispute) });
  });
}
