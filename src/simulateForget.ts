import type { Core } from './app.js';
import { rowsOf, sql } from './platform/sql.js';

/**
 * Removes a simulated account with all its rows, and the catalog it had to itself. The tables are those the database has,
 * children before parents by its own foreign keys, so that no list here has to be kept.
 */
export async function forgetSimulation(
  { db }: Pick<Core['deps'], 'db'>,
  { accountId, suffix }: { accountId: string; suffix: string },
): Promise<void> {
  await db.orm.em.fork().transactional(async (em) => {
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
