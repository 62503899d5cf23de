import type { LedgerAccountKind } from '../domain/ledger.js';
import type { IdKind } from '../platform/ids.js';
import { sql } from '../platform/sql.js';
import type { Finding, LedgerCheck } from '../wallet/ledgerCheck.js';
import { movementDocuments } from '../wallet/movementDocuments.js';

// Holds what was invoiced, paid and given back against the ledger: each document has its movement, over its amount, and nothing
// else has one. A movement posted twice for one document is a matter of the ledger itself (wallet/verifyLedger).

const typesOf = (document: IdKind): string[] =>
  Object.entries(movementDocuments).flatMap(([type, of]) => (of === document ? [type] : []));

/** Every movement has the document its type speaks of. */
const movementsHaveDocuments: LedgerCheck = (accountIds) => sql<Finding>`
  with known as (
    select type, coalesce(document, 'entries in grants') as document
    from unnest(${Object.keys(movementDocuments)}::text[], ${Object.values(movementDocuments)}::text[]) as k (type, document)
  ), document as (
    select account_id, 'payment' as document, id from payment where account_id = any(${accountIds}::uuid[])
    union all select account_id, 'invoice', id from invoice where account_id = any(${accountIds}::uuid[])
    union all select account_id, 'creditNote', id from credit_note where account_id = any(${accountIds}::uuid[])
    union all select account_id, 'refund', id from refund where account_id = any(${accountIds}::uuid[])
    union all select account_id, 'creditGrant', id from wallet_grant where account_id = any(${accountIds}::uuid[])
    union all select account_id, 'hold', id from wallet_hold where account_id = any(${accountIds}::uuid[]) and status = 'CAPTURED'
    union all select distinct account_id, 'entries in grants', subject_id from wallet_grant_entry where account_id = any(${accountIds}::uuid[])
  )
  select t.account_id, 'movement_has_its_document' as rule, 'ledgerMovement' as subject, t.id as subject_id, null as currency,
    coalesce('its ' || known.document, 'a type of movement that is known') as expected,
    case when known.type is null then t.type else 'none for a movement ' || t.type end as found
  from movement t left join known on known.type = t.type
    left join document d on d.account_id = t.account_id and d.document = known.document and d.id = t.reference_id
  where t.type is not null and d.id is null`;

/** What the movements of one type moved on an account of the chart, for each document. */
const moved = (type: string, kind: LedgerAccountKind) =>
  sql`coalesce(sum(${sql.id(kind)}) filter (where type = ${sql.lit(type)}), 0)`;

interface DocumentRule {
  rule: string;
  /** Amounts in minor units: what the document says, and what the ledger has of it. */
  expected: ReturnType<typeof sql>;
  found: ReturnType<typeof sql>;
}

/**
 * Findings among the documents of `from`, whose columns are `account_id`, `id`, `currency` and what the rules name. Documents that
 * are as booked, nearly all, are told by one comparison.
 */
const differing = (subject: IdKind, from: ReturnType<typeof sql>, rules: readonly DocumentRule[]) => sql<Finding>`
  select account_id, r.rule, ${sql.lit(subject)} as subject, id as subject_id, currency, r.expected::text, r.found::text
  from (
    select account_id, id, currency,
      array[${sql.join(rules.map(({ expected }) => expected))}]::numeric[] as expected,
      array[${sql.join(rules.map(({ found }) => sql`coalesce(${found}, 0)`))}]::numeric[] as found
    from ${from}
  ) d, unnest(array[${sql.join(rules.map(({ rule }) => sql.lit(rule)))}], d.expected, d.found) as r (rule, expected, found)
  where d.expected <> d.found and r.expected <> r.found`;

/** Money that moved is booked, once, to the wallet or to the invoice it pays; other payments move nothing. */
const paymentsAreBooked: LedgerCheck = (accountIds) =>
  differing(
    'payment',
    sql`payment left join (
      select account_id, reference_id as id, ${moved('top_up', 'wallet')} as to_wallet, ${moved('invoice_payment', 'receivable')} as to_invoice
      from movement where type = any(${typesOf('payment')}::text[]) group by account_id, reference_id
    ) booked using (account_id, id) where account_id = any(${accountIds}::uuid[])`,
    [
      {
        rule: 'payment_is_booked_once',
        expected: sql`case when status in ('SUCCEEDED', 'REFUNDED') then amount_minor else 0 end`,
        found: sql`to_wallet + to_invoice`,
      },
      {
        rule: 'top_up_pays_no_invoice',
        expected: sql`0`,
        found: sql`case when purpose <> 'invoice' then to_invoice end`,
      },
    ],
  );

