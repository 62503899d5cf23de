import type { EntityManager } from '@mikro-orm/postgresql';
import { type BatchFunction, type BatchScope, batchScope, byIdsOf, load } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { rowsOf, sql } from '../platform/sql.js';
import { WebhookAttempt, WebhookDelivery } from './webhook.entity.js';

const plain = { disableIdentityMap: true } as const;

/** An endpoint's deliveries, newest first. */
export const listDeliveries = (
  em: EntityManager,
  endpoint: { accountId: string; endpointId: string },
  args: PageArgs,
): Promise<Connection<WebhookDelivery>> => loadDeliveries(batchScope(em), endpoint, args);

/** The same, with the pages of several endpoints in one statement. */
export function loadDeliveries(
  scope: BatchScope,
  { accountId, endpointId }: { accountId: string; endpointId: string },
  args: PageArgs,
): Promise<Connection<WebhookDelivery>> {
  return page<WebhookDelivery>(args, {
    ...byId,
    fetch: async (limit, after = '') =>
      (await load(scope, newestByPages, accountId, `${endpointId} ${limit} ${after}`)) ?? [],
  });
}

/** An id is a page: endpoint, limit, and the cursor to start behind, with spaces between. */
const newestByPages: BatchFunction<WebhookDelivery[]> = async (em, accountId, pages) => {
  const parts = pages.map((text) => text.split(' '));
  const rows = await rowsOf(
    em,
    sql<{ page: string; id: string }>`
      select page, found.id
      from unnest(${pages}::text[], ${parts.map(([endpointId]) => endpointId)}::uuid[], ${parts.map(([, limit]) => Number(limit))}::int[],
          ${parts.map(([, , after]) => after || null)}::uuid[]) as asked (page, endpoint_id, row_limit, after),
        lateral (
          select id from webhook_delivery
          where account_id = ${accountId} and endpoint_id = asked.endpoint_id and (asked.after is null or id < asked.after)
          order by id desc limit asked.row_limit
        ) found`,
  );
  const ids = rows.map((row) => row.id);
  const deliveries = await deliveriesByIds(em, accountId, ids);
  const byPage = Map.groupBy(rows, (row) => row.page);
  return new Map([...byPage].map(([page, found]) => [page, found.map(({ id }) => deliveries.get(id)!)]));
};

export const deliveriesByIds: BatchFunction<WebhookDelivery> = byIdsOf(WebhookDelivery);

/** The log of attempts of deliveries, oldest first. */
export const attemptsByDeliveryIds: BatchFunction<WebhookAttempt[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(WebhookAttempt, { accountId, deliveryId: { $in: [...ids] } }, { ...plain, orderBy: { id: 'asc' } }),
    (attempt) => attempt.deliveryId,
  );
