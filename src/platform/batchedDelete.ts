import type { Db } from './db.js';
import { rowsOf, sql } from './sql.js';
import { firstPlace, placesOf } from './sweeps.js';

/** Rows of one statement: none is locked for longer than it takes to delete so many. */
const batchSize = 1_000;
/** Batches of one round; other sweeps have their turn then. */
const maxBatches = 20;
/** Accounts that one round looks at. */
const accountsAtOnce = 500;

/** Deletes batch after batch, until one isn't full or the round is over. Answers how many rows are gone. */
export async function deleteInBatches(deleteSome: (limit: number) => Promise<number>): Promise<number> {
  let deleted = 0;
  for (let batches = 0; batches < maxBatches; batches++) {
    const gone = await deleteSome(batchSize);
    deleted += gone;
    if (gone < batchSize) break;
  }
  return deleted;
}

/**
 * The same account by account, as the tables of accounts begin with it: each round goes on with the accounts behind those of the
 * last, and after the last of all with the first. A round that was not enough for its accounts takes them again.
 */
export async function deleteByAccounts(
  db: Pick<Db, 'orm'>,
  sweep: string,
  deleteSome: (accountIds: readonly string[], limit: number) => Promise<number>,
): Promise<number> {
  const places = placesOf(db);
  const after = places.get(sweep) ?? firstPlace;
  const accounts = await rowsOf(
    db.orm.em.fork(),
    sql<{ id: string }>`select id from account where id > ${after.id}::uuid order by id limit ${accountsAtOnce}`,
  );
  const ids = accounts.map(({ id }) => id);
  const deleted = ids.length === 0 ? 0 : await deleteInBatches((limit) => deleteSome(ids, limit));
  if (deleted < batchSize * maxBatches) {
    const last = ids.length < accountsAtOnce ? undefined : ids.at(-1);
    places.set(sweep, last === undefined ? firstPlace : { ...firstPlace, id: last });
  }
  return deleted;
}
