import { type ChargeOutcome, ProviderStillWorking, ProviderUnavailable } from '../integrations/payments/provider.js';
import { accountNow } from '../platform/clock.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { callProvider } from './callProvider.js';
import { askWhileOpenAt, givenUpCodes } from './charge.js';
import { Payment, PaymentCustomer } from './payment.entity.js';

/** Settles a payment by its purpose; the same use case that settles the synchronous answer. */
export type Settle = (input: { accountId: string; paymentId: string; outcome: ChargeOutcome }) => Promise<void>;

/** A 3-D Secure challenge nobody has answered by then fails, so that its card can go and its invoice moves on. */
const challengeExpiresAfterMs = 24 * 3_600_000;

const neverArrived: ChargeOutcome = {
  status: 'declined',
  chargeRef: '',
  declineCode: givenUpCodes.neverArrived,
  message: 'The payment provider could not be reached; no money has moved',
};

const abandoned: ChargeOutcome = {
  status: 'declined',
  chargeRef: '',
  declineCode: givenUpCodes.abandoned,
  message: 'Nobody confirmed the payment (3-D Secure) within 24 hours',
};

/**
 * Sweep: asks the provider what became of payments whose answer was lost, and settles them. It never charges: a payment
 * the provider has not heard of within the time any call lasts counts as failed. It is asked for ever more rarely during
 * a week all the same: a charge that was on its way longer is then still credited.
 */
export async function reconcilePayments(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  settle: Record<Payment['purpose'], Settle>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(
    deps,
    ['payment', 'reconcile_at'],
    of,
    async ({ accountId, id: paymentId }) => {
      const em = deps.db.orm.em.fork();
      const payment = await em.findOneOrFail(Payment, { accountId, id: paymentId });
      const customer = await em.findOne(PaymentCustomer, { accountId, provider: deps.payments.name });
      const outcome = await callProvider(
        deps.payments.findCharge({
          key: payment.providerKey,
          paymentId,
          chargeRef: payment.chargeRef || undefined,
          customerRef: customer?.customerRef,
        }),
      );
      if (outcome?.status !== 'requires_action' || payment.status !== 'REQUIRES_ACTION') {
        return settle[payment.purpose]({ accountId, paymentId, outcome: outcome ?? neverArrived });
      }
      const now = await accountNow(deps.db.orm.em.fork(), deps.clock, accountId);
      const ageMs = now.getTime() - payment.createdAt.getTime();
      if (ageMs >= challengeExpiresAfterMs) {
        return settle[payment.purpose]({ accountId, paymentId, outcome: abandoned });
      }
      await transact(deps, accountId, (tx) =>
        tx.em.nativeUpdate(
          Payment,
          { accountId, id: paymentId, status: 'REQUIRES_ACTION' },
          { reconcileAt: askWhileOpenAt(payment, now) },
        ),
      );
    },
    { stopAt: isAway },
  );
}

/** Whoever asks next would get no answer either. */
export const isAway = (error: unknown): boolean =>
  error instanceof ProviderUnavailable && !(error instanceof ProviderStillWorking);
