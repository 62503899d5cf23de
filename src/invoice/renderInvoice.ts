import type { PaymentMethod } from '../payment/payment.entity.js';
import { paymentMethodsByIds, paymentsBySubjectIds } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { publicId } from '../platform/ids.js';
import type { Invoice } from './invoice.entity.js';
import { discountsShown } from './invoice.present.js';
import { linesOf, ownInvoice } from './invoices.js';
import { renderInvoicePdf } from './pdf.js';
import type { InvoicePeriod } from './pdfText.js';

const brandNames: Readonly<Record<string, string>> = {
  visa: 'Visa',
  mastercard: 'Mastercard',
  amex: 'American Express',
  discover: 'Discover',
  diners: 'Diners Club',
  jcb: 'JCB',
  unionpay: 'UnionPay',
};

/** The account's invoice as a PDF. NOT_FOUND for every other; the same bytes as long as the invoice stays the same. */
export async function invoicePdf(
  deps: Pick<Deps, 'db' | 'seller'>,
  actor: Actor,
  invoiceId: string,
): Promise<{ fileName: string; pdf: Buffer }> {
  requireScope(actor, 'invoices:read');
  const { accountId } = actor;
  const em = deps.db.orm.em.fork();
  const invoice = await ownInvoice(em, accountId, invoiceId);
  const lines = await linesOf(em, accountId, invoice.id);
  // Money that came after the invoice was voided went to the wallet: it is no payment of this invoice.
  const paid = invoice.amountPaidMinor > 0n;
  const payments = paid ? ((await paymentsBySubjectIds(em, accountId, [invoice.id])).get(invoice.id) ?? []) : [];
  const succeeded = payments.filter(({ status }) => status === 'SUCCEEDED' || status === 'REFUNDED');
  const methodIds = [...new Set(succeeded.map((payment) => payment.paymentMethodId))];
  const methods = await paymentMethodsByIds(em, accountId, methodIds);

  const pdf = await renderInvoicePdf({
    number: invoice.number ?? null,
    status: invoice.status,
    seller: { name: deps.seller.name, lines: [...deps.seller.lines] },
    customer: { name: invoice.customerName, lines: [] },
    currency: invoice.currency,
    timeZone: invoice.timeZone,
    issuedAt: invoice.issuedAt ?? null,
    dueAt: invoice.dueAt ?? null,
    period: periodOf(invoice),
    lines: lines.map((line) => ({
      description: line.description,
      period: periodOf(line),
      quantity: line.quantity,
      unitAmount: line.unitAmount ?? null,
      amountMinor: line.amountMinor,
      proration: line.proration,
    })),
    subtotalMinor: invoice.subtotalMinor,
    discounts: discountsShown(invoice).map(({ name, amountMinor }) => ({ name, amountMinor: BigInt(amountMinor) })),
    taxes: invoice.taxes.map((tax) => ({
      ...tax,
      taxableMinor: BigInt(tax.taxableMinor),
      amountMinor: BigInt(tax.amountMinor),
    })),
    taxExempt: invoice.taxExempt,
    totalMinor: invoice.totalMinor,
    creditToWalletMinor: creditToWallet(invoice),
    creditAppliedMinor: invoice.creditAppliedMinor,
    walletAppliedMinor: invoice.walletAppliedMinor,
    amountPaidMinor: invoice.amountPaidMinor,
    amountDueMinor: invoice.amountDueMinor,
    payments: succeeded.map((payment) => ({
      at: payment.settledAt ?? payment.createdAt,
      description: describeMethod(methods.get(payment.paymentMethodId)),
      amountMinor: payment.amountMinor,
    })),
  });
  return { fileName: `${invoice.number ?? publicId('invoice', invoice.id)}.pdf`, pdf };
}

/** What an invoice below zero left in the wallet: the total is what lines, discounts and tax on top come to, and that. */
function creditToWallet({ subtotalMinor, discountMinor, totalMinor, taxes }: Invoice): bigint {
  const onTopMinor = taxes.reduce((sum, tax) => (tax.inclusive ? sum : sum + BigInt(tax.amountMinor)), 0n);
  return totalMinor - (subtotalMinor - discountMinor + onTopMinor);
}

const periodOf = (of: { periodStart?: Date | null; periodEnd?: Date | null }): InvoicePeriod | null =>
  of.periodStart && of.periodEnd ? { start: of.periodStart, end: of.periodEnd } : null;

/** `Visa •••• 4242` */
export function describeMethod(method: PaymentMethod | undefined): string {
  if (!method?.brand) return 'Card';
  const brand = brandNames[method.brand] ?? method.brand;
  return method.last4 ? `${brand} •••• ${method.last4}` : brand;
}
