import type { EntityManager, EntityName, FilterQuery } from '@mikro-orm/postgresql';
import DataLoader from 'dataloader';

/** Loads many at once: one entry per id, in any order; an id without an entry is unknown. */
export type BatchFunction<Value> = (
  em: EntityManager,
  accountId: string,
  ids: readonly string[],
) => Promise<ReadonlyMap<string, Value>>;

/** The account's rows of an entity, by their ids. Made once for each entity: a loader is known by its function. */
export const byIdsOf =
  <Row extends { accountId: string; id: string }>(entity: EntityName<Row>): BatchFunction<Row> =>
  async (em, accountId, ids) => {
    const own = { accountId, id: { $in: [...ids] } } as FilterQuery<Row>;
    const rows = (await em.find(entity, own, { disableIdentityMap: true })) as unknown as Row[];
    return new Map(rows.map((row) => [row.id, row]));
  };

/** What a request's loaders hang on; a fresh one for each HTTP request and each event on a socket. */
export interface BatchScope {
  readonly em: EntityManager;
  readonly loaders: Map<BatchFunction<never>, Map<string, DataLoader<string, unknown>>>;
}

export const batchScope = (em: EntityManager): BatchScope => ({ em, loaders: new Map() });

/** Loads one by id, together with all that are asked for in the same tick: one statement a level, whatever the count. */
export function load<Value>(
  scope: BatchScope,
  batch: BatchFunction<Value>,
  accountId: string,
  id: string,
): Promise<Value | undefined> {
  const key = batch as unknown as BatchFunction<never>;
  const byAccount = scope.loaders.get(key) ?? new Map<string, DataLoader<string, unknown>>();
  scope.loaders.set(key, byAccount);
  let loader = byAccount.get(accountId);
  if (!loader) {
    loader = new DataLoader<string, unknown>(async (ids) => {
      const found = await batch(scope.em, accountId, ids);
      return ids.map((wanted) => found.get(wanted));
    });
    byAccount.set(accountId, loader);
  }
  return loader.load(id) as Promise<Value | undefined>;
}
