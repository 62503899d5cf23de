import { Coupon } from '../catalog/plan.entity.js';
import { BillingError, notFound } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { AppliedCoupon } from './appliedCoupon.entity.js';
import { presentAppliedCoupon } from './appliedCoupons.js';
import { lockDrafts, redecideDrafts, takeCouponOff } from './waitingDrafts.js';

export interface RemoveCouponInput {
  idempotencyKey?: string | undefined;
  appliedCouponId: string;
}

/** Ends a coupon: what is final keeps its discount, drafts lose it, no later invoice gets one. ILLEGAL_STATE when it has ended before. */
export async function removeCoupon(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: RemoveCouponInput,
): Promise<{ appliedCouponId: string; replayed: boolean }> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const id = uuidOf('appliedCoupon', input.appliedCouponId);
    const answer = { appliedCouponId: id ?? '' };
    const claimed = await claimKey(tx, { operation: 'removeCoupon', key: idempotencyKey, input, answer });
    if (claimed.replayed) return { ...claimed.answer, replayed: true };
    const drafts = await lockDrafts(tx); // and the account: no invoice is using it up meanwhile
    const applied = id && (await tx.em.findOne(AppliedCoupon, { accountId, id }));
    if (!applied) throw notFound('coupon', input.appliedCouponId, 'appliedCouponId');
    if (applied.endedAt)
      throw new BillingError('ILLEGAL_STATE', 'The coupon has ended already', { field: ['appliedCouponId'] });

    await takeCouponOff(tx, drafts, applied.id);
    await tx.em.refresh(applied);
    applied.endedAt = tx.now;
    const coupon = await tx.em.findOneOrFail(Coupon, { id: applied.couponId });
    tx.emit({ type: 'coupon.removed', data: presentAppliedCoupon({ applied, coupon }) });
    await redecideDrafts(tx, drafts);
    return { ...answer, replayed: false };
  });
}
