import { setTimeout as sleep } from 'node:timers/promises';
import { isGivenUp } from '../domain/backoff.js';
import { createCoalescer } from '../platform/coalesce.js';
import { isConnectionLost, sqlState } from '../platform/connectionLoss.js';
import type { Deps } from '../platform/deps.js';
import { withoutWaitBudget } from '../platform/waitBudget.js';
import { type ClaimedDelivery, type ClaimedPost, claimDue, leaseMs, readDue } from './claimDue.js';
import { disableFailedEndpoint, failAllWaiting } from './disableEndpoint.js';
import { createLanes } from './lanes.js';
import { deliveriesTopic } from './planDeliveries.js';
import type { PostOutcome, WebhookPoster } from './postWebhook.js';
import { type EndedAttempt, endedAttempt, noteFailures, writeOutcomes } from './settleAttempts.js';
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
const writeAgainMs = 500;

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
      /** Endpoints that have no place left: what else is due at them would hide what is due at others. */
      const passed = new Set([...lanes.full(performance.now()), ...emptying.keys()]);
      while (lanes.free() > 0 && !stopping.signal.aborted) {
        const limit = lanes.free() * readPerPlace;
        const due = await readDue(db, { now: clock.now(), except: [...passed], limit });
        const { chosen, left } = lanes.choose(due, performance.now());
        // The lease begins now, and not before what was read.
        if (chosen.length > 0)
          for (const delivery of await claimDue(db, { now: clock.now(), deliveries: chosen })) begin(delivery);
        for (const endpointId of left) passed.add(endpointId);
        if (due.length < limit) break;
      }
      backlog = passed.size > 0 || lanes.free() === 0;
    }
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
    const { post, accountId, endpointId } = delivery;
    const startedAt = clock.now();
    if (post === 'no event') log.error({ delivery: delivery.id }, 'a delivery is of an event that is not in the log');
    if (post === 'disabled') void empty({ accountId, endpointId });
    if (typeof post === 'string') return void (await write(endedAttempt({ delivery, startedAt, outcome: 'given up' })));
    // A place is kept until the outcome is written: what a killed process has posted without anybody knowing is posted again, and
    // that is no more than there are places.
    const leave = lanes.enter(endpointId, performance.now());
    let tookMs: number | undefined;
    let ended: EndedAttempt;
    let counts: boolean;
    try {
      const outcome = await send(post, startedAt);
      tookMs = outcome.durationMs;
      const isCut = stopping.signal.aborted && !outcome.ok;
      // First, so that a process that dies in between leaves a delivery to an endpoint that is disabled.
      if (outcome.gone && !isCut)
        await disableFailedEndpoint(deps, { accountId, endpointId, reason: 'GONE', url: post.url });
      ended = endedAttempt({ delivery, startedAt, outcome: isCut ? 'given back' : outcome });
      counts = await write(ended);
    } finally {
      leave(tookMs);
      if (backlog) wake();
    }
    const { outcome } = ended;
    if (counts && typeof outcome !== 'string' && (!outcome.ok || delivery.endpointFails)) await noteFailure(ended);
  };

  const send = ({ url, webhookId, body, secrets }: ClaimedPost, at: Date): Promise<PostOutcome> => {
    const headers = signatureHeaders({ id: webhookId, at, body, secrets });
    return poster.post({ url, headers, body }, stopping.signal);
  };

  /** Whether each counted; or why it could not be written. */
  const outcomes = createCoalescer<EndedAttempt, boolean | Error>({
    maxItems: maxSettledAtOnce,
    flush: async (_key, ended) => {
      try {
        const counted = await writeOutcomes({ db, clock }, ended);
        return ended.map((one) => counted.has(one));
      } catch (error) {
        if (ended.length === 1 || isConnectionLost(error)) return ended.map(() => error as Error);
        return oneByOne(ended); // one that can't be written takes no other with it
      }
    },
  });

  const oneByOne = async (ended: readonly EndedAttempt[]): Promise<(boolean | Error)[]> => {
    const results: (boolean | Error)[] = [];
    for (const one of ended)
      results.push(
        await writeOutcomes({ db, clock }, [one]).then(
          ({ size }) => size > 0,
          (error: Error) => error,
        ),
      );
    return results;
  };

  /** Tried again as long as the delivery is leased: whoever has answered would hear of it a second time. */
  const write = async (ended: EndedAttempt): Promise<boolean> => {
    const until = ended.startedAt.getTime() + leaseMs;
    for (;;) {
      const [result] = await outcomes.add('', [ended]);
      if (typeof result === 'boolean') return result;
      if (stopping.signal.aborted || clock.now().getTime() + writeAgainMs > until) throw result;
      await sleep(writeAgainMs);
    }
  };

  const failures = createCoalescer<EndedAttempt, Date | undefined>({
    maxItems: maxSettledAtOnce,
    flush: async (_key, ended) => {
      const since = new Map(await noteFailures({ db }, ended));
      return ended.map(({ delivery: { endpointId } }) => {
        const failingSince = since.get(endpointId);
        since.delete(endpointId); // one of them is enough to act on it
        return failingSince;
      });
    },
  });

  const noteFailure = async (ended: EndedAttempt): Promise<void> => {
    const { accountId, endpointId } = ended.delivery;
    const [failingSince] = await failures.add('', [ended]);
    if (failingSince && isGivenUp({ failingSince, now: clock.now() }))
      await disableFailedEndpoint(deps, { accountId, endpointId, reason: 'FAILING' });
  };

  /** Endpoints that are disabled while much still waits for them, which would stand before everybody else's. */
  const emptying = new Map<string, Promise<void>>();
  const empty = ({ accountId, endpointId }: { accountId: string; endpointId: string }): Promise<void> => {
    const running =
      emptying.get(endpointId) ??
      failAllWaiting(deps, { accountId, endpointId })
        .catch((error: unknown) =>
          log.warn({ err: error, endpointId }, 'what waits for a disabled endpoint could not fail'),
        )
        .finally(() => emptying.delete(endpointId));
    emptying.set(endpointId, running);
    return running;
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
      await Promise.all([...underWay, ...emptying.values()]);
    },
  };
}
