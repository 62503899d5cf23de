import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import type { Subscription } from './subscription.entity.js';

/**
 * Is a renewal of this subscription unpaid although it has been tried to collect: is it PAST_DUE? One that was given up
 * counts until a later one is paid, or the fee of a period that a resumption by hand began.
 */
export async function failsToPay(em: EntityManager, { accountId, id }: Subscription): Promise<boolean> {
  await em.flush();
  const [row] = await rowsOf(
    em,
    sql<{ fails: boolean }>`
      select coalesce(bool_or(status = 'OPEN' and failed_attempts > 0 and reason = 'subscription_cycle'), false)
        or coalesce((array_agg(status order by created_at desc, id desc)
          filter (where status in ('PAID', 'UNCOLLECTIBLE')))[1] = 'UNCOLLECTIBLE', false) as fails
      from invoice where account_id = ${accountId} and subscription_id = ${id}
        and reason in ('subscription_cycle', 'subscription_resume')`,
  );
  return row!.fails;
}

/**
 * CONFLICT while the fee of the current period is being charged: what a change at once gives back and charges depends on
 * whether that is paid.
 */
export async function refuseWhileCharging({ em, accountId }: Tx, { id, periodEnd }: Subscription): Promise<void> {
  const [charging] = await rowsOf(
    em,
    sql`select 1 from invoice join payment on payment.account_id = invoice.account_id and payment.subject_id = invoice.id
        where invoice.account_id = ${accountId} and invoice.subscription_id = ${id} and invoice.period_end = ${periodEnd}
          and invoice.reason = 'subscription_cycle' and invoice.status = 'OPEN' and payment.status = 'PENDING' limit 1`,
  );
  if (!charging) return;
  throw new BillingError('CONFLICT', 'The fee of the current period is being charged: try again when that has ended', {
    field: ['subscriptionId'],
    retryable: true,
  });
}
