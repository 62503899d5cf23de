import { nextAttemptMs } from '../domain/backoff.js';
import type { Clock } from '../platform/clock.js';
import type { Db } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { ClaimedDelivery } from './claimDue.js';
import type { PostOutcome } from './postWebhook.js';

/** How an attempt ended. */
export interface EndedAttempt {
  /** Of its line in the log. */
  readonly id: string;
  readonly delivery: Pick<ClaimedDelivery, 'accountId' | 'id' | 'endpointId' | 'attempt' | 'scheduleFrom'>;
  readonly startedAt: Date;
  /** What the endpoint answered; or nothing was posted: our own stop came first, or there is nothing to post (any more). */
  readonly outcome: PostOutcome | 'given back' | 'given up';
}

export const endedAttempt = (of: Omit<EndedAttempt, 'id'>): EndedAttempt => ({ id: newId(), ...of });

/** The delivery after an attempt. `attempts` takes one back that was none. */
interface Settled extends Pick<EndedAttempt, 'delivery'> {
  status: 'PENDING' | 'DELIVERED' | 'FAILED';
  attempts: number;
  nextAttemptAt: Date | null;
  posted: PostOutcome | undefined;
}

/**
 * Writes how attempts ended, of whatever accounts, by one statement: their lines in the log, and the deliveries. Until it has, a
 * process that is killed posts them again, so nothing else is done on the way. An attempt that another process has taken over
 * after its lease stands in the log and changes nothing else. Safe to repeat. Answers those that counted.
 */
export async function writeOutcomes(
  { db, clock }: { db: Pick<Db, 'orm'>; clock: Clock },
  ended: readonly EndedAttempt[],
): Promise<ReadonlySet<EndedAttempt>> {
  const now = clock.now();
  const settled = ended.map((attempt) => afterAttempt(attempt, now));
  const rows = await rowsOf(
    db.orm.em.fork(),
    sql<{
      id: string;
    }>`with logged as (${logOf(ended)}), settled as (${updateOf(settled, now)}) select id from settled`,
  );
  const counted = new Set(rows.map(({ id }) => id));
  return new Set(ended.filter(({ delivery }) => counted.has(delivery.id)));
}

/** Writes since when endpoints fail. Answers, for each that had failed before and does again, since when. */
export async function noteFailures(
  { db }: { db: Pick<Db, 'orm'> },
  ended: readonly EndedAttempt[],
): Promise<ReadonlyMap<string, Date>> {
  const rows = await rowsOf(db.orm.em.fork(), endpointsOf(ended));
  return new Map(
    rows.flatMap(({ id, failing_since }) => (failing_since === null ? [] : [[id, instantOf(failing_since)]])),
  );
}

function afterAttempt({ delivery, outcome }: EndedAttempt, now: Date): Settled {
  const { attempt, scheduleFrom } = delivery;
  const posted = typeof outcome === 'string' ? undefined : outcome;
  if (outcome === 'given back')
    return { delivery, status: 'PENDING', attempts: attempt - 1, nextAttemptAt: now, posted };
  if (outcome === 'given up') return { delivery, status: 'FAILED', attempts: attempt - 1, nextAttemptAt: null, posted };
  if (outcome.ok) return { delivery, status: 'DELIVERED', attempts: attempt, nextAttemptAt: null, posted };
  const pauseMs = outcome.gone
    ? undefined
    : nextAttemptMs({
        attempt: attempt - scheduleFrom,
        random: Math.random(),
        retryAfterSeconds: outcome.retryAfterSeconds,
      });
  if (pauseMs === undefined) return { delivery, status: 'FAILED', attempts: attempt, nextAttemptAt: null, posted };
  const nextAttemptAt = new Date(now.getTime() + pauseMs);
  return { delivery, status: 'PENDING', attempts: attempt, nextAttemptAt, posted };
}

