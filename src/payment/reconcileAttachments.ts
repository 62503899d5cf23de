import type { AttachOutcome } from '../integrations/payments/provider.js';
import { accountNow } from '../platform/clock.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { callProvider } from './callProvider.js';
import { askWhileOpenAt } from './charge.js';
import { PaymentMethod } from './payment.entity.js';
import { isAway } from './reconcilePayments.js';
import { settleAttachment } from './settleAttachment.js';

/** A card that nobody has confirmed by then is given up. */
const expiresAfterMs = 24 * 3_600_000;

const abandoned: AttachOutcome = {
  status: 'declined',
  declineCode: 'authentication_required',
  message: 'Nobody confirmed the card (3-D Secure) within 24 hours',
};

/** Sweep: asks the provider what became of cards whose holder had to confirm them. */
export async function reconcileAttachments(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  const { payments } = deps;
  if (!payments.findAttachment) return 0;
  const find = payments.findAttachment;
  return finishDue(
    deps,
    ['payment_method', 'reconcile_at'],
    of,
    async ({ accountId, id: methodId }) => {
      const { setupRef, createdAt } = await deps.db.orm.em
        .fork()
        .findOneOrFail(PaymentMethod, { accountId, id: methodId });
      const outcome = await callProvider(find({ setupRef: setupRef! }));
      const now = await accountNow(deps.db.orm.em.fork(), deps.clock, accountId);
      const ageMs = now.getTime() - createdAt.getTime();
      if (outcome.status !== 'requires_action' || ageMs >= expiresAfterMs) {
        const end = outcome.status === 'requires_action' ? abandoned : outcome;
        return settleAttachment(deps, { accountId, methodId, outcome: end });
      }
      await transact(deps, accountId, (tx) =>
        tx.em.nativeUpdate(
          PaymentMethod,
          { accountId, id: methodId, status: 'PENDING' },
          { reconcileAt: askWhileOpenAt({ createdAt }, now) },
        ),
      );
    },
    { stopAt: isAway },
  );
}
