import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import type { Catalog, CatalogPlan } from './catalogFile.js';
import { Metric, Plan, PlanFeature } from './plan.entity.js';

/** What publishing did, or would do, to one metric or plan. */
export interface CatalogChange {
  kind: 'metric' | 'plan';
  code: string;
  action: 'created' | 'new version' | 'unchanged';
  version?: number;
  /** `price: 4900 → 5900`, one entry for each difference from the version before. */
  differences: string[];
}

/**
 * Publishes a catalog: new metrics, and a new version of each plan that differs from its current one. Publishing the same
 * again changes nothing. Plans that the file doesn't name stay. With `dryRun` it only says what it would do.
 * A metric's aggregation and unit can't change, because counted usage would change its meaning: CONFLICT.
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

    for (const metric of catalog.metrics) {
      const known = await em.findOne(Metric, { code: metric.code });
      if (known && (known.aggregation !== metric.aggregation || (known.unit ?? null) !== metric.unit)) {
        throw new BillingError(
          'CONFLICT',
          `Metric '${metric.code}' is ${known.aggregation}${known.unit ? ` in ${known.unit}` : ''} and can't become ${metric.aggregation}${metric.unit ? ` in ${metric.unit}` : ''}: give the new one another code`,
        );
      }
      const differences = known && known.name !== metric.name ? [`name: ${known.name} → ${metric.name}`] : [];
      changes.push({ kind: 'metric', code: metric.code, action: known ? 'unchanged' : 'created', differences });
      if (known) known.name = metric.name;
      else em.create(Metric, { id: newId(), ...metric, createdAt: now });
    }

    for (const [position, plan] of catalog.plans.entries()) {
      const current = await em.findOne(Plan, { code: plan.code, current: true });
      const contentHash = hashOf(plan);
      if (current?.contentHash === contentHash) {
        current.position = position;
        changes.push({ kind: 'plan', code: plan.code, action: 'unchanged', version: current.version, differences: [] });
        continue;
      }
      const features = current
        ? await em.find(PlanFeature, { planId: current.id }, { orderBy: { position: 'asc' } })
        : [];
      const version = (current?.version ?? 0) + 1;
      changes.push({
        kind: 'plan',
        code: plan.code,
        action: current ? 'new version' : 'created',
        version,
        differences: current ? differencesOf(flat(current, features), flat(plan, plan.features)) : [],
      });
      if (current) {
        current.current = false;
        await em.flush(); // before the new version takes over: at most one may be current
      }
      const id = newId();
      const { features: granted, ...content } = plan;
      em.create(Plan, { id, ...content, version, position, contentHash, publishedAt: now, current: true });
      for (const [place, feature] of granted.entries())
        em.create(PlanFeature, { planId: id, position: place, ...feature });
      await em.flush();
    }
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

const hashOf = (plan: CatalogPlan): string =>
  createHash('sha256')
    .update(JSON.stringify(plan, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))
    .digest('hex');

function flat(
  plan: Pick<Plan, 'name' | 'priceMinor' | 'currency' | 'interval' | 'intervalCount' | 'trialDays'>,
  features: readonly { code: string; limit?: string | null; overage: string; unitPrice?: string | null }[],
): Map<string, string> {
  const number = (text: string | null | undefined): string => (text == null ? '' : String(Number(text)));
  return new Map([
    ['name', plan.name],
    ['price', `${plan.priceMinor}`],
    ['currency', plan.currency],
    ['interval', `${plan.intervalCount} ${plan.interval}`],
    ['trial_days', `${plan.trialDays}`],
    ...features.map((f): [string, string] => [
      `features.${f.code}`,
      `${f.limit == null ? 'unlimited' : number(f.limit)} ${f.overage.toLowerCase()}${f.unitPrice == null ? '' : ` at ${number(f.unitPrice)}`}`,
    ]),
  ]);
}

const differencesOf = (before: Map<string, string>, after: Map<string, string>): string[] =>
  [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key))
    .map((key) => `${key}: ${before.get(key) ?? 'none'} → ${after.get(key) ?? 'none'}`);
