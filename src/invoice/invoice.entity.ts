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
] as const;

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
    subtotalMinor: minor(),
    discountMinor: minor(),
    taxMinor: minor(),
    totalMinor: minor(),
    creditAppliedMinor: minor(),
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

/** Only renewals and final invoices are dunned: a first invoice or a change is decided by whoever asked for it. */
export const isDunned = ({ reason }: Pick<Invoice, 'reason'>): boolean =>
  reason === 'subscription_cycle' || reason === 'subscription_cancel';

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
    proration: p.boolean(),
    explanation: p.json<ExplanationStep[]>(),
  },
  indexes: [{ properties: ['accountId', 'invoiceId'] }],
});
export type InvoiceLine = InferEntity<typeof InvoiceLine>;
