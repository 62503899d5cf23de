import { ProviderStillWorking, type RefundOutcome } from '../integrations/payments/provider.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { callProvider } from './callProvider.js';
import { askWhileOpenAt, givenUpCodes } from './charge.js';
import { Payment, Refund } from './payment.entity.js';
import { isAway } from './reconcilePayments.js';

/** Settles a refund in the feature it belongs to; the same use case that settles the synchronous answer. */
export type SettleRefund = (input: { accountId: string; refundId: string; outcome: RefundOutcome }) => Promise<void>;

const neverArrived: RefundOutcome = { status: 'failed', refundRef: '', failureCode: givenUpCodes.neverArrived };

/**
 * Sweep: asks the provider what became of refunds whose answer was lost, and settles them. It never refunds: what the provider
 * has not heard of within the time any call lasts counts as failed, and is asked for ever more rarely during a week all the
 * same, as a refund that was on its way longer has still moved money. One that the bank takes days for is asked for now and then,
 * and never keeps the others waiting.
 */
export async function reconcileRefunds(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  settle: Record<Refund['purpose'], SettleRefund>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(
    deps,
    ['refund', 'reconcile_at'],
    of,
    async ({ accountId, id: refundId }) => {
      const em = deps.db.orm.em.fork();
      const { providerKey, paymentId, purpose, createdAt } = await em.findOneOrFail(Refund, {
        accountId,
        id: refundId,
      });
      const { chargeRef } = await em.findOneOrFail(Payment, { accountId, id: paymentId });
      let outcome: RefundOutcome | undefined;
      try {
        outcome = await callProvider(
          deps.payments.findRefund({ key: providerKey, refundId, chargeRef: chargeRef || undefined }),
        );
      } catch (error) {
        if (!(error instanceof ProviderStillWorking)) throw error;
        await transact(deps, accountId, (tx) =>
          tx.em.nativeUpdate(
            Refund,
            { accountId, id: refundId, reconcileAt: { $ne: null } },
            { reconcileAt: askWhileOpenAt({ createdAt }, tx.now) },
          ),
        );
        return;
      }
      await settle[purpose]({ accountId, refundId, outcome: outcome ?? neverArrived });
    },
    { stopAt: isAway },
  );
}
