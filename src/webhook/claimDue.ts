import type { Db } from '../platform/db.js';
import { type EventRow, loggedEvent } from '../platform/eventLog.js';
import { publicId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { validSecrets } from './secrets.js';
import type { FormerSecret } from './webhook.entity.js';
import { webhookBody } from './webhookBody.js';

/** A claimed delivery is due again after this, should its process die; longer than one attempt can last. */
export const leaseMs = 30_000;

export interface DueDelivery {
  readonly accountId: string;
  readonly id: string;
  readonly endpointId: string;
}

/** What is due, of whatever account, the longest due first; not of these endpoints. Nothing is locked. */
export async function readDue(
  db: Pick<Db, 'orm'>,
  { now, except, limit }: { now: Date; except: readonly string[]; limit: number },
): Promise<DueDelivery[]> {
  const rows = await rowsOf(
    db.orm.em.fork(),
    sql<{ account_id: string; id: string; endpoint_id: string }>`
      select account_id, id, endpoint_id from webhook_delivery
      where status = 'PENDING' and next_attempt_at <= ${now} and endpoint_id <> all(${except}::uuid[])
      order by next_attempt_at, id limit ${limit}`,
  );
  return rows.map((row) => ({ accountId: row.account_id, id: row.id, endpointId: row.endpoint_id }));
}

/** A delivery that this process alone may attempt now. */
export interface ClaimedDelivery extends DueDelivery {
  /** Its number among all attempts there were: an outcome counts only while it is the last. */
  readonly attempt: number;
  /** Attempts before the schedule began. */
  readonly scheduleFrom: number;
  /** Has its endpoint failed since it last succeeded? */
  readonly endpointFails: boolean;
  /** What to post, or why nothing can be: the endpoint is disabled by now, or the event is not in the log. */
  readonly post: ClaimedPost | 'disabled' | 'no event';
}

export interface ClaimedPost {
  readonly url: string;
  /** `webhook-id`: the same on every attempt. */
  readonly webhookId: string;
  readonly body: string;
  /** Those that are valid now, newest first. */
  readonly secrets: readonly string[];
}

type ClaimedRow = {
  account_id: string;
  delivery_id: string;
  endpoint_id: string;
  event_id: string | null;
  attempts: number;
  schedule_from: number;
  test_body: string | null;
  url: string;
  enabled: boolean;
  secret: string;
  former_secrets: FormerSecret[];
  fails: boolean;
} & ({ id: null } | EventRow);

/**
 * Claims those of the deliveries that are still due, with all that posting them needs, by one statement. Of two processes that
 * want the same one the second finds it leased: PostgreSQL looks at the condition again once the first has committed.
 */
export async function claimDue(
  db: Pick<Db, 'orm'>,
  { now, deliveries }: { now: Date; deliveries: readonly DueDelivery[] },
): Promise<ClaimedDelivery[]> {
  const lease = new Date(now.getTime() + leaseMs);
  const rows = await rowsOf(
    db.orm.em.fork(),
    sql<ClaimedRow>`
      with claimed as (
        update webhook_delivery d set next_attempt_at = ${lease}, leased_until = ${lease}, attempts = d.attempts + 1
        from unnest(${deliveries.map((d) => d.accountId)}::uuid[], ${deliveries.map((d) => d.id)}::uuid[]) as due (account_id, id)
        where d.account_id = due.account_id and d.id = due.id and d.status = 'PENDING' and d.next_attempt_at <= ${now}
        returning d.account_id, d.id as delivery_id, d.endpoint_id, d.event_id, d.test_body, d.attempts, d.schedule_from
      )
      select claimed.*, endpoint.url, endpoint.enabled, endpoint.secret, endpoint.former_secrets, endpoint.failing_since is not null as fails,
        event.id, event.type, event.occurred_at, event.seq, event.data::text as data
      from claimed
        join webhook_endpoint endpoint on endpoint.account_id = claimed.account_id and endpoint.id = claimed.endpoint_id
        left join event on event.account_id = claimed.account_id and event.id = claimed.event_id`,
  );
  return rows.map((row) => ({
    accountId: row.account_id,
    id: row.delivery_id,
    endpointId: row.endpoint_id,
    attempt: row.attempts,
    scheduleFrom: row.schedule_from,
    endpointFails: row.fails,
    post: postOf(row, now),
  }));
}

function postOf(row: ClaimedRow, now: Date): ClaimedDelivery['post'] {
  if (!row.enabled) return 'disabled';
  const body = row.test_body ?? (row.id === null ? undefined : webhookBody(loggedEvent(row.account_id, row)));
  if (body === undefined) return 'no event';
  return {
    url: row.url,
    webhookId: publicId('event', row.event_id ?? row.delivery_id),
    body,
    secrets: validSecrets({ secret: row.secret, formerSecrets: row.former_secrets }, now),
  };
}
