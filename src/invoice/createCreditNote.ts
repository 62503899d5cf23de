import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { type CreditableInvoice, type CreditNoteDecision, decideCreditNote } from '../domain/creditNote.js';
import { BillingError, invalid } from '../domain/errors.js';
import { invoiceNumber } from '../domain/invoiceNumber.js';
import { movements } from '../domain/ledger.js';
import type { Money } from '../domain/money.js';
import { Payment } from '../payment/payment.entity.js';
import { intendRefund } from '../payment/refund.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId, uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { post, walletBalance } from '../wallet/ledger.js';
import { presentWallet } from '../wallet/wallet.present.js';
import { lockWallet } from '../wallet/wallets.js';
import { isPaymentUnderWay } from './collectInvoice.js';
import { CreditNote, CreditNoteLine } from './creditNote.entity.js';
import { presentCreditNotes } from './creditNote.present.js';
import { creditNotesByInvoiceIds, linesByCreditNoteIds } from './creditNotes.js';
import { Invoice, type InvoiceLine } from './invoice.entity.js';
import { presentInvoice } from './invoice.present.js';
import { linesOf, ownInvoice } from './invoices.js';
import { refundCreditNote } from './refundCreditNote.js';

export interface CreateCreditNoteInput {
  idempotencyKey?: string | undefined;
  invoiceId: string;
  kind: CreditNote['kind'];
  reason: string;
  /** Undefined: everything that is left of the invoice. */
  lines?: readonly { invoiceLineId: string; amount: Money }[] | undefined;
}

const longestReason = 500;

/**
 * Takes back (part of) a finalised invoice, and sends what goes back to a card. For operators only. Throws what
 * `decideCreditNote` throws, and CONFLICT while a payment of the invoice is under way. A refund that fails is no error: its
 * amount stays with the customer as the note's credit, and the refund says why.
 */
export async function createCreditNote(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, ...input }: CreateCreditNoteInput,
): Promise<{ creditNoteId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  checkReason(input.reason);
  const { accountId } = actor;
  const { refundIds, replayed, answer } = await transact(deps, accountId, async (tx) => {
    const { id } = await ownInvoice(tx.em, accountId, input.invoiceId);
    const claimed = await claimKey(tx, {
      operation: 'createCreditNote',
      key: idempotencyKey,
      input,
      answer: { creditNoteId: newId() },
    });
    if (claimed.replayed) return { ...claimed, refundIds: [] };
    const invoice = await tx.em.findOneOrFail(
      Invoice,
      { accountId, id },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    if (await isPaymentUnderWay(tx, id)) {
      throw new BillingError('CONFLICT', `A payment of invoice ${invoice.number} is under way, expected none`, {
        field: ['invoiceId'],
        retryable: true,
      });
    }
    const lines = await linesOf(tx.em, accountId, id);
    const decision = decideCreditNote({
      invoice: await creditableInvoice(tx, invoice, lines),
      kind: input.kind,
      amounts: amountsOf(input, invoice),
    });
    return { ...claimed, refundIds: await issue(tx, { ...claimed.answer, input, invoice, lines, decision }) };
  });
  for (const refundId of refundIds) await refundCreditNote(deps, { accountId, refundId });
  return { creditNoteId: answer.creditNoteId, replayed };
}

function checkReason(reason: string): void {
  const { length } = reason.trim();
  if (length === 0 || length > longestReason)
    throw invalid(`reason has ${length} characters, expected 1 to ${longestReason}`, 'reason');
}

function amountsOf({ lines }: CreateCreditNoteInput, { currency }: Invoice) {
  return (
    lines?.map(({ invoiceLineId, amount }, i) => {
      if (amount.currency !== currency)
        throw invalid(`The invoice is in ${currency}, found an amount in ${amount.currency}`, 'lines', i, 'amount');
      return { lineId: uuidOf('invoiceLine', invoiceLineId) ?? invoiceLineId, amountMinor: amount.minorUnits };
    }) ?? 'everything'
  );
}

const taxAmount = (tax: { taxableMinor: string; amountMinor: string }) => ({
  taxableMinor: BigInt(tax.taxableMinor),
  amountMinor: BigInt(tax.amountMinor),
});

/** All that the decision looks at; the caller holds the invoice's row lock, which every note of it needs. */
async function creditableInvoice(
  { em, accountId }: Tx,
  invoice: Invoice,
  lines: readonly InvoiceLine[],
): Promise<CreditableInvoice> {
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
          where refund.account_id = ${accountId} and refund.payment_id = payment.id and refund.status <> 'FAILED'), 0))::text as refundable
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
    taxes: invoice.taxes.map((tax) => ({ inclusive: tax.inclusive, ...taxAmount(tax) })),
    lines,
    creditNotes: issued.map((note) => ({
      totalMinor: note.totalMinor,
      taxes: note.taxes.map(taxAmount),
      lines: (noteLines.get(note.id) ?? []).map((line) => ({
        lineId: line.invoiceLineId,
        amountMinor: line.amountMinor,
      })),
    })),
    payments: payments.map(({ id, refundable }) => ({ id, refundableMinor: BigInt(refundable) })),
    walletReturnableMinor:
      invoice.walletAppliedMinor - issued.reduce((sum, note) => sum + note.returnedToWalletMinor, 0n),
  };
}

/** Writes the note with its number, its postings and the intents to refund, whose ids it returns. */
async function issue(
  tx: Tx,
  {
    creditNoteId,
    input,
    invoice,
    lines,
    decision,
  }: {
    creditNoteId: string;
    input: CreateCreditNoteInput;
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
    kind: input.kind,
    status: 'ISSUED',
    reason: input.reason.trim(),
    customerName: account.name,
    timeZone: account.timeZone,
    currency: invoice.currency,
    ...amounts,
    taxes: taxes.map(({ taxableMinor, amountMinor }, i) => ({
      ...invoice.taxes[i]!,
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
    refundIds.push(intendRefund(tx, { payment, subjectId: creditNoteId, amountMinor }).id);
  }

  const { currency } = invoice;
  const postings = movements.issueCreditNote(decision);
  if (decision.returnedToWalletMinor > 0n) {
    const wallet = await lockWallet(tx);
    await post(tx, { type: 'credit_note', currency, referenceId: creditNoteId, postings });
    const balanceMinor = await walletBalance(em, { accountId, currency });
    tx.emit({ type: 'wallet.credited', data: presentWallet({ wallet, balanceMinor }) });
  } else {
    await post(tx, { type: 'credit_note', currency, referenceId: creditNoteId, postings });
  }
  const [data] = await presentCreditNotes(em, accountId, [note]);
  tx.emit({ type: 'credit_note.created', data: data! });
  lowerDebt(tx, invoice, lines, decision);
  return refundIds;
}

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
