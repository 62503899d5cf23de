import type { EntityManager } from '@mikro-orm/postgresql';
import { deleteByAccounts } from '../platform/batchedDelete.js';
import type { Deps } from '../platform/deps.js';
import { firstIdAt } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';

const dayMs = 86_400_000;

type Needs = Pick<Deps, 'db' | 'clock'> & {
  /** The log is append-only for the running product: only the owner of the tables may take from it. */
  readonly asOwner: <T>(work: (em: EntityManager) => Promise<T>) => Promise<T>;
};

/**
 * Sweep: deletes events older than so many days from the beginning of each account's log, up to the first that is still in the
 * outbox or that a delivery shows. `event_cursor.pruned_seq` says how far. Undefined days: all are kept.
 */
export async function pruneEvents({ db, clock, asOwner }: Needs, { days }: { days: number | undefined }) {
  if (days === undefined) return 0;
  const before = firstIdAt(new Date(clock.now().getTime() - days * dayMs));
  return deleteByAccounts(db, 'pruneEvents', async (accountIds, limit) => {
    const rows = await rowsOf(
      db.orm.em.fork(),
      // `seq` has no gaps, so the first that is left is the one behind those that are gone.
      sql<{ account_id: string }>`
        select c.account_id from event_cursor c join event e on e.account_id = c.account_id and e.seq = c.pruned_seq + 1
        where c.account_id = any(${accountIds}::uuid[]) and e.id < ${before}::uuid`,
    );
    let deleted = 0;
    for (const { account_id: accountId } of rows) {
      if (deleted >= limit) break;
      deleted += await asOwner((em) => pruneOf(em, { accountId, before, limit: limit - deleted }));
    }
    return deleted;
  });
}

async function pruneOf(
  em: EntityManager,
  { accountId, before, limit }: { accountId: string; before: string; limit: number },
): Promise<number> {
  // Whoever makes deliveries of old events holds this row (see redeliver): what is read below knows them.
  const [cursor] = await rowsOf(
    em,
    sql<{ pruned_seq: string }>`select pruned_seq from event_cursor where account_id = ${accountId} for update`,
  );
  const after = cursor!.pruned_seq;
  const [found] = await rowsOf(
    em,
    sql<{ last: string | null }>`
      with oldest as (
        select seq, id from event where account_id = ${accountId} and seq > ${after} order by seq limit ${limit}
      )
      select max(seq) as last from oldest where seq < coalesce((
        select min(seq) from oldest where id >= ${before}::uuid
          or exists (select 1 from outbox o where o.account_id = ${accountId} and o.id = oldest.id)
          or exists (select 1 from webhook_endpoint w join webhook_delivery d on d.account_id = w.account_id and d.endpoint_id = w.id
            where w.account_id = ${accountId} and d.event_id = oldest.id)
      ), 9223372036854775807)`,
  );
  const last = found?.last;
  if (last == null) return 0;
  await rowsOf(em, sql`update event_cursor set pruned_seq = ${last} where account_id = ${accountId}`);
  const deleted = await rowsOf(
    em,
    sql`delete from event where account_id = ${accountId} and seq > ${after} and seq <= ${last} returning 1`,
  );
  return deleted.length;
}
