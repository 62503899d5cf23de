import { invalid } from '../domain/errors.js';
import { wantsEvent } from '../domain/eventFilter.js';
import { type EventType, eventTypes, isEventType } from '../domain/events.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { lockOwnEndpoint } from './endpoints.js';
import { deliveriesTopic } from './planDeliveries.js';
import { checkEnabled } from './redeliver.js';
import { WebhookDelivery } from './webhook.entity.js';
import { testBody } from './webhookBody.js';

export interface SendTestEventInput {
  idempotencyKey?: string | undefined;
  webhookEndpointId: string;
  /** Default: `invoice.paid`, or the first that the endpoint gets. */
  type?: string | undefined;
}

/**
 * Sends an example of an event to this endpoint alone, signed and tried again as every other, with `"test": true` in its data.
 * It is no event of the account: nothing of it stands in the log.
 */
export async function sendTestEvent(
  deps: Pick<Deps, 'db' | 'clock' | 'pubsub'>,
  actor: Actor,
  { idempotencyKey, ...input }: SendTestEventInput,
): Promise<{ deliveryId: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const asked = input.type;
  if (asked !== undefined && !isEventType(asked))
    throw invalid(`'${asked.slice(0, 60)}' is not an event type: expected one of ${eventTypes.join(', ')}`, 'type');
  const now = deps.clock.now();
  const done = await transact(deps, accountId, async (tx) => {
    const claim = { operation: 'sendTestEvent', key: idempotencyKey, input, answer: { id: newId() } };
    const { replayed, answer } = await claimKey(tx, claim);
    if (replayed) return { deliveryId: answer.id, replayed };
    const endpoint = await lockOwnEndpoint(tx, input.webhookEndpointId);
    checkEnabled(endpoint, 'webhookEndpointId');
    const type = asked ?? usualType(endpoint.events);
    tx.em.create(WebhookDelivery, {
      accountId,
      id: answer.id,
      endpointId: endpoint.id,
      eventId: null,
      testBody: testBody({ type, at: now }),
      status: 'PENDING',
      nextAttemptAt: now,
      createdAt: now,
    });
    return { deliveryId: answer.id, replayed };
  });
  deps.pubsub.publish(deliveriesTopic, '');
  return done;
}

const usualType = (filter: readonly string[]): EventType =>
  wantsEvent(filter, 'invoice.paid') ? 'invoice.paid' : eventTypes.find((type) => wantsEvent(filter, type))!;
