import { LockMode } from '@mikro-orm/postgresql';
import { sweepNow } from '../platform/clock.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach, type SweepOf, sweptRows } from '../platform/sweeps.js';
import { PaymentMethod } from './payment.entity.js';
import { presentPaymentMethod } from './payment.present.js';

/** Sweep: tells once for each card that it is about to expire, while there is time to bring another. */
export async function announceExpiringMethods(
  deps: Pick<Deps, 'db' | 'clock' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  const em = deps.db.orm.em.fork();
  const now = await sweepNow(em, deps.clock, of.accountId);
  const due = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select account_id, id from payment_method
      where expiry_notice_at <= ${now} and ${sweptRows('payment_method', of)} order by expiry_notice_at limit 100`,
  );
  return finishEach(deps.log, due, ({ account_id: accountId, id }) =>
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
