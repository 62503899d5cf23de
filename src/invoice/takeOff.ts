import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { type CreditNoteDecision, decideCreditNote, mostOfLine } from '../domain/creditNote.js';
import { prorateMinor } from '../domain/proration.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { contextWithout } from './billingContext.js';
import { creditableInvoice } from './creditableInvoice.js';
import { applyBill, type LineDraft, lineRow } from './decideInvoice.js';
import { Invoice, InvoiceLine } from './invoice.entity.js';
import { type DraftInvoice, draftView } from './invoice.resolver.js';
import { linesOf } from './invoices.js';
import { issueCreditNote } from './issueCreditNote.js';
import { redecide, unfunded } from './issueInvoice.js';

/** A credit that belongs on the invoice whose line it gives back (a part of), because that is not paid yet. */
export interface TakeOff {
  invoiceId: string;
  /** Was it a DRAFT when the credit was decided? Then the credit is gross: coupons are decided anew over what it leaves. */
  ofDraft: boolean;
  line: LineDraft & { credits: NonNullable<LineDraft['credits']> };
}

/** An invoice as a credit would leave it, and what it would give back of what had paid it; null: nothing of it is left. */
export interface TakenOff {
  invoice: DraftInvoice;
  returnedToWalletMinor: bigint;
  balanceMinor: bigint;
}

/**
 * Takes a credit off its invoice: a DRAFT gets it as a line of its own, of a final one a credit note lowers what is due. What
 * had been paid of it already goes back to the wallet as far as that had paid it, the rest is the note's balance.
 */
export async function takeOff(tx: Tx, credit: TakeOff): Promise<void> {
  const { em, accountId } = tx;
  const invoice = await em.findOneOrFail(
    Invoice,
    { accountId, id: credit.invoiceId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  const lines = await linesOf(em, accountId, invoice.id);
  if (invoice.status === 'DRAFT') {
    return redecide(tx, invoice, [...lines, em.create(InvoiceLine, creditRow(credit, lines))]);
  }
  const decision = await decideNote(em, credit, { invoice, lines });
  if (!decision) return;
  const reason = credit.line.description;
  await issueCreditNote(tx, { creditNoteId: newId(), kind: 'CREDIT', reason, invoice, lines, decision });
  await em.flush();
}

/** The same, changing nothing. */
export async function quoteTakeOff(em: EntityManager, accountId: string, credit: TakeOff): Promise<TakenOff | null> {
  const plain = { disableIdentityMap: true } as const; // copies: what is decided on them is not stored
  const invoice = await em.findOneOrFail(Invoice, { accountId, id: credit.invoiceId }, plain);
  const lines = await em.find(
    InvoiceLine,
    { accountId, invoiceId: invoice.id },
    { ...plain, orderBy: { position: 'asc' } },
  );
  if (invoice.status === 'DRAFT') {
    const all = [...lines, creditRow(credit, lines)];
    const bill = applyBill({ invoice, lines: all }, unfunded(await contextWithout(em, invoice)));
    return { invoice: draftView({ invoice, lines: all, bill }), returnedToWalletMinor: 0n, balanceMinor: 0n };
  }
  const decision = await decideNote(em, credit, { invoice, lines });
  if (!decision) return null;
  const { totalMinor, appliedToInvoiceMinor, returnedToWalletMinor, balanceMinor } = decision;
  invoice.creditNotedMinor += totalMinor;
  invoice.creditAppliedMinor += appliedToInvoiceMinor;
  invoice.amountDueMinor -= appliedToInvoiceMinor;
  if (invoice.amountDueMinor === 0n) Object.assign(invoice, { status: 'PAID', nextPaymentAttemptAt: null });
  const draftLines = lines.map((line) => ({ ...line, currency: invoice.currency }));
  return { invoice: { ...invoice, draftLines }, returnedToWalletMinor, balanceMinor };
}

const creditRow = ({ invoiceId, line }: TakeOff, lines: readonly InvoiceLine[]): InvoiceLine =>
  lineRow(line, { accountId: lines[0]!.accountId, invoiceId, position: lines.length });

/** Undefined when nothing is left to take back. */
async function decideNote(
  em: EntityManager,
  { line, ofDraft }: TakeOff,
  { invoice, lines }: { invoice: Invoice; lines: readonly InvoiceLine[] },
): Promise<CreditNoteDecision | undefined> {
  if (invoice.status === 'VOID') return undefined;
  const { lineId } = line.credits;
  const fee = lines.find(({ id }) => id === lineId)!;
  const creditable = await creditableInvoice(em, invoice, lines);
  const discounted = { numerator: fee.amountMinor - fee.discountMinor, denominator: fee.amountMinor };
  const wantedMinor = ofDraft
    ? prorateMinor({ amountMinor: -line.amountMinor, fraction: discounted })
    : -line.amountMinor;
  const mostMinor = mostOfLine(creditable, lineId);
  const amountMinor = wantedMinor < mostMinor ? wantedMinor : mostMinor;
  if (amountMinor <= 0n) return undefined;
  return decideCreditNote({
    invoice: creditable,
    kind: 'CREDIT',
    amounts: [{ lineId, amountMinor }],
    restTo: 'wallet',
  });
}
