import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../../src/platform/sql.js';

/** What a copy of an account needs of it to be billed, by table; the sandbox's books included. */
const copied = [
  'account',
  'subscription',
  'usage_window',
  'payment_customer',
  'payment_method',
  'tax_rate',
  'wallet',
  'ledger_account',
  'wallet_grant',
  'sandbox.customer',
  'sandbox.payment_method',
] as const;

/** Keys of a table beside the account that are unique of themselves. */
const ownKeys: Readonly<Record<string, readonly string[]>> = {
  'sandbox.customer': ['key'],
  'sandbox.payment_method': ['key'],
};

/**
 * Makes `count` copies of an account that is billed, without its past: hundreds of accounts in a few statements. Returns
 * their uuids. The ledgers of the copies begin with balances that have no postings.
 */
export async function copyAccount(
  em: EntityManager,
  accountId: string,
  count: number,
  name: string,
): Promise<string[]> {
  const copies = sql`select md5(i::text || ${name} || ${accountId})::uuid as id from generate_series(1, ${count}::int) i`;
  for (const table of copied) {
    const changes = sql.join([
      ...(table === 'account' ? [sql`'id', copy.id`] : [sql`'account_id', copy.id`]),
      ...(table === 'subscription' ? [sql`'first_invoice_id', null`] : []),
      ...(ownKeys[table] ?? []).map((column) => sql`${sql.lit(column)}, gen_random_uuid()`),
    ]);
    const mine = table === 'account' ? sql`of.id` : sql`of.account_id`;
    await rowsOf(
      em,
      sql`insert into ${sql.table(table)} select made.* from ${sql.table(table)} of, (${copies}) copy,
            jsonb_populate_record(of, jsonb_build_object(${changes})) made where ${mine} = ${accountId}`,
    );
  }
  const rows = await rowsOf(em, sql<{ id: string }>`select id from (${copies}) copy`);
  return rows.map(({ id }) => id);
}
