import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';

/** Name of the job that hurries a delivery; see schedule. */
export const deliverJob = 'webhook.deliver';

/** Sink of the relay: one delivery row for each endpoint that wants the event, once, and a job to hurry it. */
export async function planDeliveries(deps: Pick<Deps, 'db' | 'clock' | 'jobs'>, event: LoggedEvent): Promise<void> {
  const { accountId } = event;
  const wanted = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ id: string }>`
      select id from webhook_endpoint
      where account_id = ${accountId} and enabled and deleted_at is null and (created_at <= ${event.occurredAt}
          -- an endpoint may be older than its account's clock, which shows any time
          or exists (select 1 from account where id = ${accountId} and test_clock_at is not null))
        and (cardinality(events) = 0 or ${event.type} = any(events))`,
  );
  if (wanted.length === 0) return;
  const planned = await transact(deps, accountId, (tx) =>
    rowsOf(
      tx.em,
      sql<{ id: string }>`
        insert into webhook_delivery (account_id, id, endpoint_id, event_id, status, attempts, next_attempt_at, created_at)
        select ${accountId}::uuid, d.id, d.endpoint_id, ${event.id}::uuid, 'PENDING', 0, ${tx.now}, ${tx.now}
        from unnest(${wanted.map(() => newId())}::uuid[], ${wanted.map((e) => e.id)}::uuid[]) as d (id, endpoint_id)
        on conflict (account_id, endpoint_id, event_id) do nothing
        returning id`,
    ),
  );
  for (const { id } of planned) await deps.jobs.add(deliverJob, { accountId, deliveryId: id }, { jobKey: id });
}
