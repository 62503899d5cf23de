import type { EntityManager } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { planById } from '../catalog/plans.js';
import { dueStep, type Lifecycle, type Schedule } from '../domain/lifecycle.js';
import type { Period } from '../domain/period.js';
import type { Subscription } from './subscription.entity.js';

// Between the row of a subscription and its state as `domain/lifecycle` knows it.

/** A subscription's state with its plans. */
export async function readState(em: EntityManager, subscription: Subscription): Promise<Lifecycle<Plan>> {
  const { timeZone } = await em.findOneOrFail(Account, { id: subscription.accountId });
  const plan = await planById(em, subscription.planId);
  const pending = subscription.pendingPlanId == null ? null : await planById(em, subscription.pendingPlanId);
  return stateOf(subscription, { plan, pending, timeZone });
}

export const stateOf = (
  subscription: Subscription,
  { plan, pending, timeZone }: { plan: Plan; pending: Plan | null; timeZone: string },
): Lifecycle<Plan> => ({
  ...scheduleOf(subscription),
  terms: plan,
  quantity: subscription.quantity,
  pendingTerms: pending,
  pendingQuantity: subscription.pendingQuantity ?? null,
  anchor: subscription.anchor,
  timeZone,
  canceledAt: subscription.canceledAt ?? null,
  pausedAt: subscription.pausedAt ?? null,
});

const scheduleOf = (subscription: Subscription): Schedule => ({
  status: subscription.status,
  period: { start: subscription.periodStart, end: subscription.periodEnd },
  createdAt: subscription.createdAt,
  trialNoticeAt: subscription.trialNoticeAt ?? null,
  cancelAt: subscription.cancelAt ?? null,
  resumeAt: subscription.resumeAt ?? null,
});

/** The state that a subscription begins in, once its first invoice is paid. */
export const firstState = ({
  plan,
  quantity,
  period,
  trial,
  at,
  timeZone,
}: {
  plan: Plan;
  quantity: number;
  period: Period;
  trial: boolean;
  at: Date;
  timeZone: string;
}): Lifecycle<Plan> => ({
  status: trial ? 'TRIALING' : 'ACTIVE',
  terms: plan,
  quantity,
  pendingTerms: null,
  pendingQuantity: null,
  anchor: trial ? period.end : at,
  period,
  timeZone,
  createdAt: at,
  trialNoticeAt: null,
  cancelAt: null,
  canceledAt: null,
  pausedAt: null,
  resumeAt: null,
});

/** The columns that a state is kept in. */
export const fieldsOf = (state: Lifecycle<Plan>) => ({
  status: state.status,
  planId: state.terms.id,
  quantity: state.quantity,
  pendingPlanId: state.pendingTerms?.id ?? null,
  pendingQuantity: state.pendingQuantity,
  anchor: state.anchor,
  periodStart: state.period.start,
  periodEnd: state.period.end,
  trialNoticeAt: state.trialNoticeAt,
  cancelAt: state.cancelAt,
  canceledAt: state.canceledAt,
  pausedAt: state.pausedAt,
  resumeAt: state.resumeAt,
  dueAt: dueStep(state)?.at ?? null,
});

/** After anything that decides on it has changed: when something happens by itself next. */
export function reschedule(subscription: Subscription): void {
  subscription.dueAt = dueStep(scheduleOf(subscription))?.at ?? null;
}
