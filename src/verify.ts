import { type EntityManager, IsolationLevel, MikroORM } from '@mikro-orm/postgresql';
import { guardedTables } from './entities.js';
import { bookChecks } from './invoice/verifyBooks.js';
import { creditChecks } from './invoice/verifyCredit.js';
import { ormConfig } from './ormConfig.js';
import { asRuntimeRole, type Guard } from './platform/runtimeRole.js';
import { rowsOf, sql } from './platform/sql.js';
import { type LedgerCheck, textOfViolation, type Violation, violationsOf } from './wallet/ledgerCheck.js';
import { grantChecks } from './wallet/verifyGrants.js';
import { ledgerChecks } from './wallet/verifyLedger.js';

/** Everything that must hold of an account's money at any time. */
export const checks: readonly LedgerCheck[] = [...ledgerChecks, ...grantChecks, ...creditChecks, ...bookChecks];

/** What is broken of one account's money, one line each; empty when all is sound. */
export const unsoundOf = async (em: EntityManager, accountId: string): Promise<string[]> =>
  (await violationsOf(em, checks, [accountId])).map(textOfViolation);

/** For reading much: without the time limits of requests, as who the product is to the database. */
export async function openForVerifying(databaseUrl: string): Promise<{ orm: MikroORM; guard: Guard }> {
  const { url, guard } = await asRuntimeRole(databaseUrl, guardedTables);
  const orm = await MikroORM.init(ormConfig({ clientUrl: url, ensureDatabase: false, pool: { min: 0, max: 2 } }));
  return { orm, guard };
}

/** Some accounts that were verified together. */
export interface Verified {
  accounts: number;
  postings: number;
  violations: Violation[];
}

/** About how many postings are read in one snapshot: few enough to show progress, and to hold no snapshot for long. */
const postingsAtOnce = 40_000;
const accountsAtOnce = 2_000;

/**
 * Verifies all accounts, or one, a few at a time: each in one read-only snapshot, so that what the product books meanwhile is
 * seen whole or not at all. How many are taken together follows from how many postings those before had.
 */
export async function* verify(
  orm: MikroORM,
  { accountId }: { accountId?: string | undefined } = {},
): AsyncGenerator<Verified> {
  let size = accountId === undefined ? 20 : 1;
  for (let after: string | null = null; ; ) {
    const verified: Verified & { last: string | null } = await orm.em
      .fork()
      .transactional((em) => verifyNext(em as EntityManager, { accountId, after, size }), {
        isolationLevel: IsolationLevel.REPEATABLE_READ,
        readOnly: true,
      });
    if (verified.last === null) return;
    yield verified;
    after = verified.last;
    const fitting = Math.floor((postingsAtOnce * verified.accounts) / Math.max(verified.postings, 1));
    size = Math.max(1, Math.min(size * 4, fitting, accountsAtOnce));
  }
}

async function verifyNext(
  em: EntityManager,
  { accountId, after, size }: { accountId: string | undefined; after: string | null; size: number },
): Promise<Verified & { last: string | null }> {
  // Sums of a snapshot are kept in memory, not sorted on disk; sums of sums have no statistics, and are never so few that a nested
  // loop over them pays; nor does compiling a statement that runs for a moment.
  for (const setting of ["work_mem = '64MB'", 'enable_nestloop = off', 'jit = off'])
    await rowsOf(em, sql`set local ${sql.raw(setting)}`);
  const accounts = await rowsOf(
    em,
    sql<{ id: string }>`
      select id from account
      where (${accountId ?? null}::uuid is null or id = ${accountId ?? null}) and (${after}::uuid is null or id > ${after})
      order by id limit ${size}`,
  );
  const ids = accounts.map(({ id }) => id);
  if (ids.length === 0) return { accounts: 0, postings: 0, violations: [], last: null };
  const [postings] = await rowsOf(
    em,
    sql<{ count: number }>`select count(*)::int as count from ledger_posting where account_id = any(${ids}::uuid[])`,
  );
  const violations = await violationsOf(em, checks, ids);
  return { accounts: ids.length, postings: postings!.count, violations, last: ids.at(-1) ?? null };
}
