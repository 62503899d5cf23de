import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, text } from '../platform/columns.js';

export const deliveryStatuses = ['PENDING', 'DELIVERED', 'FAILED'] as const;

export const WebhookEndpoint = defineEntity({
  name: 'WebhookEndpoint',
  tableName: 'webhook_endpoint',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    url: text(),
    /** Event types it wants; empty: all. */
    events: p.array<string>(),
    enabled: p.boolean(),
    /** `whsec_…`; signing needs it in the clear. */
    secret: text(),
    createdAt: instant(),
    deletedAt: instant().nullable(),
  },
});
export type WebhookEndpoint = InferEntity<typeof WebhookEndpoint>;

/** One event for one endpoint. `nextAttemptAt` is the truth; jobs only hurry it. */
export const WebhookDelivery = defineEntity({
  name: 'WebhookDelivery',
  tableName: 'webhook_delivery',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    endpointId: p.uuid(),
    eventId: p.uuid(),
    status: p.enum(deliveryStatuses),
    attempts: p.integer().default(0),
    nextAttemptAt: instant().nullable(),
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