/** What lines and tax of an invoice sum below zero. */
const belowZero = sql`case when total_minor > 0 then 0 else greatest(0, discount_minor - subtotal_minor - (
  select coalesce(sum((rate.value ->> 'amountMinor')::bigint), 0) from jsonb_array_elements(taxes) rate
  where not (rate.value ->> 'inclusive')::boolean)) end`;

/**
 * A final invoice is booked over its total and tax, a void one taken back as far as its notes had left of it; what credit, wallet
 * and cards paid of it is what it says. Lines that sum below zero went to the wallet.
 */
const invoicesAreBooked: LedgerCheck = (accountIds) =>
  differing(
    'invoice',
    sql`(
      select *, status <> 'DRAFT' as final, status = 'VOID' as void, ${belowZero} as below_zero_minor
      from invoice where account_id = any(${accountIds}::uuid[])
    ) invoice
    left join (
      select account_id, reference_id as id, -${moved('invoice_issued', 'receivable')} as issued, ${moved('invoice_issued', 'tax')} as issued_tax,
        ${moved('invoice_voided', 'receivable')} as voided, -${moved('invoice_voided', 'tax')} as voided_tax,
        ${moved('credit', 'wallet')} as granted, ${moved('credit', 'tax')} as granted_tax,
        ${moved('wallet_payment', 'receivable')} as drawn, ${moved('wallet_payment_returned', 'wallet')} as undrawn,
        ${moved('credit_applied', 'receivable')} as credited, ${moved('credit_returned', 'customer_credit')} as uncredited
      from movement where type = any(${typesOf('invoice')}::text[]) group by account_id, reference_id
    ) booked using (account_id, id)
    left join (
      select account_id, invoice_id as id, sum(total_minor) as noted, sum(tax_minor) as noted_tax, sum(applied_to_invoice_minor) as lowered
      from credit_note where account_id = any(${accountIds}::uuid[]) and status = 'ISSUED' group by account_id, invoice_id
    ) note using (account_id, id)
    left join (
      select account_id, invoice_id as id, sum(amount_minor) as applied
      from credit_application where account_id = any(${accountIds}::uuid[]) group by account_id, invoice_id
    ) application using (account_id, id)
    left join (
      select p.account_id, p.subject_id as id, sum(m.receivable) as paid
      from payment p join movement m on m.account_id = p.account_id and m.reference_id = p.id and m.type = 'invoice_payment'
      where p.account_id = any(${accountIds}::uuid[]) group by p.account_id, p.subject_id
    ) payment using (account_id, id)`,
    [
      {
        rule: 'invoice_is_booked_once',
        expected: sql`case when final then total_minor else 0 end`,
        found: sql`issued`,
      },
      {
        rule: 'invoice_tax_is_booked_once',
        expected: sql`case when final and below_zero_minor = 0 then tax_minor else 0 end`,
        found: sql`issued_tax`,
      },
      {
        rule: 'void_invoice_is_taken_back',
        expected: sql`case when void then total_minor - coalesce(noted, 0) else 0 end`,
        found: sql`voided`,
      },
      {
        rule: 'void_invoice_tax_is_taken_back',
        expected: sql`case when void then tax_minor - coalesce(noted_tax, 0) else 0 end`,
        found: sql`voided_tax`,
      },
      {
        rule: 'invoice_below_zero_goes_to_the_wallet',
        // What was paid for a change that could not take effect any more went to the wallet as well, less the notes of that time.
        expected: sql`case when status = 'PAID' and reason in ('subscription_change', 'subscription_resume')
          and granted between 1 and total_minor then granted when final then below_zero_minor else 0 end`,
        found: sql`granted`,
      },
      {
        rule: 'invoice_below_zero_gives_tax_back',
        expected: sql`case when final and below_zero_minor > 0 then tax_minor else 0 end`,
        found: sql`granted_tax`,
      },
      {
        rule: 'wallet_payment_is_booked_once',
        expected: sql`case when final then wallet_applied_minor else 0 end`,
        found: sql`drawn`,
      },
      {
        rule: 'wallet_payment_of_a_void_invoice_is_returned',
        expected: sql`case when void then wallet_applied_minor else 0 end`,
        found: sql`undrawn`,
      },
      {
        rule: 'credit_is_applied_once',
        expected: sql`case when final then credit_applied_minor - coalesce(lowered, 0) else 0 end`,
        found: sql`credited`,
      },
      {
        rule: 'credit_of_a_void_invoice_is_returned',
        expected: sql`case when void then coalesce(credited, 0) else 0 end`,
        found: sql`uncredited`,
      },
      {
        rule: 'applied_credit_comes_from_notes',
        expected: sql`case when void then 0 else coalesce(credited, 0) end`,
        found: sql`applied`,
      },
      { rule: 'invoice_is_paid_by_its_payments', expected: sql`amount_paid_minor`, found: sql`paid` },
    ],
  );

