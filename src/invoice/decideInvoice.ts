import { Decimal } from '../domain/decimal.js';
import type { BilledLine } from '../domain/discount.js';
import { type Bill, billInvoice } from '../domain/invoiceTotals.js';
import { majorUnits } from '../domain/money.js';
import type { Period } from '../domain/period.js';
import type { ExplanationStep } from '../domain/rating.js';
import type { TaxTerms } from '../domain/tax.js';
import { newId } from '../platform/ids.js';
import { type BillingContext, couponsUsed, type LiveCoupon, type WaitingItem } from './billingContext.js';
import type { Invoice, InvoiceLine, InvoiceMinimum } from './invoice.entity.js';

export interface LineDraft {
  kind: InvoiceLine['kind'];
  /** Of a fee: the plan; of usage: the metric. Coupons can be limited to them. */
  planCode?: string | undefined;
  metricCode?: string | undefined;
  /** Of usage: the window behind it; of a one-off line: its item. */
  windowId?: string | undefined;
  itemId?: string | undefined;
  /** Of a credit: the line that it gives back, and, of another invoice, the rates at which that was taxed. */
  credits?: { lineId: string; taxRates: readonly TaxTerms[] | null } | undefined;
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
  subscriptionId: string | null;
  period: Period | null;
  /** What its usage lines come to at the least; undefined: none. */
  minimumSpend?: InvoiceMinimum | undefined;
  /** Its own; what waits for the account's next invoice is added to them. */
  lines: readonly LineDraft[];
}

/** The rows of an invoice as a DRAFT, and the bill they show. */
export interface DecidedInvoice {
  invoice: Invoice;
  lines: InvoiceLine[];
  bill: Bill<LiveCoupon>;
}

/**
 * What an invoice with these lines says in this context: rows that are stored nowhere yet. Previews, drafts and invoices
 * issued one by one or hundreds at a time all decide here. No I/O; the ids of the lines are new.
 */
export function decideInvoice(draft: InvoiceDraft, context: BillingContext, now: Date): DecidedInvoice {
  const { accountId, currency } = context;
  const invoice: Invoice = {
    accountId,
    id: draft.id,
    number: null,
    status: 'DRAFT',
    reason: draft.reason,
    subscriptionId: draft.subscriptionId,
    customerName: context.customerName,
    timeZone: context.timeZone,
    currency,
    periodStart: draft.period?.start ?? null,
    periodEnd: draft.period?.end ?? null,
    issuedAt: null,
    dueAt: null,
    paidAt: null,
    finalizeAt: null,
    subtotalMinor: 0n,
    discountMinor: 0n,
    taxMinor: 0n,
    totalMinor: 0n,
    discounts: [],
    taxes: [],
    minimumSpend: draft.minimumSpend ?? null,
    taxExempt: context.taxExempt,
    creditAppliedMinor: 0n,
    creditNotedMinor: 0n,
    walletAppliedMinor: 0n,
    amountPaidMinor: 0n,
    amountDueMinor: 0n,
    failedAttempts: 0,
    firstAttemptAt: null,
    nextPaymentAttemptAt: null,
    createdAt: now,
  };
  const drafts = [...draft.lines, ...context.items.map((item) => itemLine(item, currency))];
  const lines = drafts.map((line, position) => lineRow(line, { accountId, invoiceId: draft.id, position }));
  return { invoice, lines, bill: applyBill({ invoice, lines }, context) };
}

