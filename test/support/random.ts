/** Random numbers that one seed always repeats. */
export interface Random {
  /** From 0 up to, not with, 1. */
  next(): number;
  /** A whole number, both ends possible. */
  int(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(of: readonly T[]): T;
}

/** mulberry32: 32 bits of state are plenty for choosing what happens next. */
export function randomFrom(seed: number): Random {
  let state = (seed * 2_654_435_761) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return { next, int, chance: (probability) => next() < probability, pick: (of) => of[int(0, of.length - 1)]! };
}
