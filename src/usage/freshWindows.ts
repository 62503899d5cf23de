import type { EntityManager } from '@mikro-orm/postgresql';
import { Metric, type PlanFeature } from '../catalog/plan.entity.js';
import { isLevel } from '../domain/aggregate.js';
import type { Period } from '../domain/period.js';
import { defaultThresholdPercents } from '../domain/thresholds.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { UsageWindow } from './usage.entity.js';

export interface FreshTerms {
  /** Null: there is none yet. */
  subscriptionId: string | null;
  period: Period;
  features: readonly PlanFeature[];
  currency: string;
  /** The subscription is paused: nothing counts, and nobody is warned of limits. */
  blocked?: boolean;
}

/** What a window gets of a plan. A metric the plan doesn't grant takes no more usage. */
export function termsUnder(features: readonly PlanFeature[], metricCode: string): ReturnType<typeof termsOf> {
  const feature = features.find((f) => f.metricCode === metricCode);
  return feature ? termsOf(feature) : nothingGranted;
}

const nothingGranted = { limit: '0', overage: 'BLOCK', charge: null } as const;

const termsOf = (feature: PlanFeature) => ({
  limit: feature.limit ?? null,
  overage: feature.overage,
  charge: feature.charge ?? null,
});

/**
 * The windows of these features as they begin. LATEST and WEIGHTED_SUM read a level, which goes on from where the
 * subscription's last window ended (a new subscription begins at zero); all others start at zero. Stored nowhere yet: opening
 * them writes these, a preview bills them.
 */
export async function freshWindows(em: EntityManager, of: FreshTerms & { accountId: string }): Promise<UsageWindow[]> {
  const levels = await rowsOf(
    em,
    sql<{ metric_code: string; level: string; latest_at: string | null }>`
      select distinct on (metric_code) metric_code, coalesce(level, used) as level, latest_at from usage_window
      where account_id = ${of.accountId} and subscription_id = ${of.subscriptionId}
        and aggregation in ('LATEST', 'WEIGHTED_SUM') and opening_level is not null
      order by metric_code, period_end desc, id desc`,
  );
  const codes = of.features.flatMap((f) => (f.metricCode == null ? [] : [f.metricCode]));
  const metrics = await em.find(Metric, { code: { $in: codes } });
  return of.features.flatMap((feature) => {
    const metric = metrics.find((m) => m.code === feature.metricCode);
    if (!metric) return [];
    const last = levels.find((l) => l.metric_code === metric.code);
    const openingLevel = isLevel(metric.aggregation) ? (last?.level ?? '0') : null;
    const openingAt = isLevel(metric.aggregation) && last?.latest_at ? instantOf(last.latest_at) : null;
    const weighs = metric.aggregation === 'WEIGHTED_SUM';
    return [
      {
        accountId: of.accountId,
        id: newId(),
        subscriptionId: of.subscriptionId ?? '',
        metricCode: metric.code,
        featureName: feature.name,
        position: feature.position,
        aggregation: metric.aggregation,
        periodStart: of.period.start,
        periodEnd: of.period.end,
        ...(of.blocked ? nothingGranted : termsOf(feature)),
        currency: of.currency,
        used: openingLevel ?? '0',
        eventCount: 0,
        latestAt: openingAt,
        openingLevel,
        openingAt,
        level: weighs ? openingLevel : null,
        accrued: weighs ? '0' : null,
        thresholdPercents: of.blocked ? [] : [...defaultThresholdPercents],
        firedPercents: [],
        closedAt: null,
        draftInvoiceId: null,
      },
    ];
  });
}
