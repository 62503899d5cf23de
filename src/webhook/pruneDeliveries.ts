import { deleteByAccounts } from '../platform/batchedDelete.js';
import type { Deps } from '../platform/deps.js';
import { firstIdAt } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';

const dayMs = 86_400_000;

/** Sweep: deletes deliveries that are finished and older than so many days, with their log of attempts. */
export async function pruneDeliveries({ db, clock }: Pick<Deps, 'db' | 'clock'>, { days }: { days: number }) {
  const before = firstIdAt(new Date(clock.now().getTime() - days * dayMs));
  return deleteByAccounts(db, 'pruneDeliveries', async (accountIds, limit) => {
    const em = db.orm.em.fork();
    const old = await rowsOf(
      em,
      sql<{ account_id: string; id: string }>`
        select account.id as account_id, old.id from unnest(${accountIds}::uuid[]) as account (id), lateral (
          select id from webhook_delivery
          where account_id = account.id and id < ${before}::uuid and status <> 'PENDING' order by id limit ${limit}
        ) old limit ${limit}`,
    );
    if (old.length === 0) return 0;
    await rowsOf(
      em,
      sql`
        with gone as (
          delete from webhook_delivery d
          using unnest(${old.map((d) => d.account_id)}::uuid[], ${old.map((d) => d.id)}::uuid[]) as old (account_id, id)
          where d.account_id = old.account_id and d.id = old.id and d.status <> 'PENDING'
          returning d.account_id, d.id
        )
        delete from webhook_attempt a using gone where a.account_id = gone.account_id and a.delivery_id = gone.id`,
    );
    return old.length;
  });
}