/** Puts the waterfall of its lines in this context on an invoice that is not final yet, and what coupons take off each line. */
export function applyBill(
  { invoice, lines }: { invoice: Invoice; lines: readonly InvoiceLine[] },
  context: BillingContext,
): Bill<LiveCoupon> {
  const bill = billInvoice({ lines: lines.map((line) => billedLine(line, lines)), ...context });
  for (const [i, line] of lines.entries()) line.discountMinor = bill.lineDiscountsMinor[i]!;
  Object.assign(invoice, {
    customerName: context.customerName,
    timeZone: context.timeZone,
    taxExempt: context.taxExempt,
    subtotalMinor: bill.subtotalMinor,
    discountMinor: bill.discountMinor,
    taxMinor: bill.taxMinor,
    totalMinor: bill.totalMinor,
    discounts: bill.discounts.map(({ coupon, amountMinor }) => ({
      appliedCouponId: coupon.appliedCouponId,
      code: coupon.code,
      name: coupon.name,
      amountMinor: amountMinor.toString(),
    })),
    taxes: bill.taxes.map((tax) => ({
      name: tax.name,
      percent: tax.percent.toFixed(),
      inclusive: tax.inclusive,
      taxableMinor: tax.taxableMinor.toString(),
      amountMinor: tax.amountMinor.toString(),
      ...(tax.charged === undefined ? {} : { charged: tax.charged && textOf(tax.charged) }),
    })),
    creditAppliedMinor: bill.creditAppliedMinor,
    walletAppliedMinor: bill.walletAppliedMinor,
    amountDueMinor: bill.amountDueMinor,
  } satisfies Partial<Invoice>);
  return bill;
}

const textOf = ({ taxableMinor, amountMinor }: { taxableMinor: bigint; amountMinor: bigint }) => ({
  taxableMinor: taxableMinor.toString(),
  amountMinor: amountMinor.toString(),
});

/** What the waterfall needs of a line among the others of its invoice. */
const billedLine = (line: InvoiceLine, all: readonly InvoiceLine[]): BilledLine => ({
  ...line,
  takenBackMinor: takenBackMinor(line, all),
  taxRates: line.taxRates?.map((rate) => ({ ...rate, percent: new Decimal(rate.percent) })),
});

/** What other lines of the same invoice take back of this one. */
export const takenBackMinor = ({ id }: InvoiceLine, all: readonly InvoiceLine[]): bigint =>
  all.reduce((sum, { creditsLineId, amountMinor }) => (creditsLineId === id ? sum - amountMinor : sum), 0n);

/** The context of the invoice that follows this one: what it took is no longer there. */
export function contextAfter(context: BillingContext, { invoice, bill }: DecidedInvoice): BillingContext {
  const used = couponsUsed(invoice);
  const coupons = context.coupons.map((coupon) =>
    used.includes(coupon.appliedCouponId) && coupon.periodsLeft !== null
      ? { ...coupon, periodsLeft: coupon.periodsLeft - 1 }
      : coupon,
  );
  return {
    ...context,
    coupons: coupons.filter(({ periodsLeft }) => periodsLeft === null || periodsLeft > 0),
    items: [],
    creditMinor: context.creditMinor - bill.creditAppliedMinor,
    walletMinor: context.walletMinor - bill.walletAppliedMinor + bill.creditToWalletMinor,
  };
}

/** A line in the shape of a stored one, its discount still 0. */
export const lineRow = (
  line: LineDraft,
  { accountId, invoiceId, position }: Pick<InvoiceLine, 'accountId' | 'invoiceId' | 'position'>,
): InvoiceLine => ({
  accountId,
  id: newId(),
  invoiceId,
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
  creditsLineId: line.credits?.lineId ?? null,
  taxRates: line.credits?.taxRates?.map((rate) => ({ ...rate, percent: rate.percent.toFixed() })) ?? null,
  proration: line.proration,
  explanation: line.explanation,
});

function itemLine(item: WaitingItem, currency: string): LineDraft {
  const quantity = new Decimal(item.quantity);
  const unitAmount = item.unitAmount == null ? null : new Decimal(item.unitAmount);
  const amount = majorUnits({ minorUnits: item.amountMinor, currency });
  const expression = unitAmount
    ? `${quantity.toFixed()} × ${unitAmount.toFixed()} ${currency}, rounded HALF_UP`
    : `${amount} ${currency}`;
  return {
    kind: 'one_off',
    itemId: item.id,
    description: item.description,
    period: null,
    quantity,
    unitAmount,
    amountMinor: item.amountMinor,
    proration: false,
    explanation: [{ label: 'One-off', expression, result: amount }],
  };
}
