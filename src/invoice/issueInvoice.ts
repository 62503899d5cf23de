import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import { lastPaymentAttemptAt } from '../domain/collection.js';
import { invoiceNumber } from '../domain/invoiceNumber.js';
import type { Bill } from '../domain/invoiceTotals.js';
import { movements } from '../domain/ledger.js';
import { money } from '../domain/money.js';
import { intendPayment } from '../payment/charge.js';
import type { PaymentMethod } from '../payment/payment.entity.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { drawDown, grantCredit } from '../wallet/drawDown.js';
import { post } from '../wallet/ledger.js';
import { lockWallet } from '../wallet/wallets.js';
import { type BillingContext, billingContext, billingContexts } from './billingContext.js';
import { applyCredit } from './credit.js';
import { applyBill, type DecidedInvoice, decideInvoice, type InvoiceDraft } from './decideInvoice.js';
import { Invoice, InvoiceLine, isDunned } from './invoice.entity.js';
import { presentInvoice } from './invoice.present.js';
import { linesOf } from './invoices.js';
import { giveBackCouponPeriods, takeCouponPeriods, takeItems } from './takings.js';

export type { InvoiceDraft, LineDraft } from './decideInvoice.js';

/** An invoice, and the intent to collect what is due of it; the caller charges that after the commit (`collectInvoice`). */
export interface IssuedInvoice {
  invoice: Invoice;
  paymentId: string | undefined;
}

export interface Issue extends InvoiceDraft {
  /** The time it belongs to; a late renewal bears the time it was due. */
  issuedAt: Date;
  /** What is left after the wallet is collected from this method; null: it waits for one. */
  collectFrom: PaymentMethod | null;
}

/** Makes an invoice and finalises it at once, in the caller's transaction. */
export async function issueInvoice(tx: Tx, { issuedAt, collectFrom, ...draft }: Issue): Promise<IssuedInvoice> {
  const context = await lockContext(tx);
  const rows = await writeRows(tx, decideInvoice(draft, context, tx.now));
  return finalise(tx, rows, { issuedAt, collectFrom });
}

/**
 * Makes an invoice that waits as DRAFT until `finalizeAt`: its lines stand (see `redraft`), its totals are an estimate. It
 * takes its periods of coupons now, as it comes before every later invoice; tax, credit and wallet when it is finalised.
 */
export async function draftInvoice(
  tx: Tx,
  { finalizeAt, ...draft }: InvoiceDraft & { finalizeAt: Date },
): Promise<IssuedInvoice> {
  const decided = decideInvoice(draft, unfunded(await lockContext(tx)), tx.now);
  const { invoice, lines } = await writeRows(tx, decided);
  invoice.finalizeAt = finalizeAt;
  await takeCouponPeriods(tx, invoice);
  tx.emit({ type: 'invoice.created', data: presentInvoice(invoice, lines) });
  return { invoice, paymentId: undefined };
}

/**
 * Finalises a DRAFT as of `issuedAt`. The caller has locked its row and brought its lines up to date. One that has waited for
 * usage and got none has nothing to say: it is void, without a number.
 */
export async function finaliseInvoice(
  tx: Tx,
  invoice: Invoice,
  { issuedAt, collectFrom }: Pick<Issue, 'issuedAt' | 'collectFrom'>,
): Promise<IssuedInvoice> {
  const context = await lockDraftContext(tx, invoice);
  const lines = (await linesOf(tx.em, tx.accountId, invoice.id)).filter((line) => isFinal(tx, line));
  const bill = applyBill({ invoice, lines }, context);
  if (lines.length === 0) return drop(tx, invoice);
  return finalise(tx, { invoice, lines, bill }, { issuedAt, collectFrom });
}

function drop(tx: Tx, invoice: Invoice): IssuedInvoice {
  invoice.status = 'VOID';
  invoice.finalizeAt = null;
  tx.emit({ type: 'invoice.voided', data: presentInvoice(invoice, []) });
  return { invoice, paymentId: undefined };
}

