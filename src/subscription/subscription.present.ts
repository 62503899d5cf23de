import { lastDay, localDate } from '../domain/period.js';
import type { Shape, subscription as subscriptionShape } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { publicId } from '../platform/ids.js';
import type { Subscription } from './subscription.entity.js';

/** REST shape of a subscription; also the `data` of its events. `plan_id` is the plan's code, as in the guide. */
export function presentSubscription({
  subscription,
  planCode,
  pendingPlanCode,
  timeZone,
}: {
  subscription: Subscription;
  planCode: string;
  pendingPlanCode: string | null;
  timeZone: string;
}): Shape<typeof subscriptionShape> {
  const period = { start: subscription.periodStart, end: subscription.periodEnd };
  return {
    id: publicId('subscription', subscription.id),
    plan_id: planCode,
    quantity: subscription.quantity,
    status: lowerCase(subscription.status),
    current_period_start: localDate(period.start, timeZone),
    current_period_end: lastDay(period, timeZone),
    trial_ends_at: subscription.trialEndsAt?.toISOString() ?? null,
    cancel_at: subscription.cancelAt?.toISOString() ?? null,
    canceled_at: subscription.canceledAt?.toISOString() ?? null,
    pending_plan_id: pendingPlanCode,
    pending_quantity: subscription.pendingQuantity ?? null,
    paused_at: subscription.pausedAt?.toISOString() ?? null,
    resume_at: subscription.resumeAt?.toISOString() ?? null,
    created_at: subscription.createdAt.toISOString(),
  };
}
