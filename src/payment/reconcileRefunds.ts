import type { RefundOutcome } from '../integrations/payments/provider.js';
import { sweepNow } from '../platform/clock.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach, type SweepOf, sweptRows } from '../platform/sweeps.js';
import { callProvider } from './callProvider.js';
import { givenUpCodes } from './charge.js';
import { Payment, Refund } from './payment.entity.js';
import { isAway } from './reconcilePayments.js';

/** Settles a refund in the feature it belongs to; the same use case that settles the synchronous answer. */
export type SettleRefund = (input: { accountId: string; refundId: string; outcome: RefundOutcome }) => Promise<void>;

const neverArrived: RefundOutcome = { status: 'failed', refundRef: '', failureCode: givenUpCodes.neverArrived };

/**
 * Sweep: asks the provider what became of refunds whose answer was lost, and settles them. It never refunds: what the provider
 * has not heard of within the time any call lasts counts as failed, and is asked for ever more rarely during a week all the
 * same, as a refund that was on its way longer has still moved money.
 */
export async function reconcileRefunds(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  settle: SettleRefund,
  of: SweepOf = {},
): Promise<number> {
  const em = deps.db.orm.em.fork();
  const now = await sweepNow(em, deps.clock, of.accountId);
  const due = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select account_id, id from refund
      where reconcile_at <= ${now} and ${sweptRows('refund', of)} order by reconcile_at limit 100`,
  );
  return finishEach(
    deps.log,
    due,
    async ({ account_id: accountId, id: refundId }) => {
      const em = deps.db.orm.em.fork();
      const { providerKey, paymentId } = await em.findOneOrFail(Refund, { accountId, id: refundId });
      const { chargeRef } = await em.findOneOrFail(Payment, { accountId, id: paymentId });
      const outcome = await callProvider(
        deps.payments.findRefund({ key: providerKey, refundId, chargeRef: chargeRef || undefined }),
      );
      await settle({ accountId, refundId, outcome: outcome ?? neverArrived });
    },
    { stopAt: isAway },
  );
}
