import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';
import type { Finding, LedgerCheck } from './ledgerCheck.js';
import { ledgerAccountKinds } from './wallet.entity.js';

/** Every movement sums to zero in its one currency, has two postings or more, is there once, and knows what it did to the wallet. */
const movementsAreWhole: LedgerCheck = () => sql<Finding>`
  select account_id, rule, 'ledgerMovement' as subject, id as subject_id, in_currency as currency, expected, found
  from movement, lateral (values
    ('posting_has_a_movement', type is null, null, 'a movement of these postings', 'none'),
    ('movement_sums_to_zero', sum <> 0, posted_currency, '0', sum::text),
    ('movement_has_two_postings', legs < 2, null, 'at least 2', legs::text),
    ('movement_has_one_currency', astray or currency <> posted_currency, null, currency, posted_currency || ' in its postings'),
    ('movement_knows_its_wallet_amount', wallet_amount_minor <> wallet, currency, wallet::text, wallet_amount_minor::text),
    ('movement_knows_its_wallet_balance', type is not null and of_wallet <> (wallet_balance_after_minor is not null), null,
      'the balance after it where it moved the wallet', 'the opposite')
  ) as r (rule, is_broken, in_currency, expected, found)
  where is_broken and (type is null or sum <> 0 or legs < 2 or astray or currency <> posted_currency
    or wallet_amount_minor <> wallet or of_wallet <> (wallet_balance_after_minor is not null))
  union all
  select account_id, 'movement_is_posted_once', type, null, null, 'one movement for ' || reference_id, count(*)::text
  from movement where currency = posted_currency group by account_id, type, reference_id having count(*) > 1`;

/** Every balance is the sum of its postings; the wallet's is never below zero. */
const balancesAreSums: LedgerCheck = (accountIds) => sql<Finding>`
  with posted as (
    select account_id, posted_currency as currency, ${sql.join(ledgerAccountKinds.map((kind) => sql`sum(${sql.id(kind)}) as ${sql.id(kind)}`))}
    from movement group by account_id, posted_currency
  ), balance as (
    select a.account_id, a.kind, a.currency, a.balance_minor as balance,
      coalesce(case a.kind ${sql.join(
        ledgerAccountKinds.map((kind) => sql`when ${sql.lit(kind)} then p.${sql.id(kind)}`),
        sql` `,
      )} end, 0) as sum
    from ledger_account a left join posted p on p.account_id = a.account_id and p.currency = a.currency
    where a.account_id = any(${accountIds}::uuid[])
  )
  select account_id, 'balance_is_the_sum_of_postings' as rule, kind as subject, null::uuid as subject_id, currency,
    sum::text as expected, balance::text as found
  from balance where balance <> sum
  union all
  select account_id, 'wallet_is_never_below_zero', kind, null, currency, 'at least 0', balance::text
  from balance where kind = 'wallet' and balance < 0`;

/**
 * The balances that the wallet's movements bear lead in steps from 0 to what is in it, none below zero. Ids order them as they
 * were made; between two processes whose clocks differ by the moment of a commit the order may be another, so an account is
 * only reported when no order fits: each balance must be left as often as it is reached.
 */
const walletsAreChains: LedgerCheck = (accountIds) => sql<Finding>`
  with step as (
    select account_id, currency, id, wallet_amount_minor as amount, wallet_balance_after_minor as after,
      wallet_balance_after_minor - wallet_amount_minor as before,
      lag(wallet_balance_after_minor, 1, 0) over (partition by account_id, currency order by id) as last
    from movement where wallet_amount_minor <> 0 or wallet_balance_after_minor is not null
  ), jump as (
    select distinct on (account_id, currency) account_id, currency, id, last + amount as expected, after as found
    from step where before is distinct from last order by account_id, currency, id
  ), visit as (
    select account_id, currency, after as balance, 1 as times from step join jump using (account_id, currency)
    union all select account_id, currency, before, -1 from step join jump using (account_id, currency)
    union all select account_id, currency, 0, 1 from jump
    union all select account_id, currency, balance_minor, -1 from ledger_account join jump using (account_id, currency)
      where account_id = any(${accountIds}::uuid[]) and kind = 'wallet'
  ), torn as (
    select distinct account_id, currency from (
      select account_id, currency from visit group by account_id, currency, balance having sum(times) <> 0
    ) v
  )
  select account_id, 'wallet_balances_form_a_chain' as rule, 'ledgerMovement' as subject, id as subject_id, currency,
    coalesce(expected::text, 'a balance') as expected, coalesce(found::text, 'none') as found
  from jump join torn using (account_id, currency)
  union all
  select account_id, 'wallet_is_never_below_zero', 'ledgerMovement', id, currency, 'at least 0', after::text from step where after < 0`;

/** What holds of the ledger by itself. */
export const ledgerChecks: readonly LedgerCheck[] = [movementsAreWhole, balancesAreSums, walletsAreChains];

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
