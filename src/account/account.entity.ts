import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, text } from '../platform/columns.js';

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
    createdAt: instant(),
  },
});
export type Account = InferEntity<typeof Account>;

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
