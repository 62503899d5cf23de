/** What a listener does on purpose to a delivery that it could have taken. */
export interface Misbehaviour {
  /** Milliseconds before anything else. */
  readonly delayMs: number;
  /** Closes the connection, without an answer, on this share of deliveries (0 to 1). */
  readonly drop: number;
  /** Answers `status` to this share of the others. */
  readonly fail: number;
  /** Answers `status` to the first so many attempts of each delivery, whatever `fail` is. */
  readonly failFirst: number;
  readonly status: number;
  /** Seconds, sent with `status`. */
  readonly retryAfter: number | undefined;
}

export const behaved: Misbehaviour = {
  delayMs: 0,
  drop: 0,
  fail: 0,
  failFirst: 0,
  status: 500,
  retryAfter: undefined,
};

export type Fate =
  | { readonly kind: 'take' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'fail'; readonly status: number };

/** What becomes of the n-th attempt (1 is the first) of a delivery. `random` is from 0 up to 1. */
export function fateOf(
  { drop, fail, failFirst, status }: Misbehaviour,
  { attempt, random }: { attempt: number; random: number },
): Fate {
  if (random < drop) return { kind: 'drop' };
  // What is left of the line from 0 to 1 is shared anew, so that both shares hold together.
  const rest = drop < 1 ? (random - drop) / (1 - drop) : 0;
  return attempt <= failFirst || rest < fail ? { kind: 'fail', status } : { kind: 'take' };
}
