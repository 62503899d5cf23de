import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import { newId } from '../platform/ids.js';
import type { CatalogCoupon } from './couponFile.js';
import { contentHash } from './differences.js';
import { Coupon, Metric, Plan } from './plan.entity.js';
import type { CatalogChange } from './publishCatalog.js';

/**
 * Publishes one coupon, after the plans and metrics that it may name. It never changes once it is there, but for being
 * archived, and that for good: a file that doesn't say so any more doesn't bring it back.
 */
export async function publishCoupon(em: EntityManager, coupon: CatalogCoupon, now: Date): Promise<CatalogChange> {
  const { archived, ...content } = coupon;
  const { code } = coupon;
  const hash = contentHash(content);
  const known = await em.findOne(Coupon, { code });
  if (!known) {
    await requireKnown(em, coupon);
    em.create(Coupon, {
      id: newId(),
      ...content,
      contentHash: hash,
      createdAt: now,
      archivedAt: archived ? now : null,
    });
    return { kind: 'coupon', code, action: 'created', differences: [] };
  }
  if (known.contentHash !== hash) {
    throw new BillingError(
      'CONFLICT',
      `Coupon '${code}' is published with other terms, and accounts may have taken it so: give the new one another code`,
    );
  }
  if (!archived || known.archivedAt != null) return { kind: 'coupon', code, action: 'unchanged', differences: [] };
  known.archivedAt = now;
  return { kind: 'coupon', code, action: 'archived', differences: [] };
}

async function requireKnown(em: EntityManager, { code, planCodes, metricCodes }: CatalogCoupon): Promise<void> {
  const plans = await em.find(Plan, { code: { $in: planCodes }, current: true });
  const metrics = await em.find(Metric, { code: { $in: metricCodes } });
  const unknown = [
    ...planCodes.filter((planCode) => !plans.some((plan) => plan.code === planCode)).map((c) => `plan '${c}'`),
    ...metricCodes
      .filter((metricCode) => !metrics.some((metric) => metric.code === metricCode))
      .map((c) => `metric '${c}'`),
  ];
  if (unknown.length > 0)
    throw new BillingError('INVALID', `Coupon '${code}' is for ${unknown.join(', ')}, which nobody has published`);
}
