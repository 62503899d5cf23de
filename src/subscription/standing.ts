import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';
import type { Subscription } from './subscription.entity.js';

/**
 * Is a renewal of this subscription unpaid although it has been tried to collect: is it PAST_DUE? One that was given up
 * counts while it is the last one; the next that is paid makes up for it.
 */
export async function failsToPay(em: EntityManager, { accountId, id }: Subscription): Promise<boolean> {
  await em.flush();
  const [row] = await rowsOf(
    em,
    sql<{ fails: boolean }>`
      select coalesce(bool_or(status = 'OPEN' and failed_attempts > 0), false)
        or coalesce((array_agg(status order by created_at desc, id desc))[1] = 'UNCOLLECTIBLE', false) as fails
      from invoice where account_id = ${accountId} and subscription_id = ${id} and reason = 'subscription_cycle'`,
  );
  return row!.fails;
}