/** A credit note is booked over its parts as they were at its issue, a void one taken back whole. */
const creditNotesAreBooked: LedgerCheck = (accountIds) =>
  differing(
    'creditNote',
    sql`credit_note
    left join (
      select account_id, reference_id as id,
        -${moved('credit_note', 'revenue')} - ${moved('credit_note', 'tax')} as issued, -${moved('credit_note', 'tax')} as issued_tax,
        ${moved('credit_note', 'receivable')} as lowered, ${moved('credit_note', 'wallet')} as returned,
        ${moved('credit_note', 'refunds_payable')} as refunded,
        -${moved('credit_note_voided', 'customer_credit')} as voided, ${moved('credit_note_voided', 'tax')} as voided_tax
      from movement where type = any(${typesOf('creditNote')}::text[]) group by account_id, reference_id
    ) booked using (account_id, id)
    left join (
      select account_id, subject_id as id, sum(amount_minor) as sent
      from refund where account_id = any(${accountIds}::uuid[]) group by account_id, subject_id
    ) refund using (account_id, id)
    where account_id = any(${accountIds}::uuid[])`,
    [
      { rule: 'credit_note_is_booked_once', expected: sql`total_minor`, found: sql`issued` },
      { rule: 'credit_note_tax_is_booked_once', expected: sql`tax_minor`, found: sql`issued_tax` },
      { rule: 'credit_note_lowers_its_invoice', expected: sql`applied_to_invoice_minor`, found: sql`lowered` },
      { rule: 'credit_note_returns_to_the_wallet', expected: sql`returned_to_wallet_minor`, found: sql`returned` },
      { rule: 'credit_note_goes_back_by_refunds', expected: sql`coalesce(sent, 0)`, found: sql`refunded` },
      {
        rule: 'void_credit_note_is_taken_back',
        expected: sql`case when status = 'VOID' then total_minor else 0 end`,
        found: sql`voided`,
      },
      {
        rule: 'void_credit_note_tax_is_taken_back',
        expected: sql`case when status = 'VOID' then tax_minor else 0 end`,
        found: sql`voided_tax`,
      },
    ],
  );

/** A refund that went back is booked once, one that failed became credit, one on its way is neither yet. */
const refundsAreBooked: LedgerCheck = (accountIds) =>
  differing(
    'refund',
    sql`refund left join (
      select account_id, reference_id as id, ${moved('refund', 'provider_clearing')} as sent,
        -${moved('refund_returned', 'provider_clearing')} as returned,
        ${moved('refund_failed', 'customer_credit')} + ${moved('refund_failed', 'wallet')} as failed,
        ${moved('top_up_refund', 'refunds_payable')} as taken
      from movement where type = any(${typesOf('refund')}::text[]) group by account_id, reference_id
    ) booked using (account_id, id) where account_id = any(${accountIds}::uuid[])`,
    [
      {
        rule: 'refund_is_booked_once',
        expected: sql`case when status = 'SUCCEEDED' then amount_minor else 0 end`,
        found: sql`sent - returned`,
      },
      {
        rule: 'top_up_refund_is_taken_once',
        expected: sql`case when purpose = 'top_up' then amount_minor else 0 end`,
        found: sql`taken`,
      },
      {
        rule: 'failed_refund_becomes_credit',
        expected: sql`case when status = 'FAILED' then amount_minor else 0 end`,
        found: sql`case status when 'FAILED' then greatest(failed, returned) when 'PENDING' then failed end`,
      },
    ],
  );

/**
 * The balances of the chart are what the documents come to: `receivable` what open and uncollectible invoices are due, `revenue`
 * and `tax` the final invoices less credit notes, what was captured of holds and bought credit that expired (lines below zero are credit, but for tax given back beyond them), `provider_clearing` payments less refunds, `refunds_payable` what is on its
 * way back, `customer_credit` what is left of the notes. A void invoice and its notes come to nothing.
 */
