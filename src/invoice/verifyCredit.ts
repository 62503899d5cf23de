import { sql } from '../platform/sql.js';
import type { Finding, LedgerCheck } from '../wallet/ledgerCheck.js';

/** The parts of a note sum to its total; a void one has nothing left. */
const notesAreWhole: LedgerCheck = (accountIds) => sql<Finding>`
  with paid as (
    select account_id, credit_note_id as id, sum(amount_minor) as minor from credit_application
    where account_id = any(${accountIds}::uuid[]) group by account_id, credit_note_id
  ), note as (
    select n.account_id, n.id, n.status, n.currency, total_minor as total, balance_minor as balance,
      applied_to_invoice_minor + refunded_minor + returned_to_wallet_minor + balance_minor + coalesce(paid.minor, 0) as parts
    from credit_note n left join paid on paid.account_id = n.account_id and paid.id = n.id
    where n.account_id = any(${accountIds}::uuid[])
  )
  select account_id, 'credit_note_is_the_sum_of_its_parts' as rule, 'creditNote' as subject, id as subject_id, currency,
    total::text as expected, parts::text as found
  from note where status = 'ISSUED' and parts <> total
  union all
  select account_id, 'void_credit_note_has_no_balance', 'creditNote', id, currency, '0', balance::text
  from note where status = 'VOID' and balance <> 0`;

/**
 * What paid or credited an invoice sums to its total, and it is credited by exactly its notes, never beyond the tax of what it
 * charges.
 */
const invoicesAreWhole: LedgerCheck = (accountIds) => sql<Finding>`
  with noted as (
    select account_id, invoice_id as id, sum(total_minor) as total, sum(tax_minor) as tax from credit_note
    where account_id = any(${accountIds}::uuid[]) and status = 'ISSUED' group by account_id, invoice_id
  ), suspect as (
    select i.account_id, i.id, i.currency, i.total_minor as total, i.credit_noted_minor as said, (
        select coalesce(sum(case when rate.value -> 'charged' = 'null' then 0
          else coalesce(rate.value -> 'charged' ->> 'amountMinor', rate.value ->> 'amountMinor')::bigint end), 0)
        from jsonb_array_elements(i.taxes) rate where i.total_minor > 0) as tax,
      coalesce(noted.total, 0) as noted, coalesce(noted.tax, 0) as noted_tax, i.status not in ('DRAFT', 'VOID') as stands,
      credit_applied_minor + wallet_applied_minor + amount_paid_minor + amount_due_minor as parts
    from invoice i left join noted on noted.account_id = i.account_id and noted.id = i.id
    where i.account_id = any(${accountIds}::uuid[])
  )
  select account_id, rule, 'invoice' as subject, id as subject_id, currency, expected, found
  from suspect, lateral (values
    ('invoice_is_the_sum_of_what_pays_it', stands and parts <> total, total::text, parts::text),
    ('invoice_is_credited_by_its_notes', said <> noted, noted::text, said::text),
    ('invoice_is_not_credited_beyond_its_tax', noted_tax > tax, 'at most ' || tax, noted_tax::text)
  ) as r (rule, is_broken, expected, found)
  where is_broken`;

/** What holds of credit notes and of the invoices they credit, by themselves; verifyBooks holds them against the ledger. */
export const creditChecks: readonly LedgerCheck[] = [notesAreWhole, invoicesAreWhole];
