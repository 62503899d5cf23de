import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { lockOwnEndpoint } from './endpoints.js';
import { knownSecret, replaceSecret, secretMark } from './secrets.js';
import { createSecret } from './signature.js';
import { WebhookEndpoint } from './webhook.entity.js';

/**
 * Gives an endpoint a new secret, which is in the answer to this and in no other. For 24 hours deliveries are signed with the
 * one before it too, so that the receiver can change over at any moment. LIMIT_EXCEEDED while too many are valid.
 */
export async function rotateWebhookSecret(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: { idempotencyKey?: string | undefined; webhookEndpointId: string },
): Promise<{ endpointId: string; secret: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const id = uuidOf('webhookEndpoint', input.webhookEndpointId) ?? '';
  const next = createSecret();
  const now = deps.clock.now(); // the receiver lives by the wall
  return transact(deps, accountId, async (tx) => {
    const { replayed, answer } = await claimKey(tx, {
      operation: 'rotateWebhookSecret',
      key: idempotencyKey,
      input,
      answer: { id, secretMark: secretMark(next) },
    });
    if (replayed) {
      const endpoint = await tx.em.findOneOrFail(WebhookEndpoint, { accountId, id: answer.id });
      return { endpointId: answer.id, secret: knownSecret(endpoint, answer.secretMark), replayed };
    }
    const endpoint = await lockOwnEndpoint(tx, input.webhookEndpointId);
    const { secret, formerSecrets } = replaceSecret(endpoint, { next, now });
    endpoint.secret = secret;
    endpoint.formerSecrets = formerSecrets;
    return { endpointId: endpoint.id, secret: next, replayed };
  });
}
