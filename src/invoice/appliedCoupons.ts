import type { EntityManager } from '@mikro-orm/postgresql';
import { Coupon } from '../catalog/plan.entity.js';
import { Decimal } from '../domain/decimal.js';
import { majorUnits } from '../domain/money.js';
import type { appliedCoupon as appliedCouponShape, Shape } from '../domain/resources.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import { AppliedCoupon } from './appliedCoupon.entity.js';

/** What an account has taken, with what it took. */
export interface AppliedCouponView {
  applied: AppliedCoupon;
  coupon: Coupon;
}

/** The account's live coupons, in the order in which they discount. */
export async function liveCoupons(em: EntityManager, accountId: string): Promise<AppliedCouponView[]> {
  const live = await em.find(
    AppliedCoupon,
    { accountId, endedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  const ids = live.map(({ couponId }) => couponId);
  const coupons = await em.find(Coupon, { id: { $in: ids } }, { disableIdentityMap: true });
  const byId = new Map(coupons.map((coupon) => [coupon.id, coupon]));
  return live.map((applied) => ({ applied, coupon: byId.get(applied.couponId)! }));
}

/** One by its uuid, live or not. */
export async function appliedCoupon(em: EntityManager, accountId: string, id: string): Promise<AppliedCouponView> {
  const applied = await em.findOneOrFail(AppliedCoupon, { accountId, id }, { disableIdentityMap: true });
  return { applied, coupon: await em.findOneOrFail(Coupon, { id: applied.couponId }, { disableIdentityMap: true }) };
}

/** `data` of the events about a coupon. Amounts in major units. */
export function presentAppliedCoupon({ applied, coupon }: AppliedCouponView): Shape<typeof appliedCouponShape> {
  const { amountMinor, currency, percent } = coupon;
  return {
    id: publicId('appliedCoupon', applied.id),
    code: coupon.code,
    name: coupon.name,
    amount_off:
      amountMinor == null || currency == null ? null : rawNumber(majorUnits({ minorUnits: amountMinor, currency })),
    currency: currency ?? null,
    percent_off: percent == null ? null : rawNumber(new Decimal(percent).toFixed()),
    periods_left: applied.periodsLeft ?? null,
    applied_at: applied.appliedAt.toISOString(),
    ended_at: applied.endedAt?.toISOString() ?? null,
  };
}
