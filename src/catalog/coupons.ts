import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import { Coupon } from './plan.entity.js';

/** The coupon with this code, archived or not. NOT_FOUND doesn't name the others: who knows a code may take the coupon. */
export async function couponByCode(em: EntityManager, code: string, ...field: string[]): Promise<Coupon> {
  const coupon = await em.findOne(Coupon, { code });
  if (coupon) return coupon;
  throw new BillingError('NOT_FOUND', `No coupon with code '${code.slice(0, 80)}'`, { field });
}
