import { daysBetween, type Period } from './period.js';

export type Proration = 'PER_DAY' | 'PER_SECOND' | 'NONE';

/** An exact share of a whole, not reduced; `0 <= numerator <= denominator`, `denominator > 0`. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const nothing: Fraction = { numerator: 0n, denominator: 1n };
export const whole: Fraction = { numerator: 1n, denominator: 1n };

export const isWhole = ({ numerator, denominator }: Fraction): boolean => numerator === denominator;

export const timesFraction = (a: Fraction, b: Fraction): Fraction => ({
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
});

const clamp = (value: number, max: number): number => Math.min(Math.max(value, 0), max);

/**
 * The share of a period that is still unused at `at`, of all of it before the start to none from the end on.
 *
 * PER_DAY counts whole days on the calendar of `timeZone` over the days of the full period. `changeDay` says whose the
 * day of the change is: `'unused'` leaves it to what comes next (a plan change), `'used'` counts it as used (a
 * cancellation). PER_SECOND takes the exact time and has no change day; a period within one local day has no days to
 * count and falls back to it. NONE never leaves anything.
 */
export function unusedFraction({
  period,
  at,
  timeZone,
  proration,
  changeDay,
}: {
  period: Period;
  at: Date;
  timeZone: string;
  proration: Proration;
  changeDay: 'unused' | 'used';
}): Fraction {
  if (proration === 'NONE') return nothing;

  const days = daysBetween({ from: period.start, to: period.end, timeZone });
  if (proration === 'PER_DAY' && days > 0) {
    const left = daysBetween({ from: at, to: period.end, timeZone }) - (changeDay === 'used' ? 1 : 0);
    return { numerator: BigInt(clamp(left, days)), denominator: BigInt(days) };
  }

  const lengthMs = period.end.getTime() - period.start.getTime();
  if (lengthMs <= 0) return nothing;
  const leftMs = clamp(period.end.getTime() - at.getTime(), lengthMs);
  return { numerator: BigInt(leftMs), denominator: BigInt(lengthMs) };
}

/** An amount for the whole of a period; below zero, what was given back of others. */
export interface Spread {
  readonly period: Period;
  readonly amountMinor: bigint;
}

/**
 * What is unused at `at` of these amounts together, each over its own period; never below zero. Rounded up: what was rounded
 * when it was charged takes no cent from what is given back.
 */
export function unusedMinor(
  parts: readonly Spread[],
  of: Omit<Parameters<typeof unusedFraction>[0], 'period'>,
): bigint {
  const { numerator, denominator } = parts.reduce((sum, { period, amountMinor }) => {
    const unused = unusedFraction({ period, ...of });
    return {
      numerator: sum.numerator * unused.denominator + amountMinor * unused.numerator * sum.denominator,
      denominator: sum.denominator * unused.denominator,
    };
  }, nothing);
  return numerator <= 0n ? 0n : (numerator + denominator - 1n) / denominator;
}

/** The share of an amount in minor units, rounded HALF_UP: a tie goes away from zero, for credits as for charges. */
export function prorateMinor({ amountMinor, fraction }: { amountMinor: bigint; fraction: Fraction }): bigint {
  const { numerator, denominator } = fraction;
  const exact = amountMinor * numerator;
  const size = exact < 0n ? -exact : exact;
  const rounded = (2n * size + denominator) / (2n * denominator);
  return exact < 0n ? -rounded : rounded;
}

/**
 * The share of `full` that a period cut out of it takes, in whole days as PER_DAY counts them: the day it starts belongs
 * to it. `lastDay` says whether the day it ends does: `'used'` when it was cut short on that day, `'unused'` when it runs
 * to a boundary or what comes next begins that day.
 */
export function shareOf({
  full,
  part,
  timeZone,
  lastDay,
}: {
  full: Period;
  part: Period;
  timeZone: string;
  lastDay: 'used' | 'unused';
}): Fraction {
  const left = (at: Date, changeDay: 'used' | 'unused') =>
    unusedFraction({ period: full, at, timeZone, proration: 'PER_DAY', changeDay });
  const fromStart = left(part.start, 'unused');
  const afterEnd = left(part.end, lastDay);
  const numerator = fromStart.numerator - afterEnd.numerator;
  return { numerator: numerator > 0n ? numerator : 0n, denominator: fromStart.denominator };
}
