import { Decimal } from '../domain/decimal.js';
import { majorUnits } from '../domain/money.js';
import { lastDay, localDate } from '../domain/period.js';
import type { invoice as invoiceShape, Shape } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { Invoice, InvoiceDiscount, InvoiceLine } from './invoice.entity.js';

const plainDecimal = (text: string) => rawNumber(new Decimal(text).toFixed());

/** Local dates of a period as the REST API shows them: the end is the inclusive last day. */
function presentPeriod(of: { periodStart?: Date | null; periodEnd?: Date | null }, timeZone: string) {
  if (!of.periodStart || !of.periodEnd) return { period_start: null, period_end: null };
  const period = { start: of.periodStart, end: of.periodEnd };
  return { period_start: localDate(period.start, timeZone), period_end: lastDay(period, timeZone) };
}

/** The coupons that took something off; the invoice also keeps those that could have. */
export const discountsShown = ({ discounts }: Pick<Invoice, 'discounts'>): InvoiceDiscount[] =>
  discounts.filter(({ amountMinor }) => amountMinor !== '0');

/** REST shape of an invoice; also the `data` of its events. Amounts in major units. */
export function presentInvoice(invoice: Invoice, lines: readonly InvoiceLine[]): Shape<typeof invoiceShape> {
  const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: invoice.currency }));
  return {
    id: publicId('invoice', invoice.id),
    number: invoice.number ?? null,
    status: lowerCase(invoice.status),
    subscription_id: invoice.subscriptionId ? publicId('subscription', invoice.subscriptionId) : null,
    currency: invoice.currency,
    ...presentPeriod(invoice, invoice.timeZone),
    issued_at: invoice.issuedAt?.toISOString() ?? null,
    due_at: invoice.dueAt?.toISOString() ?? null,
    finalizes_at: invoice.finalizeAt?.toISOString() ?? null,
    subtotal: amount(invoice.subtotalMinor),
    discount: amount(invoice.discountMinor),
    discounts: discountsShown(invoice).map(({ code, name, amountMinor }) => ({
      code,
      name,
      amount: amount(BigInt(amountMinor)),
    })),
    tax: amount(invoice.taxMinor),
    taxes: invoice.taxes.map((tax) => ({
      name: tax.name,
      percent: plainDecimal(tax.percent),
      inclusive: tax.inclusive,
      taxable: amount(BigInt(tax.taxableMinor)),
      amount: amount(BigInt(tax.amountMinor)),
    })),
    tax_exempt: invoice.taxExempt,
    total: amount(invoice.totalMinor),
    credit_noted: amount(invoice.creditNotedMinor),
    credit_applied: amount(invoice.creditAppliedMinor),
    wallet_applied: amount(invoice.walletAppliedMinor),
    amount_paid: amount(invoice.amountPaidMinor),
    amount_due: amount(invoice.amountDueMinor),
    next_payment_attempt_at: invoice.nextPaymentAttemptAt?.toISOString() ?? null,
    lines: lines.map((line) => ({
      id: publicId('invoiceLine', line.id),
      description: line.description,
      ...presentPeriod(line, invoice.timeZone),
      quantity: plainDecimal(line.quantity),
      unit_amount: line.unitAmount == null ? null : plainDecimal(line.unitAmount),
      amount: amount(line.amountMinor),
      discount: amount(line.discountMinor),
      kind: line.kind,
      proration: line.proration,
    })),
    pdf_url: invoicePdfPath(invoice.id),
  };
}

/** Path of the invoice's PDF, behind the same token as everything else. */
export const invoicePdfPath = (id: string): string => `/api/v1/billing/invoices/${publicId('invoice', id)}/pdf`;
