import { Account } from '../account/account.entity.js';
import { lastPaymentAttemptAt } from '../domain/collection.js';
import type { Decimal } from '../domain/decimal.js';
import { invoiceNumber } from '../domain/invoiceNumber.js';
import { invoiceTotals } from '../domain/invoiceTotals.js';
import { movements } from '../domain/ledger.js';
import { money } from '../domain/money.js';
import type { Period } from '../domain/period.js';
import type { ExplanationStep } from '../domain/rating.js';
import { intendPayment } from '../payment/charge.js';
import type { PaymentMethod } from '../payment/payment.entity.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { drawDown, grantCredit } from '../wallet/drawDown.js';
import { post } from '../wallet/ledger.js';
import { applyCredit } from './credit.js';
import { Invoice, InvoiceLine, isDunned } from './invoice.entity.js';
import { presentInvoice } from './invoice.present.js';

export interface LineDraft {
  kind: InvoiceLine['kind'];
  /** Of a fee: the plan; of usage: the metric. Coupons can be limited to them. */
  planCode?: string | undefined;
  metricCode?: string | undefined;
  /** Of usage: the window behind it; of a one-off line: its item. */
  windowId?: string | undefined;
  itemId?: string | undefined;
  description: string;
  period: Period | null;
  quantity: Decimal;
  /** Major units of the currency; null where the amount isn't quantity × price. */
  unitAmount: Decimal | null;
  amountMinor: bigint;
  proration: boolean;
  explanation: ExplanationStep[];
}

export interface InvoiceDraft {
  id: string;
  reason: Invoice['reason'];
  subscriptionId: string;
  period: Period | null;
  lines: readonly LineDraft[];
  /** The time it belongs to; a late renewal bears the time it was due. */
  issuedAt: Date;
  /** What is left after the wallet is collected from this method; null: it waits for one. */
  collectFrom: PaymentMethod | null;
}

/**
 * Finalises an invoice in the caller's transaction: number, totals, the waterfall (lines → credit → wallet → what is left), ledger
 * postings and events. Lines that sum below zero become granted credit. Returns the intent to collect the rest; the caller
 * charges it after the commit (`collectInvoice`).
 */
export async function issueInvoice(
  tx: Tx,
  draft: InvoiceDraft,
): Promise<{ invoice: Invoice; paymentId: string | undefined }> {
  const { em, accountId } = tx;
  await em.flush();
  // Takes the number under the account's row lock and gives it back on rollback: no gaps.
  const [numbered] = await rowsOf(
    em,
    sql<{ n: number }>`
      update account set last_invoice_number = last_invoice_number + 1 where id = ${accountId} returning last_invoice_number as n`,
  );
  const account = await em.findOneOrFail(Account, { id: accountId });
  const { currency } = account;
  const totals = invoiceTotals({ lines: draft.lines, walletAvailableMinor: 0n });

  const invoice = em.create(Invoice, {
    accountId,
    id: draft.id,
    number: invoiceNumber(account.invoicePrefix, numbered!.n),
    status: 'OPEN',
    reason: draft.reason,
    subscriptionId: draft.subscriptionId,
    customerName: account.name,
    timeZone: account.timeZone,
    currency,
    periodStart: draft.period?.start ?? null,
    periodEnd: draft.period?.end ?? null,
    issuedAt: draft.issuedAt,
    dueAt: draft.issuedAt,
    subtotalMinor: totals.subtotalMinor,
    discountMinor: totals.discountMinor,
    discounts: [],
    taxes: [],
    taxExempt: account.taxExempt,
    creditNotedMinor: 0n,
    taxMinor: totals.taxMinor,
    totalMinor: totals.totalMinor,
    creditAppliedMinor: 0n,
    walletAppliedMinor: 0n,
    amountPaidMinor: 0n,
    amountDueMinor: totals.totalMinor,
    createdAt: tx.now,
  });
  const lines = draft.lines.map((line, position) =>
    em.create(InvoiceLine, {
      accountId,
      id: newId(),
      invoiceId: draft.id,
      position,
      description: line.description,
      periodStart: line.period?.start ?? null,
      periodEnd: line.period?.end ?? null,
      quantity: line.quantity.toFixed(),
      unitAmount: line.unitAmount?.toFixed() ?? null,
      amountMinor: line.amountMinor,
      discountMinor: 0n,
      kind: line.kind,
      planCode: line.planCode ?? null,
      metricCode: line.metricCode ?? null,
      windowId: line.windowId ?? null,
      itemId: line.itemId ?? null,
      proration: line.proration,
      explanation: line.explanation,
    }),
  );

  if (totals.totalMinor > 0n) {
    const postings = movements.issueInvoice({ totalMinor: totals.totalMinor, taxMinor: totals.taxMinor });
    await post(tx, { type: 'invoice_issued', currency, referenceId: invoice.id, postings });
    const { id: invoiceId } = invoice;
    invoice.creditAppliedMinor = await applyCredit(tx, { amountMinor: totals.totalMinor, invoiceId });
    const leftMinor = totals.totalMinor - invoice.creditAppliedMinor;
    invoice.walletAppliedMinor = await drawDown(tx, { amountMinor: leftMinor, invoiceId });
    invoice.amountDueMinor = leftMinor - invoice.walletAppliedMinor;
  }
  if (totals.creditToWalletMinor > 0n)
    await grantCredit(tx, { amountMinor: totals.creditToWalletMinor, referenceId: invoice.id });

  tx.emit({ type: 'invoice.finalized', data: presentInvoice(invoice, lines) });
  if (invoice.amountDueMinor === 0n) {
    invoice.status = 'PAID';
    invoice.paidAt = tx.now;
    tx.emit({ type: 'invoice.paid', data: presentInvoice(invoice, lines) });
    return { invoice, paymentId: undefined };
  }
  invoice.firstAttemptAt = tx.now;
  if (!draft.collectFrom) {
    const { retryAfterDays } = account;
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
  return { invoice, paymentId: intendInvoicePayment(tx, invoice, draft.collectFrom) };
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
