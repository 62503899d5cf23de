import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import type { Catalog, CatalogMetric, CatalogPlan } from './catalogFile.js';
import { differencesOf, planHash, planTerms } from './differences.js';
import { Metric, Plan, PlanFeature } from './plan.entity.js';
import { publishCoupon } from './publishCoupon.js';

/** What publishing did, or would do, to one metric, plan or coupon. */
export interface CatalogChange {
  kind: 'metric' | 'plan' | 'coupon';
  code: string;
  action: 'created' | 'new version' | 'archived' | 'unchanged';
  version?: number;
  /** `price: 4900 → 5900`, one entry for each difference from the version before. */
  differences: string[];
}

/**
 * Publishes a catalog: new metrics and coupons, and a new version of each plan that differs from its current one. Publishing
 * the same again changes nothing. What the file doesn't name stays. With `dryRun` it only says what it would do.
 * What a metric measures can't change, because counted usage would change its meaning, and a coupon can't, because accounts
 * took it as it was: CONFLICT.
 */
export async function publishCatalog(
  { db, clock }: Pick<Deps, 'db' | 'clock'>,
  catalog: Catalog,
  { dryRun = false }: { dryRun?: boolean } = {},
): Promise<CatalogChange[]> {
  const changes: CatalogChange[] = [];
  const work = async (em: EntityManager): Promise<void> => {
    // One publication at a time, so that two can't both make the next version.
    await rowsOf(em, sql`select pg_advisory_xact_lock(hashtext('catalog'))`);
    const now = clock.now();

    for (const metric of catalog.metrics) changes.push(await publishMetric(em, metric, now));
    for (const [position, plan] of catalog.plans.entries()) changes.push(await publishPlan(em, plan, position, now));
    await em.flush();
    for (const coupon of catalog.coupons) changes.push(await publishCoupon(em, coupon, now));
    await em.flush();
    if (dryRun) throw new DryRun();
  };
  try {
    await db.orm.em.fork().transactional((em) => work(em as EntityManager));
  } catch (error) {
    if (!(error instanceof DryRun)) throw error;
  }
  return changes;
}

/** Rolls the transaction back after everything in it has proved to work. */
class DryRun extends Error {}

async function publishMetric(em: EntityManager, metric: CatalogMetric, now: Date): Promise<CatalogChange> {
  const { code } = metric;
  const known = await em.findOne(Metric, { code });
  if (!known) {
    em.create(Metric, { id: newId(), ...metric, createdAt: now });
    return { kind: 'metric', code, action: 'created', differences: [] };
  }
  if (measureOf(known) !== measureOf(metric)) {
    throw new BillingError(
      'CONFLICT',
      `Metric '${code}' is ${measureOf(known)} and can't become ${measureOf(metric)}: give the new one another code`,
    );
  }
  const differences = known.name === metric.name ? [] : [`name: ${known.name} → ${metric.name}`];
  known.name = metric.name;
  return { kind: 'metric', code, action: 'unchanged', differences };
}

/** `UNIQUE of user_id in seats` */
const measureOf = ({ aggregation, property, unit }: Pick<Metric, 'aggregation' | 'property' | 'unit'>): string =>
  `${aggregation}${property ? ` of ${property}` : ''}${unit ? ` in ${unit}` : ''}`;

async function publishPlan(em: EntityManager, plan: CatalogPlan, position: number, now: Date): Promise<CatalogChange> {
  const { code, features, ...content } = plan;
  const current = await em.findOne(Plan, { code, current: true });
  const contentHash = planHash(plan);
  if (current?.contentHash === contentHash) {
    current.position = position;
    return { kind: 'plan', code, action: 'unchanged', version: current.version, differences: [] };
  }
  const granted = current ? await em.find(PlanFeature, { planId: current.id }, { orderBy: { position: 'asc' } }) : [];
  const version = (current?.version ?? 0) + 1;
  if (current) {
    current.current = false;
    await em.flush(); // before the new version takes over: at most one may be current
  }
  const id = newId();
  em.create(Plan, { id, code, ...content, version, position, contentHash, publishedAt: now, current: true });
  for (const [place, feature] of features.entries())
    em.create(PlanFeature, { planId: id, position: place, ...feature });
  await em.flush();
  return {
    kind: 'plan',
    code,
    action: current ? 'new version' : 'created',
    version,
    differences: current ? differencesOf(planTerms(current, granted), planTerms(plan, features)) : [],
  };
}
