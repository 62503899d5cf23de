import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant } from '../platform/columns.js';
import type { TakeBack } from './takeBack.js';

export const subscriptionStatuses = ['INCOMPLETE', 'TRIALING', 'ACTIVE', 'PAST_DUE', 'PAUSED', 'CANCELED'] as const;

/** The account's contract on one immutable plan version. At most one per account is not CANCELED. */
export const Subscription = defineEntity({
  name: 'Subscription',
  tableName: 'subscription',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    /** Grows with every change; `expectedVersion` compares with it. */
    version: p.integer(),
    status: p.enum(subscriptionStatuses),
    planId: p.uuid(),
    /** Seats: the plan's price counts once for each. */
    quantity: p.integer().default(1),
    /** The billing anchor: period boundaries are counted from here and never drift. */
    anchor: instant(),
    periodStart: instant(),
    periodEnd: instant(),
    trialEndsAt: instant().nullable(),
    cancelAt: instant().nullable(),
    canceledAt: instant().nullable(),
    /** Takes over when the period ends. */
    pendingPlanId: p.uuid().nullable(),
    pendingQuantity: p.integer().nullable(),
    /** A change at once that waits for its payment: the plan, and the invoice that pays for it. */
    changePlanId: p.uuid().nullable(),
    changeQuantity: p.integer().nullable(),
    changeInvoiceId: p.uuid().nullable(),
    /** What it takes back of unpaid fees when it takes effect. */
    changeTakesBack: p.json<TakeBack[]>().nullable(),
    /** The first invoice; paying it activates an INCOMPLETE subscription. */
    firstInvoiceId: p.uuid().nullable(),
    pausedAt: instant().nullable(),
    /** When a pause ends by itself; null: when it is ended by hand. */
    resumeAt: instant().nullable(),
    /** When `subscription.trial_ending` was announced. */
    trialNoticeAt: instant().nullable(),
    /** When something happens by itself next (renewal, end, expiry of INCOMPLETE); null when nothing will. */
    dueAt: instant().nullable(),
    createdAt: instant(),
  },
});
export type Subscription = InferEntity<typeof Subscription>;
