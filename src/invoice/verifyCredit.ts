import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from '../platform/sql.js';

/**
 * What holds of an account's credit notes and refunds at any time: the parts of a note sum to its total, no invoice is
 * credited beyond what it came to, and the parts of an invoice sum to its total; what is left of the notes is the ledger's
 * customer_credit, what is on its way back its refunds_payable. Returns what is broken, one line each; empty when all is sound.
 */
export async function creditViolations(em: EntityManager, accountId: string): Promise<string[]> {
  const split = await rowsOf(
    em,
    sql<{ number: string }>`
      select number from credit_note n where account_id = ${accountId} and total_minor <>
          applied_to_invoice_minor + refunded_minor + returned_to_wallet_minor + balance_minor
          + (select coalesce(sum(amount_minor), 0) from credit_application a where a.account_id = n.account_id and a.credit_note_id = n.id)
        and status = 'ISSUED' or account_id = ${accountId} and status = 'VOID' and balance_minor <> 0`,
  );
  const invoices = await rowsOf(
    em,
    sql<{ number: string }>`
      select number from invoice i where account_id = ${accountId} and (
          credit_noted_minor <> (select coalesce(sum(total_minor), 0) from credit_note n
            where n.account_id = i.account_id and n.invoice_id = i.id and n.status = 'ISSUED')
          or (select coalesce(sum(case when tax -> 'charged' = 'null' then 0
                else coalesce(tax -> 'charged' ->> 'amountMinor', tax ->> 'amountMinor')::bigint end), 0)
              from jsonb_array_elements(i.taxes) tax where i.total_minor > 0) < (select coalesce(sum(tax_minor), 0) from credit_note n
            where n.account_id = i.account_id and n.invoice_id = i.id and n.status = 'ISSUED')
          or status not in ('DRAFT', 'VOID')
            and total_minor <> credit_applied_minor + wallet_applied_minor + amount_paid_minor + amount_due_minor)`,
  );
  const [kept] = await rowsOf(
    em,
    sql<Record<'credit' | 'booked' | 'underway' | 'payable', string>>`
      select (select coalesce(sum(balance_minor), 0)::text from credit_note where account_id = ${accountId}) as credit,
        (select coalesce(sum(balance_minor), 0)::text from ledger_account
         where account_id = ${accountId} and kind = 'customer_credit') as booked,
        (select coalesce(sum(amount_minor), 0)::text from refund where account_id = ${accountId} and status = 'PENDING') as underway,
        (select coalesce(sum(balance_minor), 0)::text from ledger_account
         where account_id = ${accountId} and kind = 'refunds_payable') as payable`,
  );
  const { credit, booked, underway, payable } = kept!;
  return [
    ...split.map(({ number }) => `the parts of credit note ${number} don't sum to its total`),
    ...invoices.map(({ number }) => `what paid or credited invoice ${number} doesn't sum to its total`),
    ...(credit === booked ? [] : [`credit notes have ${credit} left, the ledger ${booked}`]),
    ...(underway === payable ? [] : [`${underway} is on its way back, the ledger says ${payable}`]),
  ];
}
