import type { EntityManager } from '@mikro-orm/postgresql';
import type { Deps } from '../platform/deps.js';
import { lastSeq, requireKept } from '../platform/eventLog.js';
import { uuidOf } from '../platform/ids.js';
import { type LiveSource, stateSource } from '../platform/liveSource.js';
import { rowsOf, sql } from '../platform/sql.js';
import type { Invoice } from './invoice.entity.js';
import { invoicesByIds, listInvoices } from './invoices.js';

/** Events that one statement looks through: a long log is read in parts, each well within a statement's time. */
const readAtOnce = 5_000n;

/**
 * The account's invoices as they are now: first the newest (with `after`, the cursor of an event: each that has changed since),
 * then each that changes.
 */
export const watchedInvoices = (
  { db, feed }: Pick<Deps, 'db' | 'feed'>,
  { accountId, after }: { accountId: string; after: bigint | undefined },
): LiveSource =>
  stateSource<Invoice>({
    first: () => {
      const em = db.orm.em.fork();
      return after === undefined ? newestInvoice(em, accountId) : changedSince(em, { accountId, after });
    },
    watch: async (changed) => {
      const pages = feed.pages({ accountId, after: await feed.lastSeq(accountId) });
      const following = (async () => {
        for await (const page of pages) changed([...new Set(page.flatMap(invoicesOf))]);
      })().catch((error: unknown) =>
        db.log.error({ err: error, accountId }, 'changes of invoices are not heard any more'),
      );
      return async () => {
        await pages.return?.();
        await following;
      };
    },
    read: (ids) => invoicesByIds(db.orm.em.fork(), accountId, ids),
  });

async function newestInvoice(em: EntityManager, accountId: string): Promise<string[]> {
  const { nodes } = await listInvoices(em, accountId, { first: 1 });
  return nodes.map(({ id }) => id);
}

/** Ids of the invoices that events behind a cursor speak of, the longest unchanged first. */
async function changedSince(
  em: EntityManager,
  { accountId, after }: { accountId: string; after: bigint },
): Promise<string[]> {
  await requireKept(em, { accountId, after });
  const last = await lastSeq(em, accountId);
  const changed = new Set<string>();
  for (let from = after; from < last; from += readAtOnce) {
    const rows = await rowsOf(
      em,
      sql<{ id: string }>`
        select id from (
          select case when type like 'invoice.%' then data->>'id' else data->>'invoice_id' end as id, seq
          from event where account_id = ${accountId} and seq > ${from} and seq <= ${from + readAtOnce}) spoken_of
        where id is not null group by id order by max(seq)`,
    );
    for (const id of rows.flatMap((row) => uuidOf('invoice', row.id) ?? [])) {
      changed.delete(id); // and behind the others again
      changed.add(id);
    }
  }
  return [...changed];
}

/** The invoice an event is about, or belongs to, as a credit note does. */
function invoicesOf({ type, data }: { type: string; data: Record<string, unknown> }): string[] {
  const id = type.startsWith('invoice.') ? data.id : data.invoice_id;
  const uuid = typeof id === 'string' ? uuidOf('invoice', id) : undefined;
  return uuid === undefined ? [] : [uuid];
}
