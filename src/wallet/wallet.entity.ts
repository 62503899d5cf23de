import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
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

/** The prepaid wallet: settings only. Its balance is the ledger account of kind `wallet`. */
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
    /** When the sweep looks whether to recharge; set by whatever lowers `available`. */
    rechargeDueAt: instant().nullable(),
    /** Recharges declined in a row; they lengthen the wait before the next. */
    rechargeFailures: p.integer().default(0),
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
