import { LockMode } from '@mikro-orm/postgresql';
import { retryDelayMs } from '../domain/backoff.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { eventsByIds, type LoggedEvent } from '../platform/eventLog.js';
import { stringifyExact } from '../platform/exactJson.js';
import { newId, publicId } from '../platform/ids.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { firstPlace, placesOf } from '../platform/sweeps.js';
import type { Lanes } from './lanes.js';
import { deliverJob } from './planDeliveries.js';
import type { PostOutcome, WebhookPoster } from './postWebhook.js';
import { signatureHeaders } from './signature.js';
import { WebhookAttempt, WebhookDelivery, WebhookEndpoint } from './webhook.entity.js';

export interface Delivering {
  readonly poster: WebhookPoster;
  readonly lanes: Lanes;
  /** Fires when the process stops: attempts under way are given up and given back. */
  readonly stopping: AbortSignal;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'jobs'> & Delivering;

/** A claimed delivery is due again after this, should its process die; longer than one attempt can last. */
const leaseMs = 30_000;
const maxBodyBytes = 20_000;
const maxRetryAfterMs = 24 * 3_600_000;

/**
 * One attempt to deliver: claim the row, post, write the outcome. Delivered at least once: a process that dies between the
 * answer and the write leaves the row due again, and the receiver knows a repeat by its `webhook-id`.
 */
export async function deliver(
  deps: Needs,
  { accountId, deliveryId }: { accountId: string; deliveryId: string },
): Promise<void> {
  if (deps.stopping.aborted) return; // it stays due
  const due = await deps.db.orm.em.fork().findOne(WebhookDelivery, { accountId, id: deliveryId, status: 'PENDING' });
  if (!due) return;
  const place = deps.lanes.enter(due.endpointId, deps.clock.now().getTime());
  if ('stepAsideMs' in place) return stepAside(deps, { accountId, deliveryId, forMs: place.stepAsideMs });
  let postedMs: number | undefined;
  try {
    postedMs = await attempt(deps, { accountId, deliveryId });
  } finally {
    place.leave(postedMs);
  }
}

/** Returns how long the endpoint took (milliseconds); undefined when nothing was posted. */
async function attempt(
  deps: Needs,
  { accountId, deliveryId }: { accountId: string; deliveryId: string },
): Promise<number | undefined> {
  const claimed = await transact(deps, accountId, async (tx) => {
    const delivery = await lockDue(tx, deliveryId);
    if (!delivery) return undefined;
    const endpoint = await tx.em.findOneOrFail(WebhookEndpoint, { accountId, id: delivery.endpointId });
    if (!endpoint.enabled) {
      delivery.status = 'FAILED';
      delivery.nextAttemptAt = null;
      return undefined;
    }
    delivery.nextAttemptAt = new Date(tx.now.getTime() + leaseMs);
    delivery.attempts += 1;
    return { endpoint, eventId: delivery.eventId, attempt: delivery.attempts };
  });
  if (!claimed) return undefined;

  const [event] = await eventsByIds(deps.db.orm.em.fork(), { accountId, ids: [claimed.eventId] });
  if (!event) throw new Error(`delivery ${deliveryId} is of an event that is not in the log`);
  const body = webhookBody(event);
  const id = publicId('event', event.id);
  const headers = signatureHeaders({ id, at: deps.clock.now(), body, secrets: [claimed.endpoint.secret] });
  const outcome = await deps.poster.post({ url: claimed.endpoint.url, headers, body }, deps.stopping);
  if (deps.stopping.aborted && !outcome.ok) await giveBack(deps, { accountId, deliveryId });
  else await settleDelivery(deps, { accountId, deliveryId, attempt: claimed.attempt, outcome });
  return outcome.durationMs;
}

async function lockDue(tx: Tx, id: string): Promise<WebhookDelivery | undefined> {
  const delivery = await tx.em.findOne(
    WebhookDelivery,
    { accountId: tx.accountId, id },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  const due = delivery?.status === 'PENDING' && delivery.nextAttemptAt && delivery.nextAttemptAt <= tx.now;
  return due ? delivery : undefined;
}

/** Makes way at an endpoint that is busy and slow; no attempt is counted. */
async function stepAside(
  deps: Needs,
  { accountId, deliveryId, forMs }: { accountId: string; deliveryId: string; forMs: number },
): Promise<void> {
  const runAt = await transact(deps, accountId, async (tx) => {
    const delivery = await lockDue(tx, deliveryId);
    if (!delivery) return undefined;
    delivery.nextAttemptAt = new Date(tx.now.getTime() + forMs);
    return delivery.nextAttemptAt;
  });
  if (runAt) await deps.jobs.add(deliverJob, { accountId, deliveryId }, { runAt, jobKey: deliveryId });
}

/** An attempt that our own stop cut off was none: it is due at once, for the next start. */
async function giveBack(
  deps: Needs,
  { accountId, deliveryId }: { accountId: string; deliveryId: string },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const where = { accountId, id: deliveryId };
    const delivery = await tx.em.findOneOrFail(WebhookDelivery, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (delivery.status !== 'PENDING') return;
    delivery.attempts -= 1;
    delivery.nextAttemptAt = tx.now;
  });
}

/** The body that is signed: at most 20 kB; an invoice with very many lines leaves them out and says so. */
export function webhookBody(event: LoggedEvent): string {
  const bodyOf = (data: object) =>
    stringifyExact({ type: event.type, timestamp: event.occurredAt.toISOString(), data });
  const full = bodyOf(event.data);
  if (Buffer.byteLength(full) <= maxBodyBytes) return full;
  const { lines: _lines, ...rest } = event.data;
  return bodyOf({ ...rest, lines_omitted: true });
}

async function settleDelivery(
  deps: Needs,
  {
    accountId,
    deliveryId,
    attempt,
    outcome,
  }: { accountId: string; deliveryId: string; attempt: number; outcome: PostOutcome },
): Promise<void> {
  const retryAt = await transact(deps, accountId, async (tx) => {
    const delivery = await tx.em.findOneOrFail(
      WebhookDelivery,
      { accountId, id: deliveryId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    tx.em.create(WebhookAttempt, {
      accountId,
      id: newId(),
      deliveryId,
      attemptedAt: tx.now,
      responseStatus: outcome.status,
      durationMs: Math.round(outcome.durationMs),
      // PostgreSQL's text holds no zero byte; a receiver may send one.
      responseExcerpt: outcome.responseExcerpt.replaceAll('\0', '\uFFFD'),
      error: outcome.error,
    });
    // A second process may have taken over after the lease and delivered it meanwhile.
    if (delivery.status !== 'PENDING') return undefined;
    delivery.responseStatus = outcome.status;
    delivery.durationMs = Math.round(outcome.durationMs);
    if (outcome.ok) {
      delivery.status = 'DELIVERED';
      delivery.deliveredAt = tx.now;
      delivery.nextAttemptAt = null;
      return undefined;
    }
    if (outcome.gone)
      await tx.em.nativeUpdate(WebhookEndpoint, { accountId, id: delivery.endpointId }, { enabled: false });
    const delayMs = outcome.gone ? undefined : retryDelayMs({ attempt, random: Math.random() });
    if (delayMs === undefined) {
      delivery.status = 'FAILED';
      delivery.nextAttemptAt = null;
      return undefined;
    }
    const asked = Math.min((outcome.retryAfterSeconds ?? 0) * 1_000, maxRetryAfterMs);
    delivery.nextAttemptAt = new Date(tx.now.getTime() + Math.max(delayMs, asked));
    return delivery.nextAttemptAt;
  });
  if (retryAt) await deps.jobs.add(deliverJob, { accountId, deliveryId }, { runAt: retryAt, jobKey: deliveryId });
}

/** How many deliveries one round hurries. */
const hurriedAtOnce = 200;
const sweep = 'webhook_delivery.next_attempt_at';

/**
 * Sweep: hurries deliveries that are due and that no job seems to look after. Each round goes on behind the last one, and
 * then from the beginning: those that stay due however often they are hurried never stand before the others.
 */
export async function hurryDueDeliveries(deps: Pick<Deps, 'db' | 'clock' | 'jobs'>): Promise<number> {
  const places = placesOf(deps.db);
  const after = places.get(sweep) ?? firstPlace;
  const overdue = new Date(deps.clock.now().getTime() - 5_000); // jobs that just come due are not overdue
  const due = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ account_id: string; id: string; next_attempt_at: string }>`
      select account_id, id, next_attempt_at from webhook_delivery
      where status = 'PENDING' and next_attempt_at <= ${overdue} and (next_attempt_at, id) > (${after.dueAt}, ${after.id}::uuid)
      order by next_attempt_at, id limit ${hurriedAtOnce}`,
  );
  const last = due.length < hurriedAtOnce ? undefined : due.at(-1);
  places.set(sweep, last ? { dueAt: instantOf(last.next_attempt_at), id: last.id } : firstPlace);
  for (const { account_id, id } of due)
    await deps.jobs.add(deliverJob, { accountId: account_id, deliveryId: id }, { jobKey: id });
  return 0; // it only hands over: nothing is finished yet
}
