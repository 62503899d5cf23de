import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';
import { grantViolations } from './verifyGrants.js';

/**
 * What holds of an account's money at any time: every movement sums to zero per currency and has postings, every balance is
 * the sum of its postings, the wallet is never negative, its grants are its balance, and what invoices say is owed is what the ledger says. Returns what
 * is broken, one line each; empty when all is sound.
 */
export async function ledgerViolations(em: EntityManager, accountId: string): Promise<string[]> {
  const unbalanced = await rowsOf(
    em,
    sql<{ transaction_id: string; currency: string; sum: string }>`
      select transaction_id, currency, sum(amount_minor)::text as sum from ledger_posting
      where account_id = ${accountId} group by transaction_id, currency having sum(amount_minor) <> 0 or count(*) < 2`,
  );
  const empty = await rowsOf(
    em,
    sql<{ id: string; type: string }>`
      select id, type from ledger_transaction t where account_id = ${accountId} and not exists (
        select 1 from ledger_posting p where p.account_id = t.account_id and p.transaction_id = t.id)`,
  );
  const drifted = await rowsOf(
    em,
    sql<{ kind: string; currency: string; balance_minor: string; posted: string }>`
      select a.kind, a.currency, a.balance_minor, coalesce(sum(p.amount_minor), 0)::text as posted
      from ledger_account a left join ledger_posting p on p.account_id = a.account_id and p.ledger_account_id = a.id
      where a.account_id = ${accountId} group by a.id, a.kind, a.currency, a.balance_minor
      having a.balance_minor <> coalesce(sum(p.amount_minor), 0) or (a.kind = 'wallet' and a.balance_minor < 0)`,
  );
  const [owed] = await rowsOf(
    em,
    sql<{ due: string; receivable: string }>`
      select (select coalesce(sum(amount_due_minor), 0)::text from invoice where account_id = ${accountId} and status <> 'DRAFT') as due,
        (select (-coalesce(sum(balance_minor), 0))::text from ledger_account
         where account_id = ${accountId} and kind = 'receivable') as receivable`,
  );
  return [
    ...unbalanced.map((row) => `movement ${row.transaction_id} sums to ${row.sum} ${row.currency}`),
    ...empty.map((row) => `movement ${row.id} (${row.type}) has no postings`),
    ...drifted.map(
      (row) => `${row.kind} has a balance of ${row.balance_minor} ${row.currency}, its postings sum to ${row.posted}`,
    ),
    ...(await grantViolations(em, accountId)),
    ...(owed!.due === owed!.receivable ? [] : [`invoices say ${owed!.due} is owed, the ledger ${owed!.receivable}`]),
  ];
}

/** What cards have paid by the ledger, in minor units; equal to what the provider has moved. */
export async function collectedByCards(em: EntityManager, accountId: string): Promise<bigint> {
  const [clearing] = await rowsOf(
    em,
    sql<{ collected: string }>`
      select coalesce(-sum(balance_minor), 0)::text as collected from ledger_account
      where account_id = ${accountId} and kind = 'provider_clearing'`,
  );
  return BigInt(clearing!.collected);
}
