import type { Core } from './app.js';
import { BillingError } from './domain/errors.js';
import { rowsOf, sql } from './platform/sql.js';

/**
 * Removes a simulated account with all its rows, and the catalog it had to itself, as the owner of the tables: nobody else may
 * take postings away. The tables are those the database has, children before parents by its own foreign keys, so that no
 * list here has to be kept.
 */
export async function forgetSimulation(
  { asOwner }: Pick<Core, 'asOwner'>,
  { accountId, suffix }: { accountId: string; suffix: string },
): Promise<void> {
  await asOwner(async (em) => {
    const tables = await rowsOf(
      em,
      sql<{ schema: string; name: string; oid: string }>`
        select n.nspname as schema, c.relname as name, c.oid::text as oid
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
        where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in ('public', 'sandbox') and a.attname = 'account_id'`,
    );
    const references = await rowsOf(
      em,
      sql<{ child: string; parent: string }>`
        select conrelid::text as child, confrelid::text as parent
        from (select conrelid::oid, confrelid::oid from pg_constraint where contype = 'f' and conrelid <> confrelid) c`,
    );
    let left = tables;
    while (left.length > 0) {
      const free = left.filter(
        ({ oid }) => !references.some(({ child, parent }) => parent === oid && left.some((one) => one.oid === child)),
      );
      if (free.length === 0) throw new Error('the tables of accounts refer to each other in a circle');
      for (const { schema, name } of free)
        await rowsOf(em, sql`delete from ${sql.id(schema, name)} where account_id = ${accountId}`);
      left = left.filter((table) => !free.includes(table));
    }
    await rowsOf(em, sql`delete from account where id = ${accountId}`);
    const own = sql<boolean>`right(code, ${suffix.length}) = ${suffix}`;
    await rowsOf(em, sql`delete from coupon where ${own}`);
    await rowsOf(em, sql`delete from plan_feature where plan_id in (select id from plan where ${own})`);
    await rowsOf(em, sql`delete from plan where ${own}`);
    await rowsOf(em, sql`delete from metric where ${own}`);
  });
}

/** Throws ILLEGAL_STATE where `forgetSimulation` would be refused, before there is anything to forget. */
export async function checkForgettable({ asOwner }: Pick<Core, 'asOwner'>): Promise<void> {
  const [may] = await asOwner((em) =>
    rowsOf(em, sql<{ delete: boolean }>`select has_table_privilege('ledger_posting', 'DELETE') as delete`),
  );
  if (may!.delete) return;
  throw new BillingError(
    'ILLEGAL_STATE',
    'The login of DATABASE_URL may not remove postings, so a simulation could not be cleared away. ' +
      'Set MIGRATION_DATABASE_URL to the owner of the tables, or keep the account with --keep',
  );
}
