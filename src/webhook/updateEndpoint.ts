import { invalid } from '../domain/errors.js';
import { parseEventFilter } from '../domain/eventFilter.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, storedAnswer } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { disable } from './disableEndpoint.js';
import { lockOwnEndpoint } from './endpoints.js';
import { checkTarget, parseTarget } from './targetAddress.js';

export interface UpdateWebhookEndpointInput {
  idempotencyKey?: string | undefined;
  webhookEndpointId: string;
  /** What is left out stays as it is. */
  url?: string | undefined;
  /** Empty: all events. */
  events?: readonly string[] | undefined;
  enabled?: boolean | undefined;
}

/**
 * Changes where an endpoint is, what it gets, and whether it gets anything. A URL is checked as at registration. Enabling
 * forgets that the endpoint failed; what failed meanwhile is sent again only when it is asked for (see redeliver).
 */
export async function updateWebhookEndpoint(
  deps: Pick<Deps, 'db' | 'clock' | 'webhookPolicy'>,
  actor: Actor,
  { idempotencyKey, ...input }: UpdateWebhookEndpointInput,
): Promise<{ endpointId: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const id = uuidOf('webhookEndpoint', input.webhookEndpointId) ?? '';
  const claimOf = { operation: 'updateWebhookEndpoint', key: idempotencyKey, input };
  // Before the name is looked up: a repeat gets its answer whatever became of the target since.
  const stored = await storedAnswer<{ id: string }>(deps.db.orm.em.fork(), { accountId, ...claimOf });
  if (stored) return { endpointId: stored.id, replayed: true };

  if (input.url === undefined && input.events === undefined && input.enabled === undefined)
    throw invalid('Expected something to change: url, events or enabled');
  const events = input.events && parseEventFilter(input.events);
  const url = input.url === undefined ? undefined : parseTarget(input.url, deps.webhookPolicy);
  if (url) await checkTarget(url, deps.webhookPolicy);

  return transact(deps, accountId, async (tx) => {
    const { replayed, answer } = await claimKey(tx, { ...claimOf, answer: { id } });
    if (replayed) return { endpointId: answer.id, replayed };
    const endpoint = await lockOwnEndpoint(tx, input.webhookEndpointId);
    endpoint.url = url?.href ?? endpoint.url;
    endpoint.events = events ?? endpoint.events;
    if (input.enabled === true) {
      endpoint.enabled = true;
      endpoint.disabledAt = null;
      endpoint.disabledReason = null;
      endpoint.failingSince = null;
    } else if (input.enabled === false && endpoint.enabled) {
      await disable(tx, endpoint, { reason: 'OWNER', now: deps.clock.now() });
    }
    return { endpointId: endpoint.id, replayed };
  });
}
