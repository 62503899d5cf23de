import { Account } from '../account/account.entity.js';
import type { CreditNoteDecision } from '../domain/creditNote.js';
import { invoiceNumber } from '../domain/invoiceNumber.js';
import { movements } from '../domain/ledger.js';
import { Payment } from '../payment/payment.entity.js';
import { intendRefund } from '../payment/refund.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { returnToWallet } from '../wallet/creditWallet.js';
import { post } from '../wallet/ledger.js';
import { CreditNote, CreditNoteLine } from './creditNote.entity.js';
import { presentCreditNotes } from './creditNote.present.js';
import type { Invoice, InvoiceLine, InvoiceTax } from './invoice.entity.js';
import { presentInvoice } from './invoice.present.js';

/**
 * Writes a note with its number, its postings and the intents to refund, whose ids it returns. The caller has decided it under the
 * invoice's row lock. A payment under way that succeeds after it leaves what is too much in the wallet.
 */
export async function issueCreditNote(
  tx: Tx,
  {
    creditNoteId,
    kind,
    reason,
    invoice,
    lines,
    decision,
  }: {
    creditNoteId: string;
    kind: CreditNote['kind'];
    reason: string;
    invoice: Invoice;
    lines: readonly InvoiceLine[];
    decision: CreditNoteDecision;
  },
): Promise<string[]> {
  const { em, accountId } = tx;
  const { taxes, refunds, lines: credited, ...amounts } = decision;
  // Takes the number under the account's row lock and gives it back on rollback: no gaps.
  const [numbered] = await rowsOf(
    em,
    sql<{ n: number }>`
      update account set last_credit_note_number = last_credit_note_number + 1 where id = ${accountId}
      returning last_credit_note_number as n`,
  );
  const account = await em.findOneOrFail(Account, { id: accountId });
  const note = em.create(CreditNote, {
    accountId,
    id: creditNoteId,
    number: invoiceNumber(`${account.invoicePrefix}-CN`, numbered!.n),
    invoiceId: invoice.id,
    kind,
    status: 'ISSUED',
    reason: reason.trim(),
    customerName: account.name,
    timeZone: account.timeZone,
    currency: invoice.currency,
    ...amounts,
    taxes: taxes.map(({ taxableMinor, amountMinor }, i) => ({
      ...rateOf(invoice.taxes[i]!),
      taxableMinor: taxableMinor.toString(),
      amountMinor: amountMinor.toString(),
    })),
    issuedAt: tx.now,
  });
  for (const [position, { lineId, amountMinor }] of credited.entries()) {
    em.create(CreditNoteLine, {
      accountId,
      id: newId(),
      creditNoteId,
      invoiceLineId: lineId,
      position,
      description: lines.find(({ id }) => id === lineId)!.description,
      amountMinor,
    });
  }
  const refundIds: string[] = [];
  for (const { paymentId, amountMinor } of refunds) {
    const payment = await em.findOneOrFail(Payment, { accountId, id: paymentId });
    refundIds.push(intendRefund(tx, { payment, purpose: 'credit_note', subjectId: creditNoteId, amountMinor }).id);
  }

  const { currency } = invoice;
  const postings = movements.issueCreditNote(decision);
  const movement = { type: 'credit_note' as const, referenceId: creditNoteId, postings };
  const amountMinor = decision.returnedToWalletMinor;
  if (amountMinor > 0n) await returnToWallet(tx, { ...movement, invoiceId: invoice.id, amountMinor });
  else await post(tx, { ...movement, currency });
  const [data] = await presentCreditNotes(em, accountId, [note]);
  tx.emit({ type: 'credit_note.created', data: data! });
  lowerDebt(tx, invoice, lines, decision);
  return refundIds;
}

const rateOf = ({ name, percent, inclusive }: InvoiceTax) => ({ name, percent, inclusive });

/** A note lowers what is due of its own invoice, and pays it when nothing is left. */
function lowerDebt(tx: Tx, invoice: Invoice, lines: readonly InvoiceLine[], decision: CreditNoteDecision): void {
  invoice.creditNotedMinor += decision.totalMinor;
  if (decision.appliedToInvoiceMinor === 0n) return;
  invoice.creditAppliedMinor += decision.appliedToInvoiceMinor;
  invoice.amountDueMinor -= decision.appliedToInvoiceMinor;
  if (invoice.amountDueMinor > 0n) return;
  invoice.status = 'PAID';
  invoice.paidAt = tx.now;
  invoice.nextPaymentAttemptAt = null;
  tx.emit({ type: 'invoice.paid', data: presentInvoice(invoice, lines) });
}
