import type { EntityManager } from '@mikro-orm/postgresql';
import { Metric, type PlanFeature } from '../catalog/plan.entity.js';
import { isLevel } from '../domain/aggregate.js';
import type { Period } from '../domain/period.js';
import { defaultThresholdPercents } from '../domain/thresholds.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { UsageWindow } from './usage.entity.js';

/** What a plan gives to windows, as far as the state of the subscription lets it. */
export interface GrantedTerms {
  features: readonly PlanFeature[];
  /** Only what is over a limit is billed: no charge has its minimum. */
  trial?: boolean | undefined;
}

export interface FreshTerms extends GrantedTerms {
  /** Null: there is none yet. */
  subscriptionId: string | null;
  period: Period;
  currency: string;
  /** The subscription is paused: nothing counts, and nobody is warned of limits. */
  blocked?: boolean;
}

/** What a window gets of a plan. A metric the plan doesn't grant takes no more usage. */
export function termsUnder(terms: GrantedTerms, metricCode: string): ReturnType<typeof termsOf> {
  const feature = terms.features.find((f) => f.metricCode === metricCode);
  return feature ? termsOf(feature, terms) : nothingGranted;
}

const nothingGranted = { limit: '0', overage: 'BLOCK', charge: null } as const;

const termsOf = ({ limit = null, overage, charge = null }: PlanFeature, { trial }: Pick<GrantedTerms, 'trial'>) => ({
  limit,
  overage,
  charge: charge && trial ? { ...charge, minimum: '0' } : charge,
});

/**
 * The windows of these features as they begin. LATEST and WEIGHTED_SUM read a level, which goes on from where the
 * subscription's last window ended (a new subscription begins at zero); all others start at zero. Stored nowhere yet: opening
 * them writes these, a preview bills them.
 */
export const freshWindows = async (
  em: EntityManager,
  terms: FreshTerms & { accountId: string },
): Promise<UsageWindow[]> => (await freshWindowsOf(em, [terms]))[0]!;

/** The same for many subscriptions, one of each account, in their order. What was closed before has been flushed. */
export async function freshWindowsOf(
  em: EntityManager,
  all: readonly (FreshTerms & { accountId: string })[],
): Promise<UsageWindow[][]> {
  const subscriptionIds = all.flatMap(({ subscriptionId }) => subscriptionId ?? []);
  const rows = await rowsOf(
    em,
    sql<LastLevel>`
      select distinct on (account_id, subscription_id, metric_code)
        account_id, metric_code, coalesce(level, used) as level, latest_at from usage_window
      where account_id = any(${all.map(({ accountId }) => accountId)}::uuid[]) and subscription_id = any(${subscriptionIds}::uuid[])
        and aggregation in ('LATEST', 'WEIGHTED_SUM') and opening_level is not null
      order by account_id, subscription_id, metric_code, period_end desc, id desc`,
  );
  const levels = Map.groupBy(rows, (row) => row.account_id);
  const codes = new Set(all.flatMap(({ features }) => features.flatMap((f) => f.metricCode ?? [])));
  const metrics = new Map(
    (await em.find(Metric, { code: { $in: [...codes] } })).map((metric) => [metric.code, metric]),
  );
  return all.map((terms) => begin(terms, { metrics, levels: levels.get(terms.accountId) ?? [] }));
}

interface LastLevel {
  account_id: string;
  metric_code: string;
  level: string;
  latest_at: string | null;
}

function begin(
  terms: FreshTerms & { accountId: string },
  { metrics, levels }: { metrics: ReadonlyMap<string, Metric>; levels: readonly LastLevel[] },
): UsageWindow[] {
  return terms.features.flatMap((feature) => {
    const metric = feature.metricCode == null ? undefined : metrics.get(feature.metricCode);
    if (!metric) return [];
    const last = levels.find((l) => l.metric_code === metric.code);
    const openingLevel = isLevel(metric.aggregation) ? (last?.level ?? '0') : null;
    const openingAt = isLevel(metric.aggregation) && last?.latest_at ? instantOf(last.latest_at) : null;
    const weighs = metric.aggregation === 'WEIGHTED_SUM';
    return [
      {
        accountId: terms.accountId,
        id: newId(),
        subscriptionId: terms.subscriptionId ?? '',
        metricCode: metric.code,
        featureName: feature.name,
        position: feature.position,
        aggregation: metric.aggregation,
        periodStart: terms.period.start,
        periodEnd: terms.period.end,
        withdrawnAt: null,
        ...(terms.blocked ? nothingGranted : termsOf(feature, terms)),
        currency: terms.currency,
        used: openingLevel ?? '0',
        eventCount: 0,
        latestAt: openingAt,
        openingLevel,
        openingAt,
        level: weighs ? openingLevel : null,
        accrued: weighs ? '0' : null,
        thresholdPercents: terms.blocked ? [] : [...defaultThresholdPercents],
        firedPercents: [],
        closedAt: null,
        draftInvoiceId: null,
        invoiceId: null,
      },
    ];
  });
}
