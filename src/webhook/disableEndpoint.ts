import { LockMode } from '@mikro-orm/postgresql';
import { isGivenUp } from '../domain/backoff.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { presentEndpoint } from './presentEndpoint.js';
import { type disabledReasons, WebhookEndpoint } from './webhook.entity.js';

/** Deliveries that fail with the endpoint, in its transaction; of more, the pump lets each fail that comes due. */
const failAtOnce = 10_000;

type Reason = (typeof disabledReasons)[number];

/**
 * Disables an endpoint that has only failed for five days, or that answered 410, and tells the owner by an event. Once: where
 * it is disabled already, or has succeeded meanwhile, nothing happens.
 */
export async function disableFailedEndpoint(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, endpointId, reason }: { accountId: string; endpointId: string; reason: 'FAILING' | 'GONE' },
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
    if (!endpoint.enabled || !fails) return;
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
  await rowsOf(
    em,
    sql`
      update webhook_delivery set status = 'FAILED', next_attempt_at = null
      where account_id = ${endpoint.accountId} and status = 'PENDING' and id in (
        select id from webhook_delivery
        where account_id = ${endpoint.accountId} and endpoint_id = ${endpoint.id} and status = 'PENDING'
          and (leased_until is null or leased_until <= ${now})
        limit ${failAtOnce})`,
  );
}
