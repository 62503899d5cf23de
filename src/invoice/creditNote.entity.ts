import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, minor, text } from '../platform/columns.js';
import type { InvoiceTax } from './invoice.entity.js';

export const creditNoteKinds = ['CREDIT', 'REFUND'] as const;
export const creditNoteStatuses = ['ISSUED', 'VOID'] as const;

/** Takes back (part of) a finalised invoice: as credit for this or later invoices, or as a refund to the method that paid. */
export const CreditNote = defineEntity({
  name: 'CreditNote',
  tableName: 'credit_note',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    number: text(),
    invoiceId: p.uuid(),
    kind: p.enum(creditNoteKinds),
    status: p.enum(creditNoteStatuses),
    reason: text(),
    customerName: text(),
    timeZone: text(),
    currency: text(),
    /** What its lines take back, discounts already off. */
    subtotalMinor: minor(),
    taxMinor: minor(),
    taxes: p.json<InvoiceTax[]>(),
    totalMinor: minor(),
    /** Of the total: what reduced the amount due of its own invoice. */
    appliedToInvoiceMinor: minor(),
    /** Of the total: what went back to the method that paid. */
    refundedMinor: minor(),
    /** Of the total: what went back to the wallet, where the wallet had paid. */
    returnedToWalletMinor: minor(),
    /** Of the total: what is left for later invoices. */
    balanceMinor: minor(),
    issuedAt: instant(),
    voidedAt: instant().nullable(),
  },
  uniques: [{ properties: ['accountId', 'number'] }],
  indexes: [{ properties: ['accountId', 'invoiceId'] }],
});
export type CreditNote = InferEntity<typeof CreditNote>;

export const CreditNoteLine = defineEntity({
  name: 'CreditNoteLine',
  tableName: 'credit_note_line',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    creditNoteId: p.uuid(),
    invoiceLineId: p.uuid(),
    position: p.integer(),
    description: text(),
    amountMinor: minor(),
  },
  indexes: [{ properties: ['accountId', 'creditNoteId'] }],
});
export type CreditNoteLine = InferEntity<typeof CreditNoteLine>;

/** Credit of a note that paid (part of) an invoice. */
export const CreditApplication = defineEntity({
  name: 'CreditApplication',
  tableName: 'credit_application',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    creditNoteId: p.uuid(),
    invoiceId: p.uuid(),
    amountMinor: minor(),
    createdAt: instant(),
  },
  indexes: [{ properties: ['accountId', 'invoiceId'] }],
});
export type CreditApplication = InferEntity<typeof CreditApplication>;
