import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { aggregations, overagePolicies } from '../catalog/plan.entity.js';
import { accountKey, exact, idKey, instant, text } from '../platform/columns.js';

/** One metric in one billing period: the counter, and all that recording needs to know of plan and subscription. */
export const UsageWindow = defineEntity({
  name: 'UsageWindow',
  tableName: 'usage_window',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    subscriptionId: p.uuid(),
    metricCode: text(),
    featureName: text(),
    /** Place of the feature in its plan; summaries keep that order. */
    position: p.integer(),
    aggregation: p.enum(aggregations),
    periodStart: instant(),
    periodEnd: instant(),
    limit: exact().nullable().name('limit_quantity'),
    overage: p.enum(overagePolicies),
    unitPrice: exact().nullable(),
    currency: text(),
    used: exact().default('0'),
    eventCount: p.integer().default(0),
    /** Timestamp of the event that LATEST shows. */
    latestAt: instant().nullable(),
    thresholdPercents: p.array<number>().columnType('numeric[]'),
    /** Thresholds reached and announced; they fire once a period. */
    firedPercents: p.array<number>().columnType('numeric[]'),
    /** Set when its usage was invoiced: nothing counts here after that. */
    closedAt: instant().nullable(),
  },
  uniques: [{ properties: ['accountId', 'metricCode', 'periodStart', 'subscriptionId'] }],
});
export type UsageWindow = InferEntity<typeof UsageWindow>;

/** A usage event as accepted. No foreign keys; the caller's own id is the key, so that each counts once. */
export const UsageEventEntity = defineEntity({
  name: 'UsageEvent',
  tableName: 'usage_event',
  properties: {
    accountId: accountKey(),
    /** The caller's `transactionId`. */
    id: p.text().primary(),
    metricCode: text(),
    value: exact(),
    occurredAt: instant(),
    windowId: p.uuid(),
    /** It came after its own window was invoiced and counts in the next one. */
    late: p.boolean(),
    properties: p.json<object>().nullable(),
    recordedAt: instant(),
  },
});

/** Counts the account's commits of usage: the watermark that lets a caller read its own writes. */
export const UsageCursorEntity = defineEntity({
  name: 'UsageCursor',
  tableName: 'usage_cursor',
  properties: { accountId: accountKey(), id: idKey(), watermark: p.bigint() },
});
