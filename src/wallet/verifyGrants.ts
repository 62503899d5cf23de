import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';

/**
 * What holds of an account's credit at any time: what is left of all grants is the wallet's balance; of each grant what is left is
 * what it began with and its entries; a movement of the wallet takes from grants what it takes from the wallet; what grants keep is
 * what open holds keep, and never more than there is. Returns what is broken, one line each; empty when all is sound.
 */
export async function grantViolations(em: EntityManager, accountId: string): Promise<string[]> {
  const [sums] = await rowsOf(
    em,
    sql<Record<'left_over' | 'balance' | 'kept' | 'held', string>>`
      select
        (select coalesce(sum(remaining_minor), 0)::text from wallet_grant where account_id = ${accountId}) as left_over,
        (select coalesce(sum(balance_minor), 0)::text from ledger_account where account_id = ${accountId} and kind = 'wallet') as balance,
        (select coalesce(sum(held_minor), 0)::text from wallet_grant where account_id = ${accountId}) as kept,
        (select coalesce(sum(amount_minor), 0)::text from wallet_hold where account_id = ${accountId} and status = 'OPEN') as held`,
  );
  const drifted = await rowsOf(
    em,
    sql<{ id: string; left_over: string; entered: string }>`
      select g.id, g.remaining_minor::text as left_over, (g.amount_minor + coalesce(sum(e.amount_minor), 0))::text as entered
      from wallet_grant g left join wallet_grant_entry e on e.account_id = g.account_id and e.grant_id = g.id
      where g.account_id = ${accountId} group by g.id, g.remaining_minor, g.amount_minor, g.held_minor
      having g.remaining_minor <> g.amount_minor + coalesce(sum(e.amount_minor), 0)
        or g.held_minor < 0 or g.remaining_minor < g.held_minor`,
  );
  const unlike = await rowsOf(
    em,
    sql<{ id: string; type: string; moved: string; entered: string }>`
      select t.id, t.type, t.wallet_amount_minor::text as moved, sum(e.amount_minor)::text as entered
      from wallet_grant_entry e join ledger_transaction t on t.account_id = e.account_id and t.id = e.transaction_id
      where e.account_id = ${accountId} group by t.id, t.type, t.wallet_amount_minor
      having t.wallet_amount_minor < 0 and sum(e.amount_minor) <> t.wallet_amount_minor
        or t.wallet_amount_minor >= 0 and sum(e.amount_minor) > t.wallet_amount_minor`,
  );
  const holds = await rowsOf(
    em,
    sql<{ id: string; amount: string; kept: string }>`
      select h.id, h.amount_minor::text as amount, coalesce(sum(p.amount_minor), 0)::text as kept
      from wallet_hold h left join wallet_hold_part p on p.account_id = h.account_id and p.hold_id = h.id
      where h.account_id = ${accountId} group by h.id, h.amount_minor
      having h.amount_minor <> coalesce(sum(p.amount_minor), 0)`,
  );
  const { left_over: left, balance, kept, held } = sums!;
  return [
    ...(left === balance ? [] : [`grants have ${left} left, the wallet ${balance}`]),
    ...(kept === held ? [] : [`grants keep ${kept} for holds, open holds ${held}`]),
    ...drifted.map((row) => `grant ${row.id} has ${row.left_over} left, its entries say ${row.entered}`),
    ...unlike.map(
      (row) => `movement ${row.id} (${row.type}) moves ${row.moved} of the wallet, ${row.entered} of grants`,
    ),
    ...holds.map((row) => `hold ${row.id} over ${row.amount} keeps ${row.kept}`),
  ];
}
