import type { EntityManager } from '@mikro-orm/postgresql';
import type { CreditableInvoice, CreditableLine, LineCredit } from '../domain/creditNote.js';
import { rowsOf, sql } from '../platform/sql.js';
import { creditNotesByInvoiceIds, linesByCreditNoteIds } from './creditNotes.js';
import { takenBackMinor } from './decideInvoice.js';
import type { Invoice, InvoiceLine, InvoiceTax, LineTaxRate } from './invoice.entity.js';

const taxAmount = (tax: { taxableMinor: string; amountMinor: string }) => ({
  taxableMinor: BigInt(tax.taxableMinor),
  amountMinor: BigInt(tax.amountMinor),
});

/** All that deciding a note looks at; whoever writes what follows holds the invoice's row lock, which every note of it needs. */
export async function creditableInvoice(
  em: EntityManager,
  invoice: Invoice,
  lines: readonly InvoiceLine[],
): Promise<CreditableInvoice> {
  const { accountId } = invoice;
  const notes = (await creditNotesByInvoiceIds(em, accountId, [invoice.id])).get(invoice.id) ?? [];
  const issued = notes.filter(({ status }) => status === 'ISSUED');
  const noteLines = await linesByCreditNoteIds(
    em,
    accountId,
    issued.map(({ id }) => id),
  );
  // What a payment has paid of this invoice is what was posted for it: money that came too late went to the wallet.
  const payments = await rowsOf(
    em,
    sql<{ id: string; refundable: string }>`
      select payment.id, (posting.amount_minor - coalesce((
          select sum(refund.amount_minor) from refund
          where refund.account_id = ${accountId} and refund.payment_id = payment.id and refund.purpose = 'credit_note'
            and refund.status <> 'FAILED'), 0))::text as refundable
      from payment
      join ledger_transaction paid on paid.account_id = payment.account_id and paid.type = 'invoice_payment'
        and paid.reference_id = payment.id
      join ledger_posting posting on posting.account_id = paid.account_id and posting.transaction_id = paid.id
        and posting.amount_minor > 0
      where payment.account_id = ${accountId} and payment.subject_id = ${invoice.id}
      order by payment.settled_at desc, payment.id desc`,
  );
  return {
    number: invoice.number ?? '',
    status: invoice.status,
    currency: invoice.currency,
    totalMinor: invoice.totalMinor,
    amountDueMinor: invoice.amountDueMinor,
    taxes: invoice.taxes.map((tax) => ({ inclusive: tax.inclusive, ...taxAmount(chargedOf(tax)) })),
    lines: chargedLines(invoice, lines),
    creditNotes: issued.map((note) => ({
      totalMinor: note.totalMinor,
      taxes: note.taxes.map(taxAmount),
      lines: (noteLines.get(note.id) ?? []).map((line) => ({
        lineId: line.invoiceLineId,
        amountMinor: line.amountMinor,
      })),
    })),
    creditedLater: await creditedByLater(em, invoice, lines),
    payments: payments.map(({ id, refundable }) => ({ id, refundableMinor: BigInt(refundable) })),
    walletReturnableMinor:
      invoice.walletAppliedMinor - issued.reduce((sum, note) => sum + note.returnedToWalletMinor, 0n),
  };
}

/** Of a tax: what is on the charges of its invoice. */
const chargedOf = (tax: InvoiceTax) =>
  tax.charged === undefined ? tax : (tax.charged ?? { taxableMinor: '0', amountMinor: '0' });

const sameRates = (some: readonly LineTaxRate[], others: readonly LineTaxRate[]): boolean => {
  const shown = (rates: readonly LineTaxRate[]) =>
    JSON.stringify(rates.map(({ name, percent, inclusive }) => [name, percent, inclusive]));
  return shown(some) === shown(others);
};

/** The rates of an invoice's own charges. */
export const ratesOf = ({ taxes }: Pick<Invoice, 'taxes'>): LineTaxRate[] =>
  taxes.filter(({ charged }) => charged !== null).map(({ name, percent, inclusive }) => ({ name, percent, inclusive }));

/** The lines but those that give back what was taxed at other rates: these have paid for a part of the others. */
function chargedLines(invoice: Invoice, lines: readonly InvoiceLine[]): CreditableLine[] {
  const own = ratesOf(invoice);
  return lines
    .filter(({ taxRates }) => taxRates == null || sameRates(taxRates, own))
    .map((line) => ({ ...line, takenBackMinor: takenBackMinor(line, lines) }));
}

/** What later invoices have given back of these lines; a change that is declined gives nothing back. */
async function creditedByLater(
  em: EntityManager,
  { accountId, id }: Invoice,
  lines: readonly InvoiceLine[],
): Promise<LineCredit[]> {
  const rows = await rowsOf(
    em,
    sql<{ id: string; credited: string }>`
      select line.credits_line_id as id, (-sum(line.amount_minor))::text as credited
      from invoice_line line join invoice on invoice.account_id = line.account_id and invoice.id = line.invoice_id
      where line.account_id = ${accountId} and line.credits_line_id = any(${lines.map((line) => line.id)}::uuid[])
        and invoice.id <> ${id} and invoice.status <> 'VOID'
      group by line.credits_line_id`,
  );
  return rows.map((row) => ({ lineId: row.id, amountMinor: BigInt(row.credited) }));
}