const balancesAreDocuments: LedgerCheck = (accountIds) => sql<Finding>`
  with standing as (
    select account_id, id, currency, total_minor as total, tax_minor as tax, amount_due_minor as due, ${belowZero} as below_zero
    from invoice where account_id = any(${accountIds}::uuid[]) and status not in ('DRAFT', 'VOID')
  ), part as (
    select account_id, currency, v.kind, v.minor from standing, lateral (values
      ('receivable', -due), ('revenue', case when below_zero = 0 then total - tax else greatest(0, -tax - below_zero) end), ('tax', tax)) as v (kind, minor)
    union all
    select n.account_id, n.currency, v.kind, v.minor
    from credit_note n left join standing s on s.account_id = n.account_id and s.id = n.invoice_id,
    lateral (values ('customer_credit', n.balance_minor),
      ('revenue', case when n.status = 'ISSUED' and s.id is not null then n.tax_minor - n.total_minor else 0 end),
      ('tax', case when n.status = 'ISSUED' and s.id is not null then -n.tax_minor else 0 end)) as v (kind, minor)
    where n.account_id = any(${accountIds}::uuid[])
    union all
    select account_id, currency, 'provider_clearing', -amount_minor from payment
    where account_id = any(${accountIds}::uuid[]) and status in ('SUCCEEDED', 'REFUNDED')
    union all
    select account_id, currency, case status when 'PENDING' then 'refunds_payable' else 'provider_clearing' end, amount_minor
    from refund where account_id = any(${accountIds}::uuid[]) and status in ('PENDING', 'SUCCEEDED')
    union all
    select account_id, currency, 'revenue', captured_minor from wallet_hold where account_id = any(${accountIds}::uuid[])
    union all
    select g.account_id, g.currency, 'revenue', -e.amount_minor
    from wallet_grant_entry e join wallet_grant g on g.account_id = e.account_id and g.id = e.grant_id and g.kind = 'purchased'
      join movement m on m.account_id = e.account_id and m.id = e.transaction_id and m.type = 'credit_expired'
    where e.account_id = any(${accountIds}::uuid[])
  ), documented as (
    select account_id, currency, kind, sum(minor) as minor from part group by account_id, currency, kind
  ), ledger as (
    select account_id, currency, kind, balance_minor as minor from ledger_account
    where account_id = any(${accountIds}::uuid[]) and kind not in ('wallet', 'granted_credit')
  )
  select coalesce(d.account_id, l.account_id) as account_id,
    coalesce(d.kind, l.kind) || '_is_what_documents_say' as rule, coalesce(d.kind, l.kind) as subject, null::uuid as subject_id,
    coalesce(d.currency, l.currency) as currency, coalesce(d.minor, 0)::text as expected, coalesce(l.minor, 0)::text as found
  from documented d full join ledger l on l.account_id = d.account_id and l.currency = d.currency and l.kind = d.kind
  where coalesce(d.minor, 0) <> coalesce(l.minor, 0)`;

/** Invoices and credit notes are numbered 1, 2, 3 … without a gap, up to the last number given. */
const numbersHaveNoGaps: LedgerCheck = (accountIds) => sql<Finding>`
  with numbered as (
    select account_id, 'numbers of invoices' as series, substring(number from '[0-9]+$')::int as n from invoice
    where account_id = any(${accountIds}::uuid[]) and number is not null
    union all
    select account_id, 'numbers of credit notes', substring(number from '[0-9]+$')::int from credit_note
    where account_id = any(${accountIds}::uuid[])
  ), counted as (
    select account_id, series, count(*) as count, count(distinct n) as different, max(n) as highest
    from numbered group by account_id, series
  ), given as (
    select id as account_id, series, last from account, lateral (values
      ('numbers of invoices', last_invoice_number), ('numbers of credit notes', last_credit_note_number)) as v (series, last)
    where id = any(${accountIds}::uuid[])
  )
  select account_id, 'numbers_have_no_gaps' as rule, series as subject, null::uuid as subject_id, null as currency,
    last || ' numbers, 1 to ' || last as expected,
    coalesce(count, 0) || ' up to ' || coalesce(highest, 0) || coalesce(', without ' || (
      select string_agg(n::text, ', ' order by n) from (
        select n from generate_series(1, last) n
        except select n.n from numbered n where n.account_id = given.account_id and n.series = given.series
        order by n limit 5) missing), '') as found
  from given left join counted using (account_id, series)
  where coalesce(count, 0) <> last or coalesce(different, 0) <> last or coalesce(highest, 0) <> last`;

export const bookChecks: readonly LedgerCheck[] = [
  movementsHaveDocuments,
  paymentsAreBooked,
  invoicesAreBooked,
  creditNotesAreBooked,
  refundsAreBooked,
  balancesAreDocuments,
  numbersHaveNoGaps,
];
