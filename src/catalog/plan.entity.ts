import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { ChargeModel } from '../domain/rating.js';
import { exact, idKey, instant, minor, text } from '../platform/columns.js';

export const intervals = ['DAY', 'WEEK', 'MONTH', 'YEAR'] as const;
export const billingAnchors = ['ANNIVERSARY', 'CALENDAR'] as const;
export const aggregations = ['COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE', 'WEIGHTED_SUM'] as const;
export const overagePolicies = ['BLOCK', 'CHARGE', 'ALLOW'] as const;
export type OveragePolicy = (typeof overagePolicies)[number];

/** Something that is measured: `voice_minutes`, `storage` in `gb`. */
export const Metric = defineEntity({
  name: 'Metric',
  tableName: 'metric',
  properties: {
    id: idKey(),
    code: p.text().unique(),
    name: text(),
    unit: text().nullable(),
    aggregation: p.enum(aggregations),
    /** With UNIQUE: the event property whose distinct values are counted. */
    property: text().nullable(),
    createdAt: instant(),
  },
});
export type Metric = InferEntity<typeof Metric>;

/** One immutable version of a plan. Publishing again makes a new version; subscriptions keep theirs. */
export const Plan = defineEntity({
  name: 'Plan',
  tableName: 'plan',
  properties: {
    id: idKey(),
    code: text(),
    version: p.integer(),
    name: text(),
    priceMinor: minor(),
    currency: text(),
    interval: p.enum(intervals),
    intervalCount: p.integer(),
    trialDays: p.integer(),
    /** Where periods are counted from: the day one subscribes, or the calendar's own boundaries. */
    anchor: p.enum(billingAnchors).default('ANNIVERSARY'),
    /** What the usage of a period costs at the least; null: nothing. */
    minimumSpendMinor: minor().nullable(),
    /** Place in the catalog file; lists keep its order. */
    position: p.integer(),
    /** Hash of everything above and the features: publishing the same again changes nothing. */
    contentHash: text(),
    publishedAt: instant(),
    /** True for the newest version of each code: what a new subscription gets. */
    current: p.boolean(),
  },
  uniques: [{ properties: ['code', 'version'] }],
});
export type Plan = InferEntity<typeof Plan>;

export const couponDurations = ['ONCE', 'REPEATING', 'FOREVER'] as const;

/** A discount that accounts can take: an amount or a percentage, for some or all plans and metrics, for a while. */
export const Coupon = defineEntity({
  name: 'Coupon',
  tableName: 'coupon',
  properties: {
    id: idKey(),
    code: p.text().unique(),
    name: text(),
    /** Off each invoice, in minor units of `currency`; null: `percent` is off instead. */
    amountMinor: minor().nullable(),
    currency: text().nullable(),
    /** 25 for 25 %. */
    percent: exact().nullable(),
    duration: p.enum(couponDurations),
    /** With REPEATING: on how many periods' invoices. */
    durationPeriods: p.integer().nullable(),
    /** Empty: fees of every plan. */
    planCodes: p.array<string>(),
    /** Empty: charges of every metric. With either list not empty, only what is listed is discounted. */
    metricCodes: p.array<string>(),
    /** Not to be taken after this; those taken before go on. */
    redeemBy: instant().nullable(),
    contentHash: text(),
    createdAt: instant(),
    archivedAt: instant().nullable(),
  },
});
export type Coupon = InferEntity<typeof Coupon>;

/** What a plan grants: a feature, with a limit on its metric where it has one. */
export const PlanFeature = defineEntity({
  name: 'PlanFeature',
  tableName: 'plan_feature',
  properties: {
    planId: p.uuid().primary(),
    /** Code of the metric plus `_` and its unit: `storage_gb`. */
    code: p.text().primary(),
    position: p.integer(),
    name: text(),
    metricCode: text().nullable(),
    /** Null: unlimited. */
    limit: exact().nullable().name('limit_quantity'),
    overage: p.enum(overagePolicies),
    /** How use over the limit is priced, or all use where there is no limit; only with CHARGE. */
    charge: p.json<ChargeModel>().nullable(),
  },
});
export type PlanFeature = InferEntity<typeof PlanFeature>;
