import type { EntityManager } from '@mikro-orm/postgresql';
import type { BatchFunction } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { WebhookAttempt, WebhookDelivery } from './webhook.entity.js';

const plain = { disableIdentityMap: true } as const;

/** An endpoint's deliveries, newest first. */
export function listDeliveries(
  em: EntityManager,
  { accountId, endpointId }: { accountId: string; endpointId: string },
  args: PageArgs,
): Promise<Connection<WebhookDelivery>> {
  return page<WebhookDelivery>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        WebhookDelivery,
        { accountId, endpointId, ...(after ? { id: { $lt: after } } : {}) },
        { ...plain, orderBy: { id: 'desc' }, limit },
      ),
  });
}

export const deliveriesByIds: BatchFunction<WebhookDelivery> = async (em, accountId, ids) =>
  new Map(
    (await em.find(WebhookDelivery, { accountId, id: { $in: [...ids] } }, plain)).map((delivery) => [
      delivery.id,
      delivery,
    ]),
  );

/** The log of attempts of deliveries, oldest first. */
export const attemptsByDeliveryIds: BatchFunction<WebhookAttempt[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(WebhookAttempt, { accountId, deliveryId: { $in: [...ids] } }, { ...plain, orderBy: { id: 'asc' } }),
    (attempt) => attempt.deliveryId,
  );
