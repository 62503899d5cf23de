import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { BillingError, invalid, notFound } from '../domain/errors.js';
import { eventTypes, isEventType } from '../domain/events.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, storedAnswer } from '../platform/idempotency.js';
import { newId, publicId, uuidOf } from '../platform/ids.js';
import { createSecret } from './signature.js';
import { checkTarget, parseTarget } from './targetAddress.js';
import { WebhookEndpoint } from './webhook.entity.js';

export interface CreateWebhookEndpointInput {
  idempotencyKey?: string | undefined;
  url: string;
  /** Event types; empty or absent: all. */
  events?: readonly string[] | undefined;
}

/** Endpoints an account may have at once. */
const maxEndpoints = 20;

/**
 * Registers a URL for signed events. The target must resolve to public addresses only (see targetAddress); INVALID says
 * what was expected. The secret is in the answer to this, and in no other.
 */
export async function createWebhookEndpoint(
  deps: Pick<Deps, 'db' | 'clock' | 'webhookPolicy'>,
  actor: Actor,
  { idempotencyKey, ...input }: CreateWebhookEndpointInput,
): Promise<{ endpointId: string; secret: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const claimOf = { operation: 'createWebhookEndpoint', key: idempotencyKey, input };
  // Before the name is looked up: a repeat gets its answer whatever became of the target since.
  const reader = deps.db.orm.em.fork();
  const stored = await storedAnswer<{ id: string }>(reader, { accountId, ...claimOf });
  if (stored) return replay(reader, accountId, stored.id);

  const events = [...new Set(input.events ?? [])];
  const unknown = events.findIndex((type) => !isEventType(type));
  if (unknown >= 0) {
    throw invalid(
      `'${events[unknown]!.slice(0, 60)}' is not an event type: expected one of ${eventTypes.join(', ')}`,
      'events',
      unknown,
    );
  }
  const url = parseTarget(input.url, deps.webhookPolicy);
  await checkTarget(url, deps.webhookPolicy);

  return transact(deps, accountId, async (tx) => {
    const { em } = tx;
    const claim = await claimKey(tx, { ...claimOf, answer: { id: newId() } });
    const { id } = claim.answer;
    if (claim.replayed) return replay(em, accountId, id);
    await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE }); // so that the count holds
    if ((await em.count(WebhookEndpoint, { accountId, deletedAt: null })) >= maxEndpoints) {
      throw new BillingError('LIMIT_EXCEEDED', `The account already has ${maxEndpoints} webhook endpoints`);
    }
    const secret = createSecret();
    em.create(WebhookEndpoint, { accountId, id, url: url.href, events, enabled: true, secret, createdAt: tx.now });
    return { endpointId: id, secret, replayed: false };
  });
}

async function replay(
  em: EntityManager,
  accountId: string,
  id: string,
): Promise<{ endpointId: string; secret: string; replayed: boolean }> {
  const { secret } = await em.findOneOrFail(WebhookEndpoint, { accountId, id });
  return { endpointId: id, secret, replayed: true };
}

/** Takes an endpoint away: nothing more is sent there, the deliveries of before stay in the log. */
export async function deleteWebhookEndpoint(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: { idempotencyKey?: string | undefined; webhookEndpointId: string },
): Promise<{ endpointId: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const id = uuidOf('webhookEndpoint', input.webhookEndpointId);
  return transact(deps, accountId, async (tx) => {
    const claim = await claimKey(tx, {
      operation: 'deleteWebhookEndpoint',
      key: idempotencyKey,
      input,
      answer: { id: id ?? '' },
    });
    if (claim.replayed) return { endpointId: claim.answer.id, replayed: true };
    const endpoint =
      id &&
      (await tx.em.findOne(
        WebhookEndpoint,
        { accountId, id, deletedAt: null },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      ));
    if (!endpoint) throw notFound('webhook endpoint', input.webhookEndpointId, 'webhookEndpointId');
    endpoint.enabled = false;
    endpoint.deletedAt = tx.now;
    return { endpointId: endpoint.id, replayed: false };
  });
}

export const listWebhookEndpoints = (em: EntityManager, accountId: string): Promise<WebhookEndpoint[]> =>
  em.find(WebhookEndpoint, { accountId, deletedAt: null }, { disableIdentityMap: true, orderBy: { id: 'asc' } });

export const endpointsByIds: BatchFunction<WebhookEndpoint> = byIdsOf(WebhookEndpoint);

/** REST shape of an endpoint; the secret only in the answer that creates it. */
export const presentEndpoint = (endpoint: WebhookEndpoint, secret?: string) => ({
  id: publicId('webhookEndpoint', endpoint.id),
  url: endpoint.url,
  events: endpoint.events,
  enabled: endpoint.enabled,
  created_at: endpoint.createdAt.toISOString(),
  ...(secret === undefined ? {} : { secret }),
});
