import { sql } from '../platform/sql.js';
import type { Finding, LedgerCheck } from './ledgerCheck.js';

/** What is left of all grants is the wallet's balance; what they keep is what open holds keep. */
const grantsAreTheBalance: LedgerCheck = (accountIds) => sql<Finding>`
  with part as (
    select account_id, currency, remaining_minor as left_over, held_minor as kept, 0 as balance, 0 as held
    from wallet_grant where account_id = any(${accountIds}::uuid[])
    union all
    select account_id, currency, 0, 0, balance_minor, 0
    from ledger_account where account_id = any(${accountIds}::uuid[]) and kind = 'wallet'
    union all
    select account_id, currency, 0, 0, 0, amount_minor
    from wallet_hold where account_id = any(${accountIds}::uuid[]) and status = 'OPEN'
  ), summed as (
    select account_id, currency, sum(left_over) as left_over, sum(kept) as kept, sum(balance) as balance, sum(held) as held
    from part group by account_id, currency
  )
  select account_id, r.rule, 'wallet' as subject, null::uuid as subject_id, currency, r.expected::text, r.found::text
  from summed, lateral (values
    ('grants_are_the_balance', balance, left_over), ('grants_keep_what_is_held', held, kept)) as r (rule, expected, found)
  where r.expected <> r.found`;

/** Of each grant what is left is what it began with and its entries, and it keeps no more than that. */
const grantsAreTheirEntries: LedgerCheck = (accountIds) => sql<Finding>`
  with entered as (
    select account_id, grant_id as id, sum(amount_minor) as minor
    from wallet_grant_entry where account_id = any(${accountIds}::uuid[]) group by account_id, grant_id
  ), grants as (
    select g.account_id, g.id, g.currency, g.remaining_minor, g.held_minor, g.amount_minor + coalesce(e.minor, 0) as expected
    from wallet_grant g left join entered e on e.account_id = g.account_id and e.id = g.id
    where g.account_id = any(${accountIds}::uuid[])
  )
  select account_id, 'grant_is_its_entries' as rule, 'creditGrant' as subject, id as subject_id, currency,
    expected::text as expected, remaining_minor::text as found
  from grants where remaining_minor <> expected
  union all
  select account_id, 'grant_keeps_what_is_left', 'creditGrant', id, currency, '0 to ' || remaining_minor, held_minor::text
  from grants where held_minor < 0 or held_minor > remaining_minor`;

/** A movement takes from grants what it takes from the wallet. What puts something in may make a grant, or give back to some. */
const movementsTakeFromGrants: LedgerCheck = (accountIds) => sql<Finding>`
  select m.account_id, 'movement_takes_from_grants' as rule, 'ledgerMovement' as subject, m.id as subject_id, m.currency,
    case when m.wallet < 0 then m.wallet::text else 'at most ' || m.wallet end as expected, e.minor::text as found
  from movement m join (
    select account_id, transaction_id, sum(amount_minor) as minor
    from wallet_grant_entry where account_id = any(${accountIds}::uuid[]) group by account_id, transaction_id
  ) e on e.account_id = m.account_id and e.transaction_id = m.id
  where m.wallet < 0 and e.minor <> m.wallet or m.wallet >= 0 and e.minor > m.wallet`;

const holdsAreTheirParts: LedgerCheck = (accountIds) => sql<Finding>`
  with parts as (
    select account_id, hold_id as id, sum(amount_minor) as minor
    from wallet_hold_part where account_id = any(${accountIds}::uuid[]) group by account_id, hold_id
  )
  select h.account_id, 'hold_is_its_parts' as rule, 'hold' as subject, h.id as subject_id, h.currency,
    h.amount_minor::text as expected, coalesce(parts.minor, 0)::text as found
  from wallet_hold h left join parts on parts.account_id = h.account_id and parts.id = h.id
  where h.account_id = any(${accountIds}::uuid[]) and h.amount_minor <> coalesce(parts.minor, 0)`;

/** What holds of an account's credit at any time. */
export const grantChecks: readonly LedgerCheck[] = [
  grantsAreTheBalance,
  grantsAreTheirEntries,
  movementsTakeFromGrants,
  holdsAreTheirParts,
];
