import type { ChargeOutcome } from '../integrations/payments/provider.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach } from '../platform/sweeps.js';
import { reconcileAfterMs } from './charge.js';
import { Payment } from './payment.entity.js';

/** Settles a payment by its purpose; the same use case that settles the synchronous answer. */
export type Settle = (input: { accountId: string; paymentId: string; outcome: ChargeOutcome }) => Promise<void>;

/**
 * Sweep: asks the provider what became of payments whose answer was lost, and settles them. It never charges: a payment
 * the provider has not heard of within the time any call lasts did not happen, and fails.
 */
export async function reconcilePayments(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  settle: Record<Payment['purpose'], Settle>,
): Promise<number> {
  const now = deps.clock.now();
  const due = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ account_id: string; id: string }>`
      select account_id, id from payment where reconcile_at <= ${now} order by reconcile_at limit 100`,
  );
  return finishEach(deps.log, due, async ({ account_id: accountId, id: paymentId }) => {
    const payment = await deps.db.orm.em.fork().findOneOrFail(Payment, { accountId, id: paymentId });
    const outcome = await deps.payments.findCharge({ key: payment.providerKey, paymentId });
    if (outcome?.status === 'requires_action' && payment.status === 'REQUIRES_ACTION') {
      // Its holder may take minutes or never come: an old one is asked for less often.
      const ageMs = now.getTime() - payment.createdAt.getTime();
      const waitMs = Math.min(maxWaitMs, Math.max(reconcileAfterMs, ageMs / 2));
      const reconcileAt = new Date(now.getTime() + waitMs);
      await transact(deps, accountId, (tx) =>
        tx.em.nativeUpdate(Payment, { accountId, id: paymentId }, { reconcileAt }),
      );
      return;
    }
    await settle[payment.purpose]({ accountId, paymentId, outcome: outcome ?? neverArrived });
  });
}

/** A confirmation whose notice was lost is found within this. */
const maxWaitMs = 5 * 60_000;

const neverArrived: ChargeOutcome = {
  status: 'declined',
  chargeRef: '',
  declineCode: 'provider_unreachable',
  message: 'The payment provider could not be reached; no money has moved',
};
