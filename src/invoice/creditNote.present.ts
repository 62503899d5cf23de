import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import { majorUnits } from '../domain/money.js';
import type { creditNote, noteRefund, Shape } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import type { Refund } from '../payment/payment.entity.js';
import { presentRefund } from '../payment/payment.present.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { CreditNote } from './creditNote.entity.js';
import { linesByCreditNoteIds, refundsByCreditNoteIds } from './creditNotes.js';

const amountIn = (currency: string) => (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency }));

/** A refund with the credit note it belongs to; also the `data` of its events. */
export const presentNoteRefund = (refund: Refund): Shape<typeof noteRefund> => {
  const { id, ...rest } = presentRefund(refund);
  return { id, credit_note_id: publicId('creditNote', refund.subjectId), ...rest };
};

/** REST shape of credit notes with their lines and refunds; also the `data` of their events. Amounts in major units. */
export async function presentCreditNotes(
  em: EntityManager,
  accountId: string,
  notes: readonly CreditNote[],
): Promise<Shape<typeof creditNote>[]> {
  const ids = notes.map(({ id }) => id);
  const lines = await linesByCreditNoteIds(em, accountId, ids);
  const refunds = await refundsByCreditNoteIds(em, accountId, ids);
  return notes.map((note) => {
    const amount = amountIn(note.currency);
    return {
      id: publicId('creditNote', note.id),
      number: note.number,
      invoice_id: publicId('invoice', note.invoiceId),
      kind: lowerCase(note.kind),
      status: lowerCase(note.status),
      reason: note.reason,
      currency: note.currency,
      subtotal: amount(note.subtotalMinor),
      tax: amount(note.taxMinor),
      taxes: note.taxes.map((tax) => ({
        name: tax.name,
        percent: rawNumber(new Decimal(tax.percent).toFixed()),
        inclusive: tax.inclusive,
        taxable: amount(BigInt(tax.taxableMinor)),
        amount: amount(BigInt(tax.amountMinor)),
      })),
      total: amount(note.totalMinor),
      applied_to_invoice: amount(note.appliedToInvoiceMinor),
      refunded: amount(note.refundedMinor),
      returned_to_wallet: amount(note.returnedToWalletMinor),
      balance: amount(note.balanceMinor),
      issued_at: note.issuedAt.toISOString(),
      voided_at: note.voidedAt?.toISOString() ?? null,
      lines: (lines.get(note.id) ?? []).map((line) => ({
        invoice_line_id: publicId('invoiceLine', line.invoiceLineId),
        description: line.description,
        amount: amount(line.amountMinor),
      })),
      refunds: (refunds.get(note.id) ?? []).map(presentNoteRefund),
      pdf_url: creditNotePdfPath(note.id),
    };
  });
}

/** Path of the credit note's PDF, behind the same token as everything else. */
export const creditNotePdfPath = (id: string): string =>
  `/api/v1/billing/credit-notes/${publicId('creditNote', id)}/pdf`;
