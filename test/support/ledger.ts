import { sql } from '../../src/platform/sql.js';
import type { World } from './world.js';

/**
 * What holds of an account's money at any time: every movement sums to zero per currency, every balance is the sum of its
 * postings, the wallet is never negative, and the cards were charged exactly what the ledger says. Throws what is broken.
 */
export async function expectSoundLedger(world: World, accountId: string): Promise<void> {
  const unbalanced = await world.rows(
    sql`select transaction_id, currency, sum(amount_minor)::text as sum from ledger_posting
        where account_id = ${accountId} group by transaction_id, currency having sum(amount_minor) <> 0 or count(*) < 2`,
  );
  const empty = await world.rows(
    sql`select id, type from ledger_transaction t where account_id = ${accountId} and not exists (
          select 1 from ledger_posting p where p.account_id = t.account_id and p.transaction_id = t.id)`,
  );
  const drifted = await world.rows(
    sql`select a.kind, a.currency, a.balance_minor, coalesce(sum(p.amount_minor), 0)::text as posted
        from ledger_account a left join ledger_posting p on p.account_id = a.account_id and p.ledger_account_id = a.id
        where a.account_id = ${accountId} group by a.id, a.kind, a.currency, a.balance_minor
        having a.balance_minor <> coalesce(sum(p.amount_minor), 0) or (a.kind = 'wallet' and a.balance_minor < 0)`,
  );
  const owed = await world.rows(
    sql`select sum(amount_due_minor)::text as due, -(select coalesce(sum(balance_minor), 0) from ledger_account
          where account_id = ${accountId} and kind = 'receivable') as receivable
        from invoice where account_id = ${accountId} having coalesce(sum(amount_due_minor), 0) <>
          -(select coalesce(sum(balance_minor), 0) from ledger_account where account_id = ${accountId} and kind = 'receivable')`,
  );
  expect({ unbalanced, empty, drifted, owed }).toEqual({ unbalanced: [], empty: [], drifted: [], owed: [] });

  const [clearing] = await world.rows(
    sql<{ collected: string }>`select coalesce(-sum(balance_minor), 0)::text as collected from ledger_account
      where account_id = ${accountId} and kind = 'provider_clearing'`,
  );
  const moved = await world.deps.payments.moved({ accountId });
  expect({ movedByCards: moved.amountMinor }).toEqual({ movedByCards: BigInt(clearing!.collected) });
}

/** Balance of a ledger account in minor units, e.g. `wallet`; 0 before its first posting. */
export async function balanceOf(world: World, accountId: string, kind: string): Promise<bigint> {
  const [row] = await world.rows(
    sql<{
      balance_minor: string;
    }>`select balance_minor from ledger_account where account_id = ${accountId} and kind = ${kind}`,
  );
  return BigInt(row?.balance_minor ?? 0);
}
