import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, text } from '../platform/columns.js';

export const deliveryStatuses = ['PENDING', 'DELIVERED', 'FAILED'] as const;

/** Why an endpoint gets nothing: it only failed for days, it answered 410, or its owner wanted it so. */
export const disabledReasons = ['FAILING', 'GONE', 'OWNER'] as const;

/** A secret that was replaced; deliveries are signed with it too until then. */
export interface FormerSecret {
  readonly secret: string;
  /** RFC 3339. */
  readonly validUntil: string;
}

export const WebhookEndpoint = defineEntity({
  name: 'WebhookEndpoint',
  tableName: 'webhook_endpoint',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    url: text(),
    /** Event types it wants, or all of a kind as `invoice.*`; empty: all. */
    events: p.array<string>(),
    enabled: p.boolean(),
    disabledAt: instant().nullable(),
    disabledReason: p.enum(disabledReasons).nullable(),
    /** When the first attempt failed since the last that succeeded; null while all is well. */
    failingSince: instant().nullable(),
    /** `whsec_…`; signing needs it in the clear. */
    secret: text(),
    /** Those before it, newest first. */
    formerSecrets: p.json<FormerSecret[]>().default([]),
    createdAt: instant(),
    deletedAt: instant().nullable(),
  },
});
export type WebhookEndpoint = InferEntity<typeof WebhookEndpoint>;

/** One event for one endpoint, or a test with a body of its own. `nextAttemptAt` is the truth; hints only hurry it. */
export const WebhookDelivery = defineEntity({
  name: 'WebhookDelivery',
  tableName: 'webhook_delivery',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    endpointId: p.uuid(),
    /** Null: a test, which is no event of the log. */
    eventId: p.uuid().nullable(),
    /** What a test sends. */
    testBody: text().nullable(),
    status: p.enum(deliveryStatuses),
    /** All there ever were; the number of the last one fences it off from those before. */
    attempts: p.integer().default(0),
    /** How many there had been when the schedule began: 0, or more since it was sent again. */
    scheduleFrom: p.integer().default(0),
    nextAttemptAt: instant().nullable(),
    /** Until when an attempt may be under way; null: none is. */
    leasedUntil: instant().nullable(),
    responseStatus: p.integer().nullable(),
    durationMs: p.integer().nullable(),
    createdAt: instant(),
    deliveredAt: instant().nullable(),
  },
  uniques: [{ properties: ['accountId', 'endpointId', 'eventId'] }],
});
export type WebhookDelivery = InferEntity<typeof WebhookDelivery>;

/** The log of attempts, visible to the endpoint's owner. */
export const WebhookAttempt = defineEntity({
  name: 'WebhookAttempt',
  tableName: 'webhook_attempt',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    deliveryId: p.uuid(),
    attemptedAt: instant(),
    responseStatus: p.integer().nullable(),
    durationMs: p.integer(),
    /** The first 1 kB of the answer. */
    responseExcerpt: text(),
    error: text().nullable(),
  },
  indexes: [{ properties: ['accountId', 'deliveryId'] }],
});
export type WebhookAttempt = InferEntity<typeof WebhookAttempt>;
