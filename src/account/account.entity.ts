import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, exact, idKey, instant, text } from '../platform/columns.js';

export const dunningEnds = ['cancel', 'past_due', 'pause'] as const;

/** A customer of the SaaS company: the tenant. Everything else hangs on it. */
export const Account = defineEntity({
  name: 'Account',
  tableName: 'account',
  properties: {
    id: idKey(),
    name: text(),
    /** ISO 4217; all of the account's money is in it. */
    currency: text(),
    /** IANA name; calendar rules use it. */
    timeZone: text(),
    /** `ACME` in invoice number `ACME-000001`. */
    invoicePrefix: text(),
    /** Counts the finalised invoices; gap-free, because it is taken in the transaction that finalises. */
    lastInvoiceNumber: p.integer().default(0),
    /** The same for credit notes. */
    lastCreditNoteNumber: p.integer().default(0),
    /** Hours for which a renewal's invoice waits as DRAFT for late usage; 0: finalised at once. */
    gracePeriodHours: p.integer().default(0),
    /** Days after the first attempt at which a failed payment is tried again. */
    retryAfterDays: p.array<number>().columnType('int[]').default([1, 3, 5, 7]),
    /** What becomes of the subscription when collecting gives up. */
    dunningEnd: p.enum(dunningEnds).default('cancel'),
    taxExempt: p.boolean().default(false),
    /** The account's own time, where it has a test clock; null: it lives by the wall clock. */
    testClockAt: instant().nullable(),
    /** Where an advance under way goes; equal to `testClockAt` when none is. */
    testClockTargetAt: instant().nullable(),
    createdAt: instant(),
  },
});
export type Account = InferEntity<typeof Account>;

/** A tax on the account's invoices. Rates are replaced, never changed: an archived one stays for what it has taxed. */
export const TaxRate = defineEntity({
  name: 'TaxRate',
  tableName: 'tax_rate',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    /** As on the invoice: `VAT`. */
    name: text(),
    /** 19 for 19 %. */
    percent: exact(),
    /** True: prices contain it; false: it comes on top. */
    inclusive: p.boolean(),
    position: p.integer(),
    createdAt: instant(),
    archivedAt: instant().nullable(),
  },
});
export type TaxRate = InferEntity<typeof TaxRate>;

/** A bearer token: `id` and `accountId` are in the token, of its secret only the hash is kept. */
export const ApiKey = defineEntity({
  name: 'ApiKey',
  tableName: 'api_key',
  properties: {
    /** The nil uuid for an operator's key, which names an account per request. */
    accountId: accountKey(),
    id: idKey(),
    name: text(),
    /** SHA-256 of the secret part, hex. The secret has 192 random bits, so a fast hash is enough. */
    secretHash: text(),
    scopes: p.array<string>(),
    createdAt: instant(),
    expiresAt: instant().nullable(),
    revokedAt: instant().nullable(),
  },
});
export type ApiKey = InferEntity<typeof ApiKey>;
