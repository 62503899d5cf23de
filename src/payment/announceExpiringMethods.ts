import { LockMode } from '@mikro-orm/postgresql';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { PaymentMethod } from './payment.entity.js';
import { presentPaymentMethod } from './payment.present.js';

/** Sweep: tells once for each card that it is about to expire, while there is time to bring another. */
export async function announceExpiringMethods(
  deps: Pick<Deps, 'db' | 'clock' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(deps, ['payment_method', 'expiry_notice_at'], of, ({ accountId, id }) =>
    transact(deps, accountId, async (tx) => {
      const method = await tx.em.findOneOrFail(
        PaymentMethod,
        { accountId, id },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      );
      if (!method.expiryNoticeAt || method.expiryNoticeAt > tx.now) return;
      method.expiryNoticeAt = null;
      if (method.status === 'ACTIVE') tx.emit({ type: 'payment_method.expiring', data: presentPaymentMethod(method) });
    }),
  );
}
