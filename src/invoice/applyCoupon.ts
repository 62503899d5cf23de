import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { couponByCode } from '../catalog/coupons.js';
import type { Coupon } from '../catalog/plan.entity.js';
import { BillingError, invalid } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { AppliedCoupon } from './appliedCoupon.entity.js';
import { presentAppliedCoupon } from './appliedCoupons.js';
import { lockDrafts, redecideDrafts } from './waitingDrafts.js';

export interface ApplyCouponInput {
  idempotencyKey?: string | undefined;
  couponCode: string;
}

/**
 * Takes a coupon: from now on it discounts the account's invoices, first those that wait as drafts. Each can be taken once (CONFLICT): else whoever has a code
 * could take it anew each month. An operator may give one again that is no longer live. `agreed` may refuse what was decided:
 * it knows what the account was shown before (see subscription/applyCouponAsShown).
 */
export async function applyCoupon(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: ApplyCouponInput,
  agreed?: (tx: Tx, decided: { account: Account; coupon: Coupon }) => Promise<void>,
): Promise<{ appliedCouponId: string; replayed: boolean }> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    // read
    const { em, now } = tx;
    const answer = { appliedCouponId: newId() };
    const claimed = await claimKey(tx, { operation: 'applyCoupon', key: idempotencyKey, input, answer });
    if (claimed.replayed) return { ...claimed.answer, replayed: true };
    const drafts = await lockDrafts(tx);
    const account = await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });

    // decide
    const coupon = await couponToTake(em, { account, actor, couponCode: input.couponCode, at: now });
    await agreed?.(tx, { account, coupon });

    // write
    const applied = em.create(AppliedCoupon, {
      accountId,
      id: answer.appliedCouponId,
      couponId: coupon.id,
      periodsLeft: periodsOf(coupon),
      appliedAt: now,
      endedAt: null,
    });
    tx.emit({ type: 'coupon.applied', data: presentAppliedCoupon({ applied, coupon }) });
    await redecideDrafts(tx, drafts);
    return { ...answer, replayed: false };
  });
}

/** The coupon with this code, if the account may take it now; taking it and its preview both decide here. */
export async function couponToTake(
  em: Tx['em'],
  { account, actor, couponCode, at }: { account: Account; actor: Actor; couponCode: string; at: Date },
): Promise<Coupon> {
  const field = ['couponCode'];
  const coupon = await couponByCode(em, couponCode, ...field);
  const taken = await em.find(AppliedCoupon, { accountId: account.id, couponId: coupon.id });
  if (coupon.archivedAt || (coupon.redeemBy && coupon.redeemBy < at))
    throw new BillingError('ILLEGAL_STATE', `Coupon '${coupon.code}' can no longer be taken`, { field });
  if (coupon.currency != null && coupon.currency !== account.currency)
    throw invalid(`Coupon '${coupon.code}' is in ${coupon.currency}, the account is in ${account.currency}`, ...field);
  if (taken.some((one) => one.endedAt == null))
    throw new BillingError('CONFLICT', `The account already has coupon '${coupon.code}'`, { field });
  if (taken.length > 0 && !actor.operator)
    throw new BillingError('CONFLICT', `The account has had coupon '${coupon.code}': it can be taken once`, { field });
  return coupon;
}

/** Periods' invoices it discounts when it is taken; null: without end. */
export const periodsOf = ({ duration, durationPeriods }: Coupon): number | null =>
  ({ ONCE: 1, REPEATING: durationPeriods ?? 1, FOREVER: null })[duration];
