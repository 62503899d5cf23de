import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { GrantKind } from '../domain/grants.js';
import { accountKey, idKey, instant, minor, text } from '../platform/columns.js';

export const ledgerAccountKinds = [
  'wallet',
  'receivable',
  'revenue',
  'provider_clearing',
  'granted_credit',
  'tax',
  'customer_credit',
  'refunds_payable',
] as const;

/** The prepaid wallet: settings only. Its balance is the ledger account of kind `wallet`; its row lock guards its grants and holds. */
export const Wallet = defineEntity({
  name: 'Wallet',
  tableName: 'wallet',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    currency: text(),
    autoRechargeEnabled: p.boolean().default(false),
    autoRechargeThresholdMinor: minor().nullable(),
    autoRechargeAmountMinor: minor().nullable(),
    /** The most that recharges may come to in a calendar month of the account's time zone; null: no limit. */
    autoRechargeMonthlyLimitMinor: minor().nullable(),
    /** End of the last month in which the limit kept a recharge back, and its owner was told so. */
    rechargeCappedUntil: instant().nullable(),
    /** When the sweep looks whether to recharge; set by whatever lowers `available`. */
    rechargeDueAt: instant().nullable(),
    /** Recharges declined in a row; they lengthen the wait before the next. */
    rechargeFailures: p.integer().default(0),
    /** Below it `wallet.low` is told; null: the auto-recharge threshold while that is on, else never. */
    lowThresholdMinor: minor().nullable(),
    /** Is it below, and its owner told? */
    isLow: p.boolean().default(false),
    /** When the sweep looks whether it is; set by whatever changes `available`. */
    lowDueAt: instant().nullable(),
    createdAt: instant(),
  },
  uniques: [{ properties: ['accountId'] }],
});
export type Wallet = InferEntity<typeof Wallet>;

/** One account of the chart, per currency. `balanceMinor` always equals the sum of its postings; see ledger. */
export const LedgerAccount = defineEntity({
  name: 'LedgerAccount',
  tableName: 'ledger_account',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    kind: p.enum(ledgerAccountKinds),
    currency: text(),
    balanceMinor: minor(),
  },
  uniques: [{ properties: ['accountId', 'kind', 'currency'] }],
});

/** One movement: a set of postings that sums to zero. Never updated, never deleted. */
export const LedgerTransaction = defineEntity({
  name: 'LedgerTransaction',
  tableName: 'ledger_transaction',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    /** `top_up`, `credit`, `invoice_issued`, `invoice_payment`, `wallet_payment`, `credit_note`, `refund` …; see `post`. */
    type: text(),
    currency: text(),
    /** The payment or invoice behind it; unique with the type, so that nothing is posted twice. */
    referenceId: p.uuid(),
    /** What it did to the wallet; zero for movements beside it. */
    walletAmountMinor: minor(),
    walletBalanceAfterMinor: minor().nullable(),
    createdAt: instant(),
  },
  uniques: [{ properties: ['accountId', 'type', 'referenceId'] }],
  indexes: [{ properties: ['accountId', 'createdAt', 'id'] }],
});
export type LedgerTransaction = InferEntity<typeof LedgerTransaction>;

export const LedgerPosting = defineEntity({
  name: 'LedgerPosting',
  tableName: 'ledger_posting',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    transactionId: p.uuid(),
    ledgerAccountId: p.uuid(),
    /** Positive: credit (the account's balance grows); negative: debit. */
    amountMinor: minor(),
    currency: text(),
  },
  indexes: [{ properties: ['accountId', 'transactionId'] }],
});

export const grantKinds = ['purchased', 'granted'] as const satisfies readonly GrantKind[];

/** Credit that came into the wallet at once. What is left of all grants is the wallet's balance; see grants. */
export const WalletGrant = defineEntity({
  name: 'WalletGrant',
  tableName: 'wallet_grant',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    kind: p.enum(grantKinds),
    currency: text(),
    amountMinor: minor(),
    remainingMinor: minor(),
    /** Of what is left: kept for holds. */
    heldMinor: minor(),
    /** 0 to 100; the lower number is spent first. */
    priority: p.integer(),
    expiresAt: instant().nullable(),
    /** When the sweep takes what is left of it; null: nothing to take. */
    expiryDueAt: instant().nullable(),
    /** Why an operator gave it. */
    reason: text().nullable(),
    /** The payment that bought it, or the invoice it came from; of one that an operator gave its own id. */
    referenceId: p.uuid(),
    createdAt: instant(),
  },
  indexes: [{ properties: ['accountId', 'referenceId'] }],
});
export type WalletGrant = InferEntity<typeof WalletGrant>;

/** What a movement took out of a grant (below zero) or put back into it. Never updated, never deleted. */
export const WalletGrantEntry = defineEntity({
  name: 'WalletGrantEntry',
  tableName: 'wallet_grant_entry',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    grantId: p.uuid(),
    transactionId: p.uuid(),
    /** The invoice, refund, hold or expiry it was taken for; what comes back bears the same. */
    subjectId: p.uuid(),
    amountMinor: minor(),
    /** When its grant was to expire at that time: so long it lives again when this comes back too late. */
    expiresAt: instant().nullable(),
    createdAt: instant(),
  },
  indexes: [
    { properties: ['accountId', 'grantId'] },
    { properties: ['accountId', 'transactionId'] },
    { properties: ['accountId', 'subjectId'] },
  ],
});

export const holdStatuses = ['OPEN', 'CAPTURED', 'RELEASED', 'EXPIRED'] as const;

/** Credit that is kept for work in progress. */
export const WalletHold = defineEntity({
  name: 'WalletHold',
  tableName: 'wallet_hold',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    status: p.enum(holdStatuses),
    currency: text(),
    amountMinor: minor(),
    capturedMinor: minor(),
    description: text(),
    expiresAt: instant(),
    /** When the sweep ends it; null once it has ended. */
    expiryDueAt: instant().nullable(),
    createdAt: instant(),
    endedAt: instant().nullable(),
  },
});
export type WalletHold = InferEntity<typeof WalletHold>;

/** What a hold keeps of a grant, in the order in which it would be spent. Stays when the hold has ended. */
export const WalletHoldPart = defineEntity({
  name: 'WalletHoldPart',
  tableName: 'wallet_hold_part',
  properties: { accountId: accountKey(), id: idKey(), holdId: p.uuid(), grantId: p.uuid(), amountMinor: minor() },
  indexes: [{ properties: ['accountId', 'holdId'] }],
});
