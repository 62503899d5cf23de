const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** Pauses between the attempts to deliver a webhook, as Standard Webhooks recommends: ten attempts in 75.6 hours. */
export const webhookRetryAfterMs: readonly number[] = [
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
];

/** Spread of ±20 %, so that deliveries that failed together don't come back together. */
const jitter = 0.2;

/** The longest a receiver can put us off by Retry-After. */
const maxAskedMs = 24 * hour;

/** An endpoint that has only failed for so long is given up. */
const givenUpAfterMs = 5 * 24 * hour;

/** Has every attempt of five days failed? `failingSince` is when the first one did since the last success. */
export const isGivenUp = ({ failingSince, now }: { failingSince: Date; now: Date }): boolean =>
  now.getTime() - failingSince.getTime() >= givenUpAfterMs;

/**
 * Milliseconds from a failed attempt to the next: the schedule's pause, or what the receiver asked for where that is longer,
 * at most a day. `undefined` when the schedule is exhausted.
 */
export function nextAttemptMs(failed: {
  attempt: number;
  random: number;
  retryAfterSeconds: number | null;
}): number | undefined {
  const pauseMs = retryDelayMs(failed);
  const askedMs = Math.min((failed.retryAfterSeconds ?? 0) * second, maxAskedMs);
  return pauseMs === undefined ? undefined : Math.max(pauseMs, askedMs);
}

/**
 * Milliseconds to wait after `attempt` attempts (1 or more), `undefined` when the schedule is exhausted. `random` is
 * 0 to 1: 0 gives the shortest pause, 0.5 the schedule's own.
 */
export function retryDelayMs({ attempt, random }: { attempt: number; random: number }): number | undefined {
  const pauseMs = webhookRetryAfterMs[attempt - 1];
  return pauseMs === undefined ? undefined : Math.round(pauseMs * (1 - jitter + 2 * jitter * random));
}
