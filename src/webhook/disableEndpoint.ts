import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { isGivenUp } from '../domain/backoff.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { presentEndpoint } from './presentEndpoint.js';
import { type disabledReasons, WebhookEndpoint } from './webhook.entity.js';

/** Deliveries that fail with the endpoint, in its transaction; of more, the pump lets the rest fail when one comes due. */
const failAtOnce = 10_000;
const failEachTime = 1_000;

type Reason = (typeof disabledReasons)[number];

/**
 * Disables an endpoint that has only failed for five days, or that answered 410, and tells the owner by an event. Once: where
 * it is disabled already, or has succeeded meanwhile, nothing happens.
 */
export async function disableFailedEndpoint(
  deps: Pick<Deps, 'db' | 'clock'>,
  {
    accountId,
    endpointId,
    reason,
    url,
  }: {
    accountId: string;
    endpointId: string;
    reason: 'FAILING' | 'GONE';
    /** Where that was said: an endpoint that has moved meanwhile is another. */
    url?: string;
  },
): Promise<void> {
  const now = deps.clock.now(); // endpoints live by the wall; the event bears the account's time
  await transact(deps, accountId, async (tx) => {
    const endpoint = await tx.em.findOneOrFail(
      WebhookEndpoint,
      { accountId, id: endpointId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    const { failingSince } = endpoint;
    const fails = reason === 'GONE' || (failingSince != null && isGivenUp({ failingSince, now }));
    if (!endpoint.enabled || !fails || (url !== undefined && url !== endpoint.url)) return;
    await disable(tx, endpoint, { reason, now });
    const told = { reason: reason.toLowerCase(), failing_since: failingSince?.toISOString() ?? null };
    tx.emit({ type: 'webhook_endpoint.disabled', data: { ...presentEndpoint(endpoint), ...told } });
  });
}

/**
 * Nothing more is sent to the endpoint. What waited for it has failed, and can be sent again later; an attempt under way ends by
 * itself.
 */
export async function disable(
  { em }: Pick<Tx, 'em'>,
  endpoint: WebhookEndpoint,
  { reason, now }: { reason: Reason; now: Date },
): Promise<void> {
  endpoint.enabled = false;
  endpoint.disabledAt = now;
  endpoint.disabledReason = reason;
  await em.flush(); // the statement below looks whether it is
  await failWaiting(em, { ...endpoint, now, limit: failAtOnce });
}

/** Lets all fail that still waits for an endpoint that is disabled, batch after batch, each a statement of its own. */
export async function failAllWaiting(
  { db, clock }: Pick<Deps, 'db' | 'clock'>,
  { accountId, endpointId }: { accountId: string; endpointId: string },
): Promise<void> {
  const batch = { accountId, id: endpointId, limit: failEachTime };
  while ((await failWaiting(db.orm.em.fork(), { ...batch, now: clock.now() })) === failEachTime);
}

/** What an attempt under way has leased is left to it. An array is read once, where `in` may be read again for each row. */
async function failWaiting(
  em: EntityManager,
  { accountId, id, now, limit }: { accountId: string; id: string; now: Date; limit: number },
): Promise<number> {
  const failed = await rowsOf(
    em,
    sql`
      update webhook_delivery set status = 'FAILED', next_attempt_at = null
      where account_id = ${accountId} and status = 'PENDING' and id = any(array(
        select d.id from webhook_delivery d join webhook_endpoint e on e.account_id = d.account_id and e.id = d.endpoint_id
        where d.account_id = ${accountId} and d.endpoint_id = ${id} and d.status = 'PENDING' and not e.enabled
          and (d.leased_until is null or d.leased_until <= ${now})
        limit ${limit}))
      returning 1`,
  );
  return failed.length;
}
