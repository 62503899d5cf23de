import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant } from '../platform/columns.js';

/** A coupon that an account has taken. It discounts every invoice until its periods are used up or it is removed. */
export const AppliedCoupon = defineEntity({
  name: 'AppliedCoupon',
  tableName: 'applied_coupon',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    couponId: p.uuid(),
    /** Periods' invoices it still discounts; null: without end. */
    periodsLeft: p.integer().nullable(),
    appliedAt: instant(),
    endedAt: instant().nullable(),
  },
});
export type AppliedCoupon = InferEntity<typeof AppliedCoupon>;
