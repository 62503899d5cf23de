import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';

/**
 * Locks the rows of accounts, in their order. For work on a wallet that books revenue too: invoices take revenue before the wallet,
 * and both of them the account before either. Whoever only refers to the account is not kept waiting.
 */
export async function lockAccounts(em: EntityManager, accountIds: readonly string[]): Promise<void> {
  await rowsOf(em, sql`select id from account where id = any(${accountIds}::uuid[]) order by id for no key update`);
}
