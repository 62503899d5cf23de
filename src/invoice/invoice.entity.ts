import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { ExplanationStep } from '../domain/rating.js';
import { accountKey, exact, idKey, instant, minor, text } from '../platform/columns.js';

export const invoiceStatuses = ['DRAFT', 'OPEN', 'PAID', 'UNCOLLECTIBLE', 'VOID'] as const;
/** Why it was issued: the first invoice, a renewal, a change of plan, or what is left at the end. */
export const invoiceReasons = [
  'subscription_create',
  'subscription_cycle',
  'subscription_change',
  'subscription_cancel',
  'subscription_pause',
  'subscription_resume',
  'one_off',
] as const;

/** What a line is for; coupons choose by it, and by the plan or metric it names. */
export const lineKinds = ['fee', 'proration_credit', 'proration_charge', 'usage', 'minimum_spend', 'one_off'] as const;

/** What one coupon took off an invoice. */
export interface InvoiceDiscount {
  readonly appliedCouponId: string;
  readonly code: string;
  readonly name: string;
  readonly amountMinor: string;
}

/** What one rate added to (or, inclusive, is contained in) an invoice. Minor units as text. */
export interface InvoiceTax {
  readonly name: string;
  readonly percent: string;
  readonly inclusive: boolean;
  readonly taxableMinor: string;
  readonly amountMinor: string;
  /** Where the invoice credits at other rates: what of it is on its charges; null: nothing. Absent: all (see domain/tax). */
  readonly charged?: { readonly taxableMinor: string; readonly amountMinor: string } | null;
}

/** A rate at which something was taxed, to tax what is credited of it. */
export interface LineTaxRate {
  readonly name: string;
  readonly percent: string;
  readonly inclusive: boolean;
}

/** What the usage on an invoice comes to at the least, and the plan that asks for it. Minor units as text. */
export interface InvoiceMinimum {
  readonly planCode: string;
  readonly amountMinor: string;
}

export const Invoice = defineEntity({
  name: 'Invoice',
  tableName: 'invoice',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    number: text().nullable(),
    status: p.enum(invoiceStatuses),
    reason: p.enum(invoiceReasons),
    subscriptionId: p.uuid().nullable(),
    /** Account name at finalisation: the document doesn't change when the account does. */
    customerName: text(),
    timeZone: text(),
    currency: text(),
    periodStart: instant().nullable(),
    periodEnd: instant().nullable(),
    issuedAt: instant().nullable(),
    dueAt: instant().nullable(),
    paidAt: instant().nullable(),
    /** DRAFT: when it is finalised by itself. */
    finalizeAt: instant().nullable(),
    subtotalMinor: minor(),
    discountMinor: minor(),
    taxMinor: minor(),
    totalMinor: minor(),
    discounts: p.json<InvoiceDiscount[]>(),
    taxes: p.json<InvoiceTax[]>(),
    /** Null: none. Kept where usage reached it, too: corrections may take usage below it later. */
    minimumSpend: p.json<InvoiceMinimum>().nullable(),
    taxExempt: p.boolean(),
    /** Paid by credit notes: its own, and the balance of earlier ones. */
    creditAppliedMinor: minor(),
    /** Sum of the credit notes for this invoice that are not void; never above the total. */
    creditNotedMinor: minor(),
    walletAppliedMinor: minor(),
    amountPaidMinor: minor(),
    amountDueMinor: minor(),
    /** Attempts to collect that failed. */
    failedAttempts: p.integer().default(0),
    firstAttemptAt: instant().nullable(),
    nextPaymentAttemptAt: instant().nullable(),
    createdAt: instant(),
  },
  uniques: [{ properties: ['accountId', 'number'] }],
});
export type Invoice = InferEntity<typeof Invoice>;

/** Dunned are renewals, one-off invoices and what is left at an end or a pause: anything else is decided by whoever asked for it. */
export const dunnedReasons: readonly Invoice['reason'][] = [
  'subscription_cycle',
  'subscription_cancel',
  'subscription_pause',
  'one_off',
];
export const isDunned = ({ reason }: Pick<Invoice, 'reason'>): boolean => dunnedReasons.includes(reason);

export const InvoiceLine = defineEntity({
  name: 'InvoiceLine',
  tableName: 'invoice_line',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    invoiceId: p.uuid(),
    position: p.integer(),
    description: text(),
    periodStart: instant().nullable(),
    periodEnd: instant().nullable(),
    quantity: exact(),
    unitAmount: exact().nullable(),
    amountMinor: minor(),
    /** What coupons take off `amountMinor`. */
    discountMinor: minor(),
    kind: p.enum(lineKinds),
    planCode: text().nullable(),
    metricCode: text().nullable(),
    /** The usage window it bills: the way to the events behind it. */
    windowId: p.uuid().nullable(),
    /** The one-off item it bills. */
    itemId: p.uuid().nullable(),
    /** Of a credit: the line that it gives back (a part of), and the rates at which that was taxed, if not on the same invoice. */
    creditsLineId: p.uuid().nullable(),
    taxRates: p.json<LineTaxRate[]>().nullable(),
    proration: p.boolean(),
    explanation: p.json<ExplanationStep[]>(),
  },
  indexes: [{ properties: ['accountId', 'invoiceId'] }, { properties: ['accountId', 'creditsLineId'] }],
});
export type InvoiceLine = InferEntity<typeof InvoiceLine>;

/** Something to bill once, beside the plan: goes on the next invoice, or on one of its own. */
export const InvoiceItem = defineEntity({
  name: 'InvoiceItem',
  tableName: 'invoice_item',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    description: text(),
    quantity: exact(),
    unitAmount: exact().nullable(),
    amountMinor: minor(),
    createdAt: instant(),
    /** The invoice that bills it; null while it waits. */
    invoiceId: p.uuid().nullable(),
  },
});
export type InvoiceItem = InferEntity<typeof InvoiceItem>;