/** A delivery that is gone by now, because of its age, takes no line more. */
function logOf(ended: readonly EndedAttempt[]) {
  const lines = ended.flatMap(({ id, delivery, startedAt, outcome }) =>
    typeof outcome === 'string' ? [] : { id, delivery, startedAt, outcome },
  );
  return sql`
    insert into webhook_attempt (account_id, id, delivery_id, attempted_at, response_status, duration_ms, response_excerpt, error)
    select line.* from unnest(${lines.map((l) => l.delivery.accountId)}::uuid[], ${lines.map((l) => l.id)}::uuid[],
        ${lines.map((l) => l.delivery.id)}::uuid[], ${lines.map((l) => l.startedAt)}::timestamptz[],
        ${lines.map((l) => l.outcome.status)}::int[], ${lines.map((l) => Math.round(l.outcome.durationMs))}::int[],
        ${lines.map((l) => l.outcome.responseExcerpt)}::text[], ${lines.map((l) => l.outcome.error)}::text[])
      as line (account_id, id, delivery_id, attempted_at, response_status, duration_ms, response_excerpt, error)
    where exists (select 1 from webhook_delivery d where d.account_id = line.account_id and d.id = line.delivery_id)
    on conflict (account_id, id) do nothing`;
}

/** `attempts` is the fence. A failure says nothing of a schedule that began anew meanwhile; a success ends that as well. */
function updateOf(settled: readonly Settled[], now: Date) {
  const of = settled.map(({ delivery }) => delivery);
  return sql`
    update webhook_delivery d set status = s.status, attempts = s.attempts, next_attempt_at = s.next_attempt_at, leased_until = null,
      response_status = case when s.posted then s.response_status else d.response_status end,
      duration_ms = case when s.posted then s.duration_ms else d.duration_ms end,
      delivered_at = case when s.status = 'DELIVERED' then ${now}::timestamptz else d.delivered_at end
    from unnest(${of.map((d) => d.accountId)}::uuid[], ${of.map((d) => d.id)}::uuid[], ${of.map((d) => d.attempt)}::int[],
        ${of.map((d) => d.scheduleFrom)}::int[], ${settled.map((s) => s.status)}::text[], ${settled.map((s) => s.attempts)}::int[],
        ${settled.map((s) => s.nextAttemptAt)}::timestamptz[], ${settled.map((s) => s.posted !== undefined)}::boolean[],
        ${settled.map((s) => s.posted?.status ?? null)}::int[],
        ${settled.map((s) => (s.posted ? Math.round(s.posted.durationMs) : null))}::int[])
      as s (account_id, id, attempt, schedule_from, status, attempts, next_attempt_at, posted, response_status, duration_ms)
    where d.account_id = s.account_id and d.id = s.id and d.status = 'PENDING' and d.attempts = s.attempt
      and (d.schedule_from = s.schedule_from or s.status = 'DELIVERED')
    returning d.id`;
}

/** A success ends what failed before it. The row of an endpoint that goes on as it did is left alone. */
function endpointsOf(ended: readonly EndedAttempt[]) {
  const known = new Map<string, { accountId: string; endpointId: string; succeeded: boolean; failedAt: Date | null }>();
  for (const { delivery, startedAt, outcome } of ended) {
    if (typeof outcome === 'string') continue;
    const { accountId, endpointId } = delivery;
    const before = known.get(endpointId) ?? { accountId, endpointId, succeeded: false, failedAt: null };
    known.set(
      endpointId,
      outcome.ok
        ? { ...before, succeeded: true, failedAt: null }
        : { ...before, failedAt: before.failedAt ?? startedAt },
    );
  }
  const seen = [...known.values()];
  return sql<{ id: string; failing_since: string | null }>`
    with seen as (
      select * from unnest(${seen.map((e) => e.accountId)}::uuid[], ${seen.map((e) => e.endpointId)}::uuid[],
        ${seen.map((e) => e.succeeded)}::boolean[], ${seen.map((e) => e.failedAt)}::timestamptz[]) as s (account_id, id, succeeded, failed_at)
    ), changed as (
      update webhook_endpoint e set failing_since = seen.failed_at
      from seen where e.account_id = seen.account_id and e.id = seen.id
        and case when seen.succeeded then e.failing_since is distinct from seen.failed_at
          else e.failing_since is null and seen.failed_at is not null end
    )
    select e.id, e.failing_since from webhook_endpoint e join seen on e.account_id = seen.account_id and e.id = seen.id
    where seen.failed_at is not null and not seen.succeeded`;
}
