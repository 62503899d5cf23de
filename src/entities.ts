import { Account, ApiKey, TaxRate } from './account/account.entity.js';
import { Coupon, Metric, Plan, PlanFeature } from './catalog/plan.entity.js';
import { AppliedCoupon } from './invoice/appliedCoupon.entity.js';
import { CreditApplication, CreditNote, CreditNoteLine } from './invoice/creditNote.entity.js';
import { Invoice, InvoiceItem, InvoiceLine } from './invoice/invoice.entity.js';
import {
  Dispute,
  Payment,
  PaymentCustomer,
  PaymentMethod,
  ProviderCursorEntity,
  ProviderEventEntity,
  Refund,
} from './payment/payment.entity.js';
import {
  EventCursorEntity,
  EventEntity,
  IdempotencyKeyEntity,
  OutboxEntity,
  ServerSecretEntity,
} from './platform/tables.js';
import { Subscription } from './subscription/subscription.entity.js';
import { UsageCorrection, UsageCursorEntity, UsageEventEntity, UsageWindow } from './usage/usage.entity.js';
import {
  LedgerAccount,
  LedgerPosting,
  LedgerTransaction,
  Wallet,
  WalletGrant,
  WalletGrantEntry,
  WalletHold,
  WalletHoldPart,
} from './wallet/wallet.entity.js';
import { WebhookAttempt, WebhookDelivery, WebhookEndpoint } from './webhook/webhook.entity.js';

/**
 * Every table, by where its rows live on a sharded cluster. `distributed` tables are sharded by `account_id` (the account
 * itself by `id`) and start their primary key with it; `reference` tables are small and copied to every node.
 */
export const tables = {
  distributed: [
    Account,
    ApiKey,
    TaxRate,
    PaymentCustomer,
    PaymentMethod,
    Payment,
    Refund,
    Dispute,
    ProviderEventEntity,
    Wallet,
    LedgerAccount,
    LedgerTransaction,
    LedgerPosting,
    WalletGrant,
    WalletGrantEntry,
    WalletHold,
    WalletHoldPart,
    Invoice,
    InvoiceLine,
    InvoiceItem,
    AppliedCoupon,
    CreditNote,
    CreditNoteLine,
    CreditApplication,
    UsageWindow,
    UsageEventEntity,
    UsageCorrection,
    UsageCursorEntity,
    Subscription,
    WebhookEndpoint,
    WebhookDelivery,
    WebhookAttempt,
    EventEntity,
    EventCursorEntity,
    OutboxEntity,
    IdempotencyKeyEntity,
  ],
  reference: [Metric, Plan, PlanFeature, Coupon, ServerSecretEntity, ProviderCursorEntity],
} as const;

export const entities = [...tables.distributed, ...tables.reference];

/**
 * Rows there are written once, and no right to change or delete them is granted (see platform/runtimeRole). Not in here: what is
 * redrawn while it is a draft, given back when an invoice is voided, or may be thrown away when it is old.
 */
const appendOnly = [LedgerTransaction, LedgerPosting, WalletGrantEntry, EventEntity, UsageCorrection, CreditNoteLine];

const namesOf = (some: readonly { meta: { tableName?: string } }[]): string[] =>
  some.map(({ meta }) => meta.tableName!);

export const guardedTables = { all: namesOf(entities), appendOnly: namesOf(appendOnly) };
