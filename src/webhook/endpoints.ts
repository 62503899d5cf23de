import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { BillingError, notFound } from '../domain/errors.js';
import { parseEventFilter } from '../domain/eventFilter.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, storedAnswer } from '../platform/idempotency.js';
import { newId, uuidOf } from '../platform/ids.js';
import { disable } from './disableEndpoint.js';
import { knownSecret, secretMark } from './secrets.js';
import { createSecret } from './signature.js';
import { checkTarget, parseTarget } from './targetAddress.js';
import { WebhookEndpoint } from './webhook.entity.js';

export interface CreateWebhookEndpointInput {
  idempotencyKey?: string | undefined;
  url: string;
  /** Event types, or all of a kind as `invoice.*`; empty or absent: all. */
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
  const stored = await storedAnswer<Answer>(reader, { accountId, ...claimOf });
  if (stored) return replay(reader, accountId, stored);

  const events = parseEventFilter(input.events ?? []);
  const url = parseTarget(input.url, deps.webhookPolicy);
  await checkTarget(url, deps.webhookPolicy);

  return transact(deps, accountId, async (tx) => {
    const { em } = tx;
    const secret = createSecret();
    const claim = await claimKey<Answer>(tx, { ...claimOf, answer: { id: newId(), secretMark: secretMark(secret) } });
    const { id } = claim.answer;
    if (claim.replayed) return replay(em, accountId, claim.answer);
    await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE }); // so that the count holds
    if ((await em.count(WebhookEndpoint, { accountId, deletedAt: null })) >= maxEndpoints) {
      throw new BillingError('LIMIT_EXCEEDED', `The account already has ${maxEndpoints} webhook endpoints`);
    }
    em.create(WebhookEndpoint, { accountId, id, url: url.href, events, enabled: true, secret, createdAt: tx.now });
    return { endpointId: id, secret, replayed: false };
  });
}

interface Answer {
  id: string;
  /** Absent in answers of before secrets could be rotated. */
  secretMark?: string;
}

/** The secret of then, also where another has taken its place since. */
async function replay(
  em: EntityManager,
  accountId: string,
  answer: Answer,
): Promise<{ endpointId: string; secret: string; replayed: boolean }> {
  const endpoint = await em.findOneOrFail(WebhookEndpoint, { accountId, id: answer.id });
  return { endpointId: answer.id, secret: knownSecret(endpoint, answer.secretMark), replayed: true };
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
    const endpoint = await lockOwnEndpoint(tx, input.webhookEndpointId);
    await disable(tx, endpoint, { reason: 'OWNER', now: deps.clock.now() });
    endpoint.deletedAt = tx.now;
    return { endpointId: endpoint.id, replayed: false };
  });
}

export const listWebhookEndpoints = (em: EntityManager, accountId: string): Promise<WebhookEndpoint[]> =>
  em.find(WebhookEndpoint, { accountId, deletedAt: null }, { disableIdentityMap: true, orderBy: { id: 'asc' } });

export const endpointsByIds: BatchFunction<WebhookEndpoint> = byIdsOf(WebhookEndpoint);

/** The account's endpoint with this public id, locked; NOT_FOUND for every other and for those that were deleted. */
export async function lockOwnEndpoint({ em, accountId }: Tx, webhookEndpointId: string): Promise<WebhookEndpoint> {
  const id = uuidOf('webhookEndpoint', webhookEndpointId);
  const lockMode = LockMode.PESSIMISTIC_WRITE;
  const endpoint = id && (await em.findOne(WebhookEndpoint, { accountId, id, deletedAt: null }, { lockMode }));
  if (!endpoint) throw notFound('webhook endpoint', webhookEndpointId, 'webhookEndpointId');
  return endpoint;
}
