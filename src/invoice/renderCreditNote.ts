import { paymentMethodsByIds, paymentsByIds } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { linesByCreditNoteIds, ownCreditNote, refundsByCreditNoteIds } from './creditNotes.js';
import { type CreditNoteDocument, describeCreditNote } from './creditNoteText.js';
import { Invoice } from './invoice.entity.js';
import { green, red, renderPaper } from './pdf.js';
import { describeMethod } from './renderInvoice.js';

/** The account's credit note as a PDF. NOT_FOUND for every other; the same bytes as long as the note stays the same. */
export async function creditNotePdf(
  deps: Pick<Deps, 'db' | 'seller'>,
  actor: Actor,
  creditNoteId: string,
): Promise<{ fileName: string; pdf: Buffer }> {
  requireScope(actor, 'invoices:read');
  const { accountId } = actor;
  const em = deps.db.orm.em.fork();
  const note = await ownCreditNote(em, accountId, creditNoteId);
  const invoice = await em.findOneOrFail(Invoice, { accountId, id: note.invoiceId });
  const lines = (await linesByCreditNoteIds(em, accountId, [note.id])).get(note.id) ?? [];
  const refunds = ((await refundsByCreditNoteIds(em, accountId, [note.id])).get(note.id) ?? []).filter(
    ({ status }) => status !== 'FAILED',
  );
  const payments = await paymentsByIds(
    em,
    accountId,
    refunds.map(({ paymentId }) => paymentId),
  );
  const methods = await paymentMethodsByIds(
    em,
    accountId,
    [...payments.values()].map(({ paymentMethodId }) => paymentMethodId),
  );

  const pdf = await renderCreditNotePdf({
    number: note.number,
    status: note.status,
    invoice: { number: invoice.number ?? '', issuedAt: invoice.issuedAt ?? null },
    reason: note.reason,
    seller: { name: deps.seller.name, lines: [...deps.seller.lines] },
    customer: { name: note.customerName, lines: [] },
    currency: note.currency,
    timeZone: note.timeZone,
    issuedAt: note.issuedAt,
    voidedAt: note.voidedAt ?? null,
    lines: lines.map(({ description, amountMinor }) => ({ description, amountMinor })),
    subtotalMinor: note.subtotalMinor,
    taxes: note.taxes.map((tax) => ({ ...tax, amountMinor: BigInt(tax.amountMinor) })),
    totalMinor: note.totalMinor,
    appliedToInvoiceMinor: note.appliedToInvoiceMinor,
    returnedToWalletMinor: note.returnedToWalletMinor,
    refunds: refunds.map(({ paymentId, settledAt, amountMinor }) => ({
      at: settledAt ?? null,
      description: describeMethod(methods.get(payments.get(paymentId)!.paymentMethodId)),
      amountMinor,
    })),
  });
  return { fileName: `${note.number}.pdf`, pdf };
}

/** The credit note on paper like an invoice; see `renderInvoicePdf`. */
export const renderCreditNotePdf = (document: CreditNoteDocument): Promise<Buffer> =>
  renderPaper({
    heading: 'Credit note',
    tone: document.status === 'VOID' ? red : green,
    seller: document.seller,
    customer: document.customer,
    customerHeading: 'Credit to',
    text: describeCreditNote(document),
    columns: ['amount'],
    paymentsHeading: 'What becomes of it',
    createdAt: new Date(document.issuedAt.getTime()),
  });
