import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { aggregations, overagePolicies } from '../catalog/plan.entity.js';
import type { ChargeModel } from '../domain/rating.js';
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
    /** When a change of plan took the metric away: it counts until then, on the terms it had, and is billed with the others. */
    withdrawnAt: instant().nullable(),
    limit: exact().nullable().name('limit_quantity'),
    overage: p.enum(overagePolicies),
    /** How use over the limit is priced, or all use where there is no limit; null when nothing is charged. */
    charge: p.json<ChargeModel>().nullable(),
    currency: text(),
    used: exact().default('0'),
    eventCount: p.integer().default(0),
    /** Timestamp of the event that LATEST shows. */
    latestAt: instant().nullable(),
    thresholdPercents: p.array<number>().columnType('numeric[]'),
    /** Thresholds reached and announced; they fire once a period. */
    firedPercents: p.array<number>().columnType('numeric[]'),
    /** LATEST and WEIGHTED_SUM: the level the period began with, and since when it stood. */
    openingLevel: exact().nullable(),
    openingAt: instant().nullable(),
    /** WEIGHTED_SUM: the level as of `latestAt`, and level × milliseconds from the period's start until then. */
    level: exact().nullable(),
    accrued: p.decimal().precision(60).scale(12).nullable(),
    /** The invoice that waits as DRAFT for this period's late events; they still count here until it is finalised. */
    draftInvoiceId: p.uuid().nullable(),
    /** The invoice that billed it when it closed; of a period with nothing to bill none may have been issued. */
    invoiceId: p.uuid().nullable(),
    /** Set when its usage was invoiced: nothing counts here after that, but late events while the invoice is a draft. */
    closedAt: instant().nullable(),
  },
  uniques: [{ properties: ['accountId', 'metricCode', 'periodStart', 'subscriptionId'] }],
  indexes: [{ properties: ['accountId', 'invoiceId'] }],
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
    /** UNIQUE: the value of the metric's property. */
    uniqueValue: text().nullable(),
    recordedAt: instant(),
    /** Its place in the order in which the account's events were accepted: the commit that counted it, and the place therein. */
    watermark: p.bigint(),
    position: p.integer(),
    /** Set when a correction took it back; it is kept for audit and counts nowhere. */
    voidedAt: instant().nullable(),
  },
});

/** A correction of an event, for audit: what it was before, and what it is since. */
export const UsageCorrection = defineEntity({
  name: 'UsageCorrection',
  tableName: 'usage_correction',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    transactionId: text(),
    action: p.enum(['VOID', 'REPLACE'] as const),
    before: p.json<object>(),
    after: p.json<object>().nullable(),
    reason: text().nullable(),
    createdAt: instant(),
  },
  indexes: [{ properties: ['accountId', 'transactionId'] }],
});
export type UsageCorrection = InferEntity<typeof UsageCorrection>;

/** Counts the account's commits of usage: the watermark that lets a caller read its own writes. */
export const UsageCursorEntity = defineEntity({
  name: 'UsageCursor',
  tableName: 'usage_cursor',
  properties: { accountId: accountKey(), id: idKey(), watermark: p.bigint() },
});
