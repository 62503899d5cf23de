import type { EntityManager } from '@mikro-orm/postgresql';
import { featureKey } from '../catalog/catalogFile.js';
import { featuresByPlanIds } from '../catalog/plans.js';
import { Decimal, zero } from '../domain/decimal.js';
import type { Clock } from '../platform/clock.js';
import { usageSummary } from '../usage/usageSummary.js';
import { liveSubscription } from './subscriptions.js';

/** What the account may use right now. */
export interface Entitlement {
  /** Feature key: `storage_gb`. */
  feature: string;
  /** Is one more unit allowed? */
  allowed: boolean;
  /** Null: unlimited. */
  limit: Decimal | null;
  used: Decimal;
  remaining: Decimal | null;
  /** When a counter starts again; null for features without one. */
  resetsAt: Date | null;
}

/** The features of the live plan with what is left of each; an unpaid or canceled subscription grants none. */
export async function entitlements(
  em: EntityManager,
  { accountId, clock }: { accountId: string; clock: Clock },
): Promise<Entitlement[]> {
  const subscription = await liveSubscription(em, accountId);
  if (!subscription || subscription.status === 'INCOMPLETE' || subscription.status === 'PAUSED') return [];
  const features = (await featuresByPlanIds(em, accountId, [subscription.planId])).get(subscription.planId) ?? [];
  const summary = await usageSummary(em, { accountId, clock });
  return features.map((feature) => {
    const item = summary.items.find(({ metric }) => featureKey(metric) === feature.code);
    if (!item)
      return { feature: feature.code, allowed: true, limit: null, used: zero, remaining: null, resetsAt: null };
    const remaining = item.limit === null ? null : Decimal.max(item.limit.minus(item.used), 0);
    return {
      feature: feature.code,
      allowed: remaining === null || remaining.greaterThan(0) || item.overage !== 'BLOCK',
      limit: item.limit,
      used: item.used,
      remaining,
      resetsAt: summary.period.end,
    };
  });
}
