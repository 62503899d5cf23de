import type { EntityManager } from '@mikro-orm/postgresql';
import { assertBalanced, type Posting } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';

export interface Movement {
  /** `top_up`, `credit`, `invoice_issued`, `invoice_payment`, `wallet_payment`, `invoice_voided` */
  type: string;
  currency: string;
  /** The payment or invoice behind it. A second movement of the same type for it is refused by the database. */
  referenceId: string;
  postings: readonly Posting[];
}

/**
 * Posts a movement: one transaction row, its postings, and the balances of the ledger accounts they touch. The ledger
 * accounts are locked in a fixed order; the database refuses a wallet below zero. Returns the transaction's id.
 *
 * What leaves the wallet is an update of its own: an upsert proposes a row with the bare amount, and PostgreSQL holds that
 * row against the check (no balance below zero) before it looks for the conflict.
 */
export async function post(tx: Tx, { type, currency, referenceId, postings }: Movement): Promise<string> {
  assertBalanced(postings, currency);
  const { accountId, now } = tx;
  await tx.em.flush();
  const sorted = [...postings].sort((a, b) => (a.account < b.account ? -1 : 1));
  const transactionId = newId();
  const walletAmount = postings.find((p) => p.account === 'wallet')?.amountMinor ?? 0n;
  const posted = await rowsOf(
    tx.em,
    sql`
      with posting as (
        select * from unnest(${sorted.map((p) => p.account)}::text[], ${sorted.map((p) => p.amountMinor)}::bigint[],
          ${sorted.map(() => newId())}::uuid[], ${sorted.map(() => newId())}::uuid[]) as p (kind, amount_minor, posting_id, new_account_id)
      ), grown as (
        insert into ledger_account (account_id, id, kind, currency, balance_minor)
        select ${accountId}::uuid, new_account_id, kind, ${currency}, amount_minor from posting
        where kind <> 'wallet' or amount_minor > 0 order by kind
        on conflict (account_id, kind, currency) do update set balance_minor = ledger_account.balance_minor + excluded.balance_minor
        returning id, kind, balance_minor
      ), spent as (
        update ledger_account set balance_minor = balance_minor + ${walletAmount}::bigint
        where account_id = ${accountId} and kind = 'wallet' and currency = ${currency} and ${walletAmount}::bigint < 0
        returning id, kind, balance_minor
      ), balance as (
        select * from grown union all select * from spent
      ), movement as (
        insert into ledger_transaction
          (account_id, id, type, currency, reference_id, wallet_amount_minor, wallet_balance_after_minor, created_at)
        values (${accountId}, ${transactionId}, ${type}, ${currency}, ${referenceId}, ${walletAmount},
          (select balance_minor from balance where kind = 'wallet'), ${now})
      )
      insert into ledger_posting (account_id, id, transaction_id, ledger_account_id, amount_minor, currency)
      select ${accountId}::uuid, posting.posting_id, ${transactionId}::uuid, balance.id, posting.amount_minor, ${currency}
      from posting join balance using (kind)
      returning id`,
  );
  if (posted.length !== sorted.length) throw new Error(`${type} ${referenceId}: no wallet in ${currency} to take from`);
  return transactionId;
}

/** The wallet's balance in minor units, as of this transaction; locks nothing. */
export async function walletBalance(
  em: EntityManager,
  { accountId, currency }: { accountId: string; currency: string },
): Promise<bigint> {
  const [row] = await rowsOf(
    em,
    sql<{ balance_minor: string }>`
      select balance_minor from ledger_account
      where account_id = ${accountId} and kind = 'wallet' and currency = ${currency}`,
  );
  return BigInt(row?.balance_minor ?? 0);
}

/** The same, with the row locked: whoever wants to spend from the wallet reads its balance so. */
export async function lockWalletBalance(tx: Tx, currency: string): Promise<bigint> {
  const [row] = await rowsOf(
    tx.em,
    sql<{ balance_minor: string }>`
      select balance_minor from ledger_account
      where account_id = ${tx.accountId} and kind = 'wallet' and currency = ${currency} for update`,
  );
  return BigInt(row?.balance_minor ?? 0);
}
