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

/**
 * Milliseconds to wait after `attempt` attempts (1 or more), `undefined` when the schedule is exhausted. `random` is
 * 0 to 1: 0 gives the shortest pause, 0.5 the schedule's own.
 */
export function retryDelayMs({ attempt, random }: { attempt: number; random: number }): number | undefined {
  const pauseMs = webhookRetryAfterMs[attempt - 1];
  return pauseMs === undefined ? undefined : Math.round(pauseMs * (1 - jitter + 2 * jitter * random));
}
