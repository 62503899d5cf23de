import type { EntityManager } from '@mikro-orm/postgresql';
import { assertBalanced, type Posting } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { bookGrants, effectMinor, type GrantEffect } from './grants.js';
import type { MovementType } from './movementDocuments.js';

export interface Movement {
  type: MovementType;
  currency: string;
  /** The payment, invoice, credit note or refund behind it. A second movement of the same type for it is refused by the database. */
  referenceId: string;
  postings: readonly Posting[];
  /** Which grants it takes from, puts back into or opens: as much as it moves of the wallet. The caller holds the wallet's lock. */
  grants?: GrantEffect;
}

/**
 * Posts a movement: one transaction row, its postings, and the balances of the ledger accounts they touch. The database
 * refuses a wallet below zero.
 */
export const post = (tx: Tx, movement: Movement): Promise<void> => postAll(tx.em, [{ tx, movement }]);

/**
 * Posts one movement for each of many accounts, by one statement, and what they do to the grants of the wallets by one or two.
 * The ledger accounts are locked in a fixed order; within one account, a second movement needs a second call, because a
 * statement sees no balance that it has itself changed.
 *
 * What leaves the wallet is an update of its own: an upsert proposes a row with the bare amount, and PostgreSQL holds that
 * row against the check (no balance below zero) before it looks for the conflict.
 */
export async function postAll(
  em: EntityManager,
  movements: readonly { tx: Pick<Tx, 'accountId' | 'now'>; movement: Movement }[],
): Promise<void> {
  await em.flush();
  if (movements.length === 0) return;
  const posted = movements.map(({ tx, movement }) => {
    assertBalanced(movement.postings, movement.currency);
    const walletAmountMinor = movement.postings.find((p) => p.account === 'wallet')?.amountMinor ?? 0n;
    const grantsMinor = effectMinor(movement.grants ?? {});
    if (grantsMinor !== walletAmountMinor)
      throw new Error(`${movement.type} moves ${walletAmountMinor} of the wallet, ${grantsMinor} of its grants`);
    return { ...movement, id: newId(), accountId: tx.accountId, now: tx.now, walletAmountMinor };
  });
  if (new Set(posted.map((m) => m.accountId)).size !== posted.length)
    throw new Error('One movement for each account in one call');
  const legs = posted
    .flatMap((m) =>
      m.postings.map((p) => ({ ...p, accountId: m.accountId, transactionId: m.id, currency: m.currency })),
    )
    .sort((a, b) => compare(a.accountId, b.accountId) || compare(a.account, b.account));
  const rows = await rowsOf(
    em,
    sql`
      with leg as (
        select * from unnest(${legs.map((l) => l.accountId)}::uuid[], ${legs.map((l) => l.transactionId)}::uuid[],
          ${legs.map((l) => l.account)}::text[], ${legs.map((l) => l.currency)}::text[], ${legs.map((l) => l.amountMinor)}::bigint[],
          ${legs.map(() => newId())}::uuid[], ${legs.map(() => newId())}::uuid[])
          as l (account_id, transaction_id, kind, currency, amount_minor, posting_id, new_account_id)
      ), grown as (
        insert into ledger_account (account_id, id, kind, currency, balance_minor)
        select account_id, new_account_id, kind, currency, amount_minor from leg
        where kind <> 'wallet' or amount_minor > 0 order by account_id, kind
        on conflict (account_id, kind, currency) do update set balance_minor = ledger_account.balance_minor + excluded.balance_minor
        returning account_id, id, kind, currency, balance_minor
      ), spent as (
        update ledger_account a set balance_minor = a.balance_minor + leg.amount_minor
        from leg
        where leg.kind = 'wallet' and leg.amount_minor < 0
          and a.account_id = leg.account_id and a.kind = leg.kind and a.currency = leg.currency
        returning a.account_id, a.id, a.kind, a.currency, a.balance_minor
      ), balance as (
        select * from grown union all select * from spent
      ), movement as (
        insert into ledger_transaction
          (account_id, id, type, currency, reference_id, wallet_amount_minor, wallet_balance_after_minor, created_at)
        select m.account_id, m.id, m.type, m.currency, m.reference_id, m.wallet_amount_minor, balance.balance_minor, m.created_at
        from unnest(${posted.map((m) => m.accountId)}::uuid[], ${posted.map((m) => m.id)}::uuid[], ${posted.map((m) => m.type)}::text[],
          ${posted.map((m) => m.currency)}::text[], ${posted.map((m) => m.referenceId)}::uuid[],
          ${posted.map((m) => m.walletAmountMinor)}::bigint[], ${posted.map((m) => m.now)}::timestamptz[])
          as m (account_id, id, type, currency, reference_id, wallet_amount_minor, created_at)
        left join balance on balance.account_id = m.account_id and balance.kind = 'wallet' and balance.currency = m.currency
      )
      insert into ledger_posting (account_id, id, transaction_id, ledger_account_id, amount_minor, currency)
      select leg.account_id, leg.posting_id, leg.transaction_id, balance.id, leg.amount_minor, leg.currency
      from leg join balance using (account_id, kind, currency)
      returning id`,
  );
  if (rows.length !== legs.length) {
    const what = posted.map((m) => `${m.type} ${m.referenceId} in ${m.currency}`).join(', ');
    throw new Error(`A movement takes from a wallet that isn't there: one of ${what.slice(0, 500)}`);
  }
  await bookGrants(
    em,
    posted.flatMap(({ grants, id, accountId, now, currency, referenceId }) =>
      grants ? [{ subjectId: referenceId, ...grants, accountId, now, currency, transactionId: id }] : [],
    ),
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

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