/** A final invoice doesn't show a minimum that usage has reached, nor what one is reckoned from (see redraft). */
function isFinal(tx: Tx, line: InvoiceLine): boolean {
  if (line.kind !== 'minimum_spend') return true;
  line.unitAmount = null;
  if (line.amountMinor === 0n) tx.em.remove(line);
  return line.amountMinor !== 0n;
}

/** What a DRAFT is estimated in: credit and wallet pay for what is final, not for what may still change. */
export const unfunded = (context: BillingContext): BillingContext => ({ ...context, creditMinor: 0n, walletMinor: 0n });

/** The account's context, its row locked: until the transaction ends nobody else takes its items, coupons and numbers. */
async function lockContext(tx: Tx): Promise<BillingContext> {
  await lockAccount(tx);
  return billingContext(tx.em, tx.accountId);
}

/** Locks that and the wallet, for whoever quotes an invoice first and issues it then: between the two nothing changes. */
export async function lockFunds(tx: Tx): Promise<void> {
  await lockAccount(tx);
  await lockWallet(tx);
}

/** Until the transaction ends nobody else takes the account's items, coupons, credit and numbers. */
export async function lockAccount({ em, accountId }: Tx): Promise<void> {
  await em.flush();
  await rowsOf(em, sql`select id from account where id = ${accountId} for update`);
}

/**
 * The context for deciding a DRAFT anew, the account locked: what it has used up of coupons is there again, until `takeCouponPeriods`. A coupon that
 * discounts it stays, though others have used it up since; one that was removed by hand doesn't.
 */
async function lockDraftContext(tx: Tx, invoice: Invoice): Promise<BillingContext> {
  await lockAccount(tx);
  await giveBackCouponPeriods(tx, invoice);
  const withCoupons = invoice.discounts.map(({ appliedCouponId }) => appliedCouponId);
  return (await billingContexts(tx.em, [tx.accountId], { withCoupons })).get(tx.accountId)!;
}

/** Decides a DRAFT anew over these lines; what it takes of coupons is given back and taken again. The caller holds its row. */
export async function redecide(tx: Tx, invoice: Invoice, lines: readonly InvoiceLine[]): Promise<void> {
  applyBill({ invoice, lines }, unfunded(await lockDraftContext(tx, invoice)));
  await takeCouponPeriods(tx, invoice);
  await tx.em.flush();
}

async function writeRows(tx: Tx, decided: DecidedInvoice): Promise<DecidedInvoice> {
  const invoice = tx.em.create(Invoice, decided.invoice);
  const lines = decided.lines.map((line) => tx.em.create(InvoiceLine, line));
  await takeItems(tx, invoice, lines);
  return { invoice, lines, bill: decided.bill };
}

/**
 * Number, ledger postings, the waterfall's last steps (credit → wallet → what is left), events. Lines that sum below zero become
 * granted credit. Nothing of its lines, totals and number changes after this.
 */
async function finalise(
  tx: Tx,
  { invoice, lines, bill }: DecidedInvoice,
  { issuedAt, collectFrom }: Pick<Issue, 'issuedAt' | 'collectFrom'>,
): Promise<IssuedInvoice> {
  const numbers = await nextNumbers(tx.em, [tx.accountId]);
  open(invoice, { number: numbers.get(tx.accountId)!, issuedAt });
  await takeCouponPeriods(tx, invoice);
  await moveMoney(tx, invoice, bill);
  return announceFinal(tx, { invoice, lines }, collectFrom);
}

