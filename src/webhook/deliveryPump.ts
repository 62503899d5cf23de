import { isGivenUp } from '../domain/backoff.js';
import { createCoalescer } from '../platform/coalesce.js';
import { sqlState } from '../platform/connectionLoss.js';
import type { Deps } from '../platform/deps.js';
import { withoutWaitBudget } from '../platform/waitBudget.js';
import { type ClaimedDelivery, type ClaimedPost, claimDue, type DueDelivery, readDue } from './claimDue.js';
import { disableFailedEndpoint } from './disableEndpoint.js';
import { createLanes } from './lanes.js';
import { deliveriesTopic } from './planDeliveries.js';
import type { PostOutcome, WebhookPoster } from './postWebhook.js';
import { type EndedAttempt, settleAttempts } from './settleAttempts.js';
import { signatureHeaders } from './signature.js';

export interface DeliveryPump {
  start(): void;
  /** Gives up the attempts under way and gives them back, due at once. */
  stop(): Promise<void>;
}

/** A hint can be lost, and a retry comes due without one. */
const pollMs = 1_000;
/** Read for each free place: behind the deliveries of an endpoint that has no room may be those of others. */
const readPerPlace = 4;
const maxSettledAtOnce = 200;

/**
 * Posts what is due, of whatever account: reads it, claims it by the set, posts with bounded concurrency, writes the outcomes by
 * the set. `next_attempt_at` is the truth: deliveries are at least once, and a process that dies leaves its own due again after
 * their lease. A receiver knows a repeat by its `webhook-id`.
 */
export function createDeliveryPump(
  deps: Pick<Deps, 'db' | 'clock' | 'pubsub' | 'log'> & { poster: WebhookPoster },
): DeliveryPump {
  const { db, clock, log, pubsub, poster } = deps;
  const lanes = createLanes();
  const stopping = new AbortController();
  const underWay = new Set<Promise<void>>();
  let filling: Promise<void> | undefined;
  let again = false;
  /** Was something left that had no place? Then each place that gets free is a reason to look. */
  let backlog = false;
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe = () => {};

  /** Looks for what is due, once more if it is woken meanwhile. */
  const wake = (): void => {
    again = true;
    if (filling || stopping.signal.aborted) return;
    filling = withoutWaitBudget(fill).then(
      () => {
        filling = undefined;
        if (again) wake();
      },
      (error: unknown) => {
        filling = undefined;
        // Two processes that claim at once may meet in a deadlock; anything else is the database's absence.
        if (sqlState(error) !== '40P01') log.warn({ err: error }, 'due webhooks could not be claimed; trying again');
      },
    );
  };

  const fill = async (): Promise<void> => {
    while (again && !stopping.signal.aborted) {
      again = false;
      backlog = true;
      while (lanes.free() > 0 && !stopping.signal.aborted) {
        const now = clock.now();
        const limit = lanes.free() * readPerPlace;
        const due = await readDue(db, { now, except: lanes.full(performance.now()), limit });
        const chosen = choose(due);
        if (chosen.length > 0) for (const delivery of await claimDue(db, { now, deliveries: chosen })) begin(delivery);
        backlog = chosen.length < due.length || due.length === limit;
        if (chosen.length === 0 || !backlog) break;
      }
    }
  };

  /** As many as there are places for, the longest due first. */
  const choose = (due: readonly DueDelivery[]): DueDelivery[] => {
    const left = new Map<string, number>();
    const chosen: DueDelivery[] = [];
    for (const delivery of due) {
      const room = left.get(delivery.endpointId) ?? lanes.room(delivery.endpointId, performance.now());
      left.set(delivery.endpointId, Math.max(0, room - 1));
      if (room > 0) chosen.push(delivery);
      if (chosen.length === lanes.free()) break;
    }
    return chosen;
  };

  const begin = (delivery: ClaimedDelivery): void => {
    const run = attempt(delivery)
      .catch((error: unknown) =>
        log.warn(
          { err: error, delivery: delivery.id },
          'what became of an attempt could not be written down; it is tried again',
        ),
      )
      .finally(() => underWay.delete(run));
    underWay.add(run);
  };

  const attempt = async (delivery: ClaimedDelivery): Promise<void> => {
    const { post } = delivery;
    const startedAt = clock.now();
    if (post === 'no event') log.error({ delivery: delivery.id }, 'a delivery is of an event that is not in the log');
    if (typeof post === 'string') return settle({ delivery, startedAt, outcome: 'given up' });
    const { accountId, endpointId } = delivery;
    // A place is kept until the outcome is written: what a killed process has posted without anybody knowing is posted again, and
    // that is no more than there are places.
    const leave = lanes.enter(endpointId, performance.now());
    let tookMs: number | undefined;
    try {
      const outcome = await send(post, startedAt);
      tookMs = outcome.durationMs;
      if (stopping.signal.aborted && !outcome.ok) return await settle({ delivery, startedAt, outcome: 'given back' });
      // First, so that a process that dies in between leaves a delivery to an endpoint that is disabled.
      if (outcome.gone) await disableFailedEndpoint(deps, { accountId, endpointId, reason: 'GONE' });
      await settle({ delivery, startedAt, outcome });
    } finally {
      leave(tookMs);
      if (backlog) wake();
    }
  };

  const send = ({ url, webhookId, body, secrets }: ClaimedPost, at: Date): Promise<PostOutcome> => {
    const headers = signatureHeaders({ id: webhookId, at, body, secrets });
    return poster.post({ url, headers, body }, stopping.signal);
  };

  /** Answers, at one of an endpoint's attempts that are written together, since when it fails. */
  const outcomes = createCoalescer<EndedAttempt, Date | undefined>({
    maxItems: maxSettledAtOnce,
    flush: async (_key, ended) => {
      const failing = new Map((await settleAttempts({ db, clock }, ended)).map((e) => [e.endpointId, e.failingSince]));
      return ended.map(({ delivery: { endpointId } }) => {
        const since = failing.get(endpointId);
        failing.delete(endpointId);
        return since;
      });
    },
  });

  const settle = async (ended: EndedAttempt): Promise<void> => {
    const { accountId, endpointId } = ended.delivery;
    const [failingSince] = await outcomes.add('', [ended]);
    if (failingSince && isGivenUp({ failingSince, now: clock.now() }))
      await disableFailedEndpoint(deps, { accountId, endpointId, reason: 'FAILING' });
  };

  const poll = (): void => {
    wake();
    timer = setTimeout(poll, pollMs).unref();
  };

  return {
    start: () => {
      unsubscribe = pubsub.subscribe(deliveriesTopic, wake);
      poll();
    },
    stop: async () => {
      stopping.abort();
      clearTimeout(timer);
      unsubscribe();
      await filling;
      await Promise.all(underWay);
    },
  };
}
