import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { BatchFunction } from '../platform/batch.js';
import { type Connection, type PageArgs, page } from '../platform/connection.js';
import { Metric, Plan, PlanFeature } from './plan.entity.js';

const plain = { disableIdentityMap: true } as const;

/** The versions on offer, in the catalog's order. */
export async function currentPlans(em: EntityManager, args: PageArgs): Promise<Connection<Plan>> {
  return page<Plan>(args, {
    cursorOf: (plan) => plan.code,
    isCursor: (code) => /^[a-z][a-z0-9_]*$/.test(code),
    fetch: async (limit, after) => {
      const from = after === undefined ? null : await em.findOne(Plan, { code: after, current: true }, plain);
      const behind = from
        ? { $or: [{ position: { $gt: from.position } }, { position: from.position, code: { $gt: from.code } }] }
        : {};
      return em.find(
        Plan,
        { current: true, ...behind },
        { ...plain, orderBy: { position: 'asc', code: 'asc' }, limit },
      );
    },
  });
}

/** The plan a new subscription gets for this code; NOT_FOUND names the codes there are. */
export async function currentPlan(em: EntityManager, code: string, ...field: string[]): Promise<Plan> {
  const plan = await em.findOne(Plan, { code, current: true });
  if (plan) return plan;
  const known = await em.find(Plan, { current: true }, { orderBy: { position: 'asc' }, limit: 20 });
  throw new BillingError(
    'NOT_FOUND',
    `No plan with code '${code.slice(0, 80)}': expected one of ${known.map((p) => p.code).join(', ')}`,
    {
      field,
    },
  );
}

export const planById = (em: EntityManager, id: string): Promise<Plan> => em.findOneOrFail(Plan, { id });

export const featuresOf = (em: EntityManager, planId: string): Promise<PlanFeature[]> =>
  em.find(PlanFeature, { planId }, { orderBy: { position: 'asc' } });

export const plansByIds: BatchFunction<Plan> = async (em, _accountId, ids) =>
  new Map((await em.find(Plan, { id: { $in: [...ids] } }, plain)).map((plan) => [plan.id, plan]));

export const featuresByPlanIds: BatchFunction<PlanFeature[]> = async (em, _accountId, ids) =>
  Map.groupBy(
    await em.find(PlanFeature, { planId: { $in: [...ids] } }, { ...plain, orderBy: { position: 'asc' } }),
    (f) => f.planId,
  );

export const metricsByCodes: BatchFunction<Metric> = async (em, _accountId, codes) =>
  new Map((await em.find(Metric, { code: { $in: [...codes] } }, plain)).map((metric) => [metric.code, metric]));
