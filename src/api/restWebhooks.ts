import { notFound } from '../domain/errors.js';
import { loggedEventsByIds } from '../platform/event.resolver.js';
import { uuidOf } from '../platform/ids.js';
import { attemptsByDeliveryIds, deliveriesByIds, listDeliveries } from '../webhook/deliveries.js';
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  endpointsByIds,
  listWebhookEndpoints,
} from '../webhook/endpoints.js';
import { presentEndpoint } from '../webhook/presentEndpoint.js';
import { redeliverWebhook, redeliverWebhooks } from '../webhook/redeliver.js';
import { rotateWebhookSecret } from '../webhook/rotateSecret.js';
import { sendTestEvent } from '../webhook/sendTestEvent.js';
import { updateWebhookEndpoint } from '../webhook/updateEndpoint.js';
import type { WebhookDelivery } from '../webhook/webhook.entity.js';
import { testEventOf } from '../webhook/webhookBody.js';
import { pageQuery, readQuery, redeliverBody, testWebhookBody, updateWebhookBody, webhookBody } from './parseRest.js';
import { presentAttempt, presentDelivery } from './presentRest.js';
import { type Call, type Route, route } from './restRoute.js';

/** Webhook endpoints, their deliveries, and sending these again. */
export const webhookRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/webhooks',
    scope: 'webhooks:write',
    body: webhookBody,
    handle: async (call, { url, events }) => {
      const { deps, actor, idempotencyKey } = call;
      const { endpointId, secret, replayed } = await createWebhookEndpoint(deps, actor, {
        idempotencyKey,
        url,
        events,
      });
      return { status: 201, body: await presentOwn(call, endpointId, secret), replayed };
    },
  }),
  route({
    method: 'GET',
    path: '/webhooks',
    scope: 'webhooks:read',
    handle: async ({ em, accountId }) => {
      const endpoints = await listWebhookEndpoints(em, accountId);
      return { body: { webhooks: endpoints.map((endpoint) => presentEndpoint(endpoint)) } };
    },
  }),
  route({
    method: 'PATCH',
    path: '/webhooks/:id',
    scope: 'webhooks:write',
    body: updateWebhookBody,
    handle: async (call, changes) => {
      const { deps, actor, id: webhookEndpointId, idempotencyKey } = call;
      const input = { idempotencyKey, webhookEndpointId, ...changes };
      const { endpointId, replayed } = await updateWebhookEndpoint(deps, actor, input);
      return { body: await presentOwn(call, endpointId), replayed };
    },
  }),
  route({
    method: 'DELETE',
    path: '/webhooks/:id',
    scope: 'webhooks:write',
    handle: async ({ deps, actor, id, idempotencyKey }) => {
      const { replayed } = await deleteWebhookEndpoint(deps, actor, { idempotencyKey, webhookEndpointId: id });
      return { status: 204, replayed };
    },
  }),
  route({
    method: 'POST',
    path: '/webhooks/:id/rotate-secret',
    scope: 'webhooks:write',
    handle: async (call) => {
      const { deps, actor, id: webhookEndpointId, idempotencyKey } = call;
      const input = { idempotencyKey, webhookEndpointId };
      const { endpointId, secret, replayed } = await rotateWebhookSecret(deps, actor, input);
      return { body: await presentOwn(call, endpointId, secret), replayed };
    },
  }),
  route({
    method: 'POST',
    path: '/webhooks/:id/test',
    scope: 'webhooks:write',
    body: testWebhookBody,
    handle: async (call, { type }) => {
      const { deps, actor, id: webhookEndpointId, idempotencyKey } = call;
      const { deliveryId, replayed } = await sendTestEvent(deps, actor, { idempotencyKey, webhookEndpointId, type });
      return { status: 201, body: await presentOwnDelivery(call, deliveryId), replayed };
    },
  }),
  route({
    method: 'POST',
    path: '/webhooks/:id/redeliver',
    scope: 'webhooks:write',
    body: redeliverBody,
    handle: async ({ deps, actor, id: webhookEndpointId, idempotencyKey }, { from, to, only_failed: onlyFailed }) => {
      const input = { idempotencyKey, webhookEndpointId, from, to, onlyFailed };
      const { count, replayed } = await redeliverWebhooks(deps, actor, input);
      return { body: { count }, replayed };
    },
  }),
  route({
    method: 'GET',
    path: '/webhooks/:id/deliveries',
    scope: 'webhooks:read',
    handle: async ({ em, accountId, id, query }) => {
      const { limit, after } = readQuery(pageQuery('webhookDelivery'), query);
      const endpointId = uuidOf('webhookEndpoint', id);
      // The log of an endpoint outlives it, so one that was deleted is found too.
      if (!endpointId || !(await endpointsByIds(em, accountId, [endpointId])).has(endpointId)) {
        throw notFound('webhook endpoint', id);
      }
      const { nodes, pageInfo } = await listDeliveries(em, { accountId, endpointId }, { first: limit, after });
      const logged = nodes.flatMap(({ eventId }) => eventId ?? []);
      const events = await loggedEventsByIds(em, accountId, logged);
      const deliveries = nodes.map((delivery) =>
        presentDelivery(delivery, delivery.eventId == null ? testEventOf(delivery) : events.get(delivery.eventId)),
      );
      return { body: { deliveries }, next: pageInfo.hasNextPage ? deliveries.at(-1)?.id : undefined };
    },
  }),
  route({
    method: 'GET',
    path: '/webhooks/:id/deliveries/:delivery',
    scope: 'webhooks:read',
    handle: async (call) => {
      const { id } = await ownDelivery(call);
      const attempts = (await attemptsByDeliveryIds(call.em, call.accountId, [id])).get(id) ?? [];
      return { body: { ...(await presentOwnDelivery(call, id)), log: attempts.map(presentAttempt) } };
    },
  }),
  route({
    method: 'POST',
    path: '/webhooks/:id/deliveries/:delivery/redeliver',
    scope: 'webhooks:write',
    handle: async (call) => {
      await ownDelivery(call);
      const { deps, actor, delivery: webhookDeliveryId, idempotencyKey } = call;
      const { deliveryId, replayed } = await redeliverWebhook(deps, actor, { idempotencyKey, webhookDeliveryId });
      return { body: await presentOwnDelivery(call, deliveryId), replayed };
    },
  }),
];

async function presentOwn({ em, accountId }: Call, endpointId: string, secret?: string): Promise<object> {
  return presentEndpoint((await endpointsByIds(em, accountId, [endpointId])).get(endpointId)!, secret);
}

/** The delivery of the path, which must be one of the endpoint of the path. */
async function ownDelivery({ em, accountId, id, delivery }: Call): Promise<WebhookDelivery> {
  const uuid = uuidOf('webhookDelivery', delivery);
  const found = uuid && (await deliveriesByIds(em, accountId, [uuid])).get(uuid);
  if (!found || found.endpointId !== uuidOf('webhookEndpoint', id)) throw notFound('webhook delivery', delivery);
  return found;
}

async function presentOwnDelivery({ em, accountId }: Call, id: string): Promise<object> {
  const delivery = (await deliveriesByIds(em, accountId, [id])).get(id)!;
  const { eventId } = delivery;
  if (eventId == null) return presentDelivery(delivery, testEventOf(delivery));
  return presentDelivery(delivery, (await loggedEventsByIds(em, accountId, [eventId])).get(eventId));
}
