import { defineEntity, p } from '@mikro-orm/core';
import { accountKey, idKey, instant, text } from './columns.js';

// The tables of the platform itself. They are written by set-based statements (see the files named below); the entities
// exist for the migrations.

/** Append-only log of what happened to an account; see eventLog. */
export const EventEntity = defineEntity({
  name: 'Event',
  tableName: 'event',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    seq: p.bigint(),
    type: text(),
    occurredAt: instant(),
    /** `json`, not `jsonb`: keeps the digits of numbers and the order of keys as they were emitted. */
    data: p.json<unknown>().columnType('json'),
  },
  uniques: [{ properties: ['accountId', 'seq'] }],
  indexes: [{ properties: ['accountId', 'occurredAt'] }],
});

/** The account's last `seq`; its row lock orders the log. `id` equals `account_id`. */
export const EventCursorEntity = defineEntity({
  name: 'EventCursor',
  tableName: 'event_cursor',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    seq: p.bigint(),
    /** The last `seq` that was deleted because of its age; all before it are gone as well. */
    prunedSeq: p.bigint().default(0),
  },
});

/** Events not yet handed to the sinks; see relay. A queue table. */
export const OutboxEntity = defineEntity({
  name: 'Outbox',
  tableName: 'outbox',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    seq: p.bigint(),
    createdAt: instant(),
    dueAt: instant(),
    attempts: p.integer().default(0),
  },
  indexes: [{ properties: ['dueAt'] }],
});

/** See idempotency. */
export const IdempotencyKeyEntity = defineEntity({
  name: 'IdempotencyKey',
  tableName: 'idempotency_key',
  properties: {
    accountId: accountKey(),
    id: idKey(),
    operation: text(),
    key: text(),
    inputHash: text(),
    answer: p.json<object>(),
    createdAt: instant(),
  },
  uniques: [{ properties: ['accountId', 'operation', 'key'] }],
  indexes: [{ properties: ['createdAt'] }],
});

/** Secrets the product makes for itself, one row each; see serverSecret. */
export const ServerSecretEntity = defineEntity({
  name: 'ServerSecret',
  tableName: 'server_secret',
  properties: { name: p.text().primary(), value: text() },
});
