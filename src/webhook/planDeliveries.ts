import { wantsEvent } from '../domain/eventFilter.js';
import { wallClock } from '../platform/clock.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';

/** The topic that wakes the pumps of all processes: deliveries are due. The message is empty. */
export const deliveriesTopic = 'webhook_deliveries';

/**
 * Sink of the relay, for events of one account: a delivery row for each endpoint and each event it wants, once, all by one
 * statement, and a hint to hurry them.
 */
export async function planDeliveries(
  deps: Pick<Deps, 'db' | 'clock' | 'pubsub'>,
  events: readonly LoggedEvent[],
): Promise<void> {
  const accountId = events[0]?.accountId;
  if (accountId === undefined) return;
  const endpoints = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ id: string; events: string[]; created_at: string; test_clock: boolean }>`
      select e.id, e.events, e.created_at, a.test_clock_at is not null as test_clock
      from webhook_endpoint e join account a on a.id = e.account_id
      where e.account_id = ${accountId} and e.enabled and e.deleted_at is null`,
  );
  const wanted = events.flatMap((event) =>
    endpoints
      // An endpoint may be older than its account's test clock, which shows any time.
      .filter((endpoint) => endpoint.test_clock || instantOf(endpoint.created_at) <= event.occurredAt)
      .filter((endpoint) => wantsEvent(endpoint.events, event.type))
      .map((endpoint) => ({ id: newId(), endpointId: endpoint.id, eventId: event.id })),
  );
  if (wanted.length === 0) return;
  // Whoever receives a webhook lives outside: attempts know no test clock.
  const planned = await transact({ db: deps.db, clock: wallClock(deps.clock) }, accountId, (tx) =>
    rowsOf(
      tx.em,
      sql<{ id: string }>`
        insert into webhook_delivery (account_id, id, endpoint_id, event_id, status, next_attempt_at, created_at)
        select ${accountId}::uuid, d.id, d.endpoint_id, d.event_id, 'PENDING', ${tx.now}, ${tx.now}
        from unnest(${wanted.map((d) => d.id)}::uuid[], ${wanted.map((d) => d.endpointId)}::uuid[],
          ${wanted.map((d) => d.eventId)}::uuid[]) as d (id, endpoint_id, event_id)
        on conflict (account_id, endpoint_id, event_id) do nothing
        returning id`,
    ),
  );
  if (planned.length > 0) deps.pubsub.publish(deliveriesTopic, '');
}
