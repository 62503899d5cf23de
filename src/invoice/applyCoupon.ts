import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { Coupon } from '../catalog/plan.entity.js';
import { BillingError, invalid } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { AppliedCoupon } from './appliedCoupon.entity.js';
import { presentAppliedCoupon } from './appliedCoupons.js';

export interface ApplyCouponInput {
  idempotencyKey?: string | undefined;
  couponCode: string;
}

/**
 * Takes a coupon: from now on it discounts the account's invoices. Each can be taken once (CONFLICT): else whoever has a code
 * could take it anew each month. An operator may give one again that is no longer live.
 */
export async function applyCoupon(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: ApplyCouponInput,
): Promise<{ appliedCouponId: string; replayed: boolean }> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    // read
    const { em, now } = tx;
    const answer = { appliedCouponId: newId() };
    const claimed = await claimKey(tx, { operation: 'applyCoupon', key: idempotencyKey, input, answer });
    if (claimed.replayed) return { ...claimed.answer, replayed: true };
    const account = await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    const coupon = await em.findOne(Coupon, { code: input.couponCode });
    const taken = coupon ? await em.find(AppliedCoupon, { accountId, couponId: coupon.id }) : [];

    // decide
    const field = ['couponCode'];
    if (!coupon)
      throw new BillingError('NOT_FOUND', `No coupon with code '${input.couponCode.slice(0, 80)}'`, { field });
    if (coupon.archivedAt || (coupon.redeemBy && coupon.redeemBy < now))
      throw new BillingError('ILLEGAL_STATE', `Coupon '${coupon.code}' can no longer be taken`, { field });
    if (coupon.currency != null && coupon.currency !== account.currency)
      throw invalid(
        `Coupon '${coupon.code}' is in ${coupon.currency}, the account is in ${account.currency}`,
        ...field,
      );
    if (taken.some((one) => one.endedAt == null))
      throw new BillingError('CONFLICT', `The account already has coupon '${coupon.code}'`, { field });
    if (taken.length > 0 && !actor.operator)
      throw new BillingError('CONFLICT', `The account has had coupon '${coupon.code}': it can be taken once`, {
        field,
      });

    // write
    const applied = em.create(AppliedCoupon, {
      accountId,
      id: answer.appliedCouponId,
      couponId: coupon.id,
      periodsLeft: { ONCE: 1, REPEATING: coupon.durationPeriods ?? 1, FOREVER: null }[coupon.duration],
      appliedAt: now,
      endedAt: null,
    });
    tx.emit({ type: 'coupon.applied', data: presentAppliedCoupon({ applied, coupon }) });
    return { ...answer, replayed: false };
  });
}
