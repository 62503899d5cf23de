import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, minor, text } from '../platform/columns.js';

export const paymentStatuses = ['PENDING', 'REQUIRES_ACTION', 'SUCCEEDED', 'FAILED', 'REFUNDED'] as const;
export const paymentPurposes = ['invoice', 'top_up', 'recharge'] as const;
export const paymentMethodStatuses = ['PENDING', 'ACTIVE', 'FAILED', 'REMOVED'] as const;

/** The account at the payment provider. */
export const PaymentCustomer = defineEntity({
  name: 'PaymentCustomer',
  tableName: 'payment_customer',
  properties: { accountId: accountKey(), id: idKey(), provider: text(), customerRef: text(), createdAt: instant() },
  uniques: [{ properties: ['accountId', 'provider'] }],
});

/** A card of the account. PENDING: handed to the provider, answer not yet known. */
export const PaymentMethod = defineEntity({
  name: 'PaymentMethod',
  tableName: 'payment_method',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    status: p.enum(paymentMethodStatuses),
    type: text(),
    brand: text().nullable(),
    last4: text().nullable(),
    expMonth: p.integer().nullable(),
    expYear: p.integer().nullable(),
    isDefault: p.boolean(),
    /** The provider's id; known once it is attached. */
    methodRef: text().nullable(),
    declineCode: text().nullable(),
    failureMessage: text().nullable(),
    createdAt: instant(),
    removedAt: instant().nullable(),
    /** When its owner is told that it expires; null once told. */
    expiryNoticeAt: instant().nullable(),
    /** Was it asked for as the default? Kept, because its holder may confirm it long after. */
    wantsDefault: p.boolean().default(false),
    /** While its holder has to confirm it: the provider's id of the set-up, what confirms it, and when the sweep asks. */
    setupRef: text().nullable(),
    clientSecret: text().nullable(),
    reconcileAt: instant().nullable(),
  },
});
export type PaymentMethod = InferEntity<typeof PaymentMethod>;

/** An intent to move money once. Written before the provider is called, with the key the call will bear. */
export const Payment = defineEntity({
  name: 'Payment',
  tableName: 'payment',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    purpose: p.enum(paymentPurposes),
    /** The invoice it pays, or the wallet it tops up. */
    subjectId: p.uuid(),
    amountMinor: minor(),
    currency: text(),
    status: p.enum(paymentStatuses),
    paymentMethodId: p.uuid(),
    description: text(),
    providerKey: text(),
    chargeRef: text().nullable(),
    declineCode: text().nullable(),
    failureMessage: text().nullable(),
    clientSecret: text().nullable(),
    createdAt: instant(),
    settledAt: instant().nullable(),
    /** While the outcome is unknown, or was given up: when the sweep asks the provider. */
    reconcileAt: instant().nullable(),
  },
  indexes: [{ properties: ['accountId', 'subjectId'] }],
});
export type Payment = InferEntity<typeof Payment>;

export const refundPurposes = ['credit_note', 'top_up'] as const;
export const refundStatuses = ['PENDING', 'SUCCEEDED', 'FAILED'] as const;

/** An intent to give (part of) a payment back, once. Written before the provider is called, like a payment. */
export const Refund = defineEntity({
  name: 'Refund',
  tableName: 'refund',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    purpose: p.enum(refundPurposes),
    paymentId: p.uuid(),
    /** The credit note it belongs to, or the grant of a wallet. */
    subjectId: p.uuid(),
    amountMinor: minor(),
    currency: text(),
    status: p.enum(refundStatuses),
    providerKey: text(),
    refundRef: text().nullable(),
    failureCode: text().nullable(),
    createdAt: instant(),
    settledAt: instant().nullable(),
    reconcileAt: instant().nullable(),
  },
  indexes: [{ properties: ['accountId', 'paymentId'] }, { properties: ['accountId', 'subjectId'] }],
});
export type Refund = InferEntity<typeof Refund>;

export const disputeStatuses = ['OPEN', 'WON', 'LOST'] as const;

/** A payment whose card holder wants the money back through the bank. Kept as the provider tells it. */
export const Dispute = defineEntity({
  name: 'Dispute',
  tableName: 'dispute',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    paymentId: p.uuid(),
    disputeRef: text(),
    amountMinor: minor(),
    currency: text(),
    reason: text(),
    status: p.enum(disputeStatuses),
    createdAt: instant(),
    closedAt: instant().nullable(),
  },
  uniques: [{ properties: ['accountId', 'disputeRef'] }],
  indexes: [{ properties: ['accountId', 'paymentId'] }],
});
export type Dispute = InferEntity<typeof Dispute>;

/** An event of the provider that has had its effect; written with it. See applyProviderEvent. */
export const ProviderEventEntity = defineEntity({
  name: 'ProviderEvent',
  tableName: 'provider_event',
  properties: { accountId: accountKey(), id: idKey(), eventRef: text(), type: text(), createdAt: instant() },
  uniques: [{ properties: ['accountId', 'eventRef'] }],
  indexes: [{ properties: ['eventRef'] }, { properties: ['createdAt'] }],
});

/** Up to where the provider's own list of events has been read; one row a provider. See readProviderEvents. */
export const ProviderCursorEntity = defineEntity({
  name: 'ProviderCursor',
  tableName: 'provider_cursor',
  properties: {
    provider: p.text().primary(),
    /** Of the epoch, by the provider's clock. */
    second: p.integer(),
    dueAt: instant(),
    /** The list was too long for one round, or a round was broken off: where the next one goes on. Null: at its newest. */
    pass: p
      .json<{
        /** Ref of the event behind which to read on, in the provider's order; none: from the newest. */
        after?: string | undefined;
        /** Second of the newest event of the list, which the cursor takes at its end. */
        newest?: number | undefined;
        /** Of the earliest event that has failed. */
        failed: number | null;
        /** Ref of the event at which the last round got no answer. */
        stoppedAt: string | null;
      }>()
      .nullable(),
  },
});
export type ProviderCursor = InferEntity<typeof ProviderCursorEntity>;