/** Says that an invoice is final, and what follows of what is due: nothing more, a payment, or dunning without a method. */
export async function announceFinal(
  tx: Tx,
  { invoice, lines }: Pick<DecidedInvoice, 'invoice' | 'lines'>,
  collectFrom: PaymentMethod | null,
): Promise<IssuedInvoice> {
  tx.emit({ type: 'invoice.finalized', data: presentInvoice(invoice, lines) });
  if (invoice.amountDueMinor === 0n) {
    invoice.status = 'PAID';
    invoice.paidAt = tx.now;
    tx.emit({ type: 'invoice.paid', data: presentInvoice(invoice, lines) });
    return { invoice, paymentId: undefined };
  }
  invoice.firstAttemptAt = tx.now;
  if (!collectFrom) {
    const { retryAfterDays } = await accountById(tx.em, tx.accountId);
    const givesUp = isDunned(invoice) && retryAfterDays.length === 0;
    invoice.failedAttempts = 1;
    invoice.nextPaymentAttemptAt = isDunned(invoice) && !givesUp ? lastPaymentAttemptAt(tx.now, retryAfterDays) : null;
    tx.emit({ type: 'invoice.failed', data: { ...presentInvoice(invoice, lines), decline_code: 'no_payment_method' } });
    if (givesUp) {
      invoice.status = 'UNCOLLECTIBLE';
      tx.emit({ type: 'invoice.uncollectible', data: presentInvoice(invoice, lines) });
    }
    return { invoice, paymentId: undefined };
  }
  return { invoice, paymentId: intendInvoicePayment(tx, invoice, collectFrom) };
}

/** The next number of each account. Taken under the accounts' row locks and given back on rollback: no gaps. */
export async function nextNumbers(em: EntityManager, accountIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await rowsOf(
    em,
    sql<{ id: string; n: number; prefix: string }>`
      update account set last_invoice_number = last_invoice_number + 1 where id = any(${accountIds}::uuid[])
      returning id, last_invoice_number as n, invoice_prefix as prefix`,
  );
  return new Map(rows.map(({ id, n, prefix }) => [id, invoiceNumber(prefix, n)]));
}

/** From here on it is owed. */
export function open(invoice: Invoice, { number, issuedAt }: { number: string; issuedAt: Date }): void {
  Object.assign(invoice, {
    number,
    status: 'OPEN',
    issuedAt,
    dueAt: issuedAt,
    finalizeAt: null,
  } satisfies Partial<Invoice>);
}

/** Books the invoice, and pays what is there to pay it with: as much as really is, under the wallet's lock. */
async function moveMoney(tx: Tx, invoice: Invoice, bill: Bill): Promise<void> {
  const { id, currency, totalMinor, taxMinor } = invoice;
  invoice.creditAppliedMinor = 0n;
  invoice.walletAppliedMinor = 0n;
  // Also where nothing is owed: what it credits at other rates than it charges leaves tax to book.
  const postings = bill.creditToWalletMinor > 0n ? [] : movements.issueInvoice({ totalMinor, taxMinor });
  if (postings.length > 0) await post(tx, { type: 'invoice_issued', currency, referenceId: id, postings });
  if (totalMinor > 0n) {
    invoice.creditAppliedMinor = await applyCredit(tx, { amountMinor: totalMinor, invoiceId: id });
    const owedMinor = totalMinor - invoice.creditAppliedMinor;
    if (owedMinor > 0n) invoice.walletAppliedMinor = await drawDown(tx, { amountMinor: owedMinor, invoiceId: id });
  }
  invoice.amountDueMinor = totalMinor - invoice.creditAppliedMinor - invoice.walletAppliedMinor;
  if (bill.creditToWalletMinor > 0n)
    await grantCredit(tx, { amountMinor: bill.creditToWalletMinor, taxMinor: -taxMinor, referenceId: id });
}

/** Writes the intent to collect what is due. */
export function intendInvoicePayment(tx: Tx, invoice: Invoice, method: PaymentMethod, id: string = newId()): string {
  intendPayment(tx, {
    id,
    purpose: 'invoice',
    subjectId: invoice.id,
    amount: money(invoice.amountDueMinor, invoice.currency),
    paymentMethodId: method.id,
    description: `Invoice ${invoice.number}`,
  });
  invoice.nextPaymentAttemptAt = null;
  return id;
}

/** The invoice with its row locked, as it is now; `undefined` when it is no DRAFT any more. */
export async function lockDraft(tx: Tx, invoiceId: string): Promise<Invoice | undefined> {
  const invoice = await tx.em.findOneOrFail(
    Invoice,
    { accountId: tx.accountId, id: invoiceId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  return invoice.status === 'DRAFT' ? invoice : undefined;
}
