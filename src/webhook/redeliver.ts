import { BillingError, invalid, notFound } from '../domain/errors.js';
import { wantsEvent } from '../domain/eventFilter.js';
import { eventTypes } from '../domain/events.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, storedAnswer } from '../platform/idempotency.js';
import { newId, uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { lockOwnEndpoint } from './endpoints.js';
import { deliveriesTopic } from './planDeliveries.js';
import { WebhookDelivery, WebhookEndpoint } from './webhook.entity.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'pubsub'>;

/** Events of one request; more would hold the endpoint's row for too long. */
const maxAtOnce = 10_000;
/** Events of the time that are looked at for those, whatever the endpoint wants of them. */
const maxRead = 100_000;

/**
 * What `on conflict` or `update` sets on a delivery that is to be sent again, with the same `webhook-id`: its schedule begins
 * anew, its log and its count of attempts go on. One that is under way is not sent a second time beside it.
 */
const anew = (now: Date) => sql`
  status = 'PENDING', next_attempt_at = greatest(${now}::timestamptz, d.leased_until),
  schedule_from = d.attempts - case when d.leased_until > ${now} then 1 else 0 end`;

/** Sends one delivery again, whatever became of it. ILLEGAL_STATE where its endpoint is disabled or deleted. */
export async function redeliverWebhook(
  deps: Needs,
  actor: Actor,
  { idempotencyKey, ...input }: { idempotencyKey?: string | undefined; webhookDeliveryId: string },
): Promise<{ deliveryId: string; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const id = uuidOf('webhookDelivery', input.webhookDeliveryId) ?? '';
  const now = deps.clock.now();
  const done = await transact(deps, accountId, async (tx) => {
    const { em } = tx;
    const claim = { operation: 'redeliverWebhook', key: idempotencyKey, input, answer: { id } };
    const { replayed, answer } = await claimKey(tx, claim);
    if (replayed) return { deliveryId: answer.id, replayed };
    const delivery = id && (await em.findOne(WebhookDelivery, { accountId, id }));
    if (!delivery) throw notFound('webhook delivery', input.webhookDeliveryId, 'webhookDeliveryId');
    checkEnabled(await em.findOneOrFail(WebhookEndpoint, { accountId, id: delivery.endpointId }), 'webhookDeliveryId');
    await rowsOf(em, sql`update webhook_delivery d set ${anew(now)} where account_id = ${accountId} and id = ${id}`);
    return { deliveryId: id, replayed };
  });
  deps.pubsub.publish(deliveriesTopic, '');
  return done;
}

export interface RedeliverWebhooksInput {
  idempotencyKey?: string | undefined;
  webhookEndpointId: string;
  /** When the events happened: from then on, and before `to`, which is now where it is left out. */
  from: Date;
  to?: Date | undefined;
  /** Only those whose delivery has failed; else all that the endpoint's filter wants, whether it ever got them or not. */
  onlyFailed?: boolean | undefined;
}

/** Sends the events of a time to an endpoint again, at most 10,000 at once. Answers how many. */
export async function redeliverWebhooks(
  deps: Needs,
  actor: Actor,
  { idempotencyKey, ...input }: RedeliverWebhooksInput,
): Promise<{ endpointId: string; count: number; replayed: boolean }> {
  requireScope(actor, 'webhooks:write');
  const { accountId } = actor;
  const { from, to } = input;
  if (to && to <= from)
    throw invalid(`Expected a time after from (${from.toISOString()}), found ${to.toISOString()}`, 'to');
  const now = deps.clock.now();
  const done = await transact(deps, accountId, async (tx) => {
    // read
    const claimOf = { operation: 'redeliverWebhooks', key: idempotencyKey, input };
    const endpoint = await lockOwnEndpoint(tx, input.webhookEndpointId); // a repeat at the same time waits here
    const stored = await storedAnswer<{ count: number }>(tx.em, { accountId, ...claimOf });
    if (stored) return { endpointId: endpoint.id, count: stored.count, replayed: true };
    checkEnabled(endpoint, 'webhookEndpointId');
    const eventIds = await eventsOf(tx, endpoint, input);

    // decide
    if (eventIds.length > maxAtOnce) {
      throw invalid(
        `Expected a time with at most ${maxAtOnce} events for the endpoint, found more: narrow from and to`,
        'from',
      );
    }

    // write
    await rowsOf(
      tx.em,
      sql`
        insert into webhook_delivery as d (account_id, id, endpoint_id, event_id, status, next_attempt_at, created_at)
        select ${accountId}::uuid, one.id, ${endpoint.id}::uuid, one.event_id, 'PENDING', ${now}, ${now}
        from unnest(${eventIds.map(() => newId())}::uuid[], ${eventIds}::uuid[]) as one (id, event_id)
        on conflict (account_id, endpoint_id, event_id) do update set ${anew(now)}`,
    );
    await claimKey(tx, { ...claimOf, answer: { count: eventIds.length } });
    return { endpointId: endpoint.id, count: eventIds.length, replayed: false };
  });
  deps.pubsub.publish(deliveriesTopic, '');
  return done;
}

/** The events of the time that the endpoint wants, in their order, one more than may be. */
async function eventsOf(
  { em, accountId }: Tx,
  endpoint: WebhookEndpoint,
  { from, to, onlyFailed }: RedeliverWebhooksInput,
): Promise<string[]> {
  // Keeps what is read here from being deleted for its age before it has a delivery (see pruneEvents).
  await rowsOf(em, sql`select 1 from event_cursor where account_id = ${accountId} for key share`);
  const inTime = sql`event.account_id = ${accountId} and event.occurred_at >= ${from}
    and (${to ?? null}::timestamptz is null or event.occurred_at < ${to ?? null})`;
  if (!onlyFailed) {
    const read = sql<{
      n: number;
    }>`select count(*)::int as n from (select 1 from event where ${inTime} limit ${maxRead + 1}) read`;
    const [{ n } = { n: 0 }] = await rowsOf(em, read);
    if (n > maxRead)
      throw invalid(`Expected a time with at most ${maxRead} events, found more: narrow from and to`, 'from');
  }
  const wanted = eventTypes.filter((type) => wantsEvent(endpoint.events, type));
  const rows = await rowsOf(
    em,
    onlyFailed
      ? sql<{ id: string }>`
          select event.id from webhook_delivery d join event on event.account_id = d.account_id and event.id = d.event_id
          where d.account_id = ${accountId} and d.endpoint_id = ${endpoint.id} and d.status = 'FAILED' and ${inTime}
          order by event.seq limit ${maxAtOnce + 1}`
      : sql<{ id: string }>`
          select event.id from event where ${inTime} and type = any(${wanted}::text[]) order by event.seq limit ${maxAtOnce + 1}`,
  );
  return rows.map(({ id }) => id);
}

/** Nothing is sent to an endpoint that is disabled: to ask for it is a mistake that its owner wants to hear of. */
export function checkEnabled({ enabled, deletedAt }: WebhookEndpoint, field: string): void {
  if (enabled) return;
  const message =
    deletedAt == null
      ? 'The endpoint is disabled, expected one that is enabled: enable it first'
      : 'The endpoint was deleted, expected one that is there';
  throw new BillingError('ILLEGAL_STATE', message, { field: [field] });
}
