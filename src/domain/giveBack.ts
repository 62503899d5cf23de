import {
  type Fraction,
  prorateMinor,
  type Spread,
  timesFraction,
  type unusedFraction,
  unusedMinor,
  whole,
} from './proration.js';

/** A fee that was billed in advance for a period, and what has been given back of it. Minor units. */
export interface BilledFee {
  readonly period: Spread['period'];
  readonly amountMinor: bigint;
  /** What coupons took off it. Of a fee on a DRAFT that is decided later, from what is left of it then: it counts as none. */
  readonly discountMinor: bigint;
  /** By credit notes: spread over its whole period. */
  readonly notedMinor: bigint;
  /** By earlier credits, each for the rest of the period that it was given for. */
  readonly credited: readonly Spread[];
}

export interface GivenBack<Fee extends BilledFee> {
  readonly fee: Fee;
  readonly amountMinor: bigint;
  /** What it would be if enough had been billed. */
  readonly wantedMinor: bigint;
  /** What coupons left of the fee. */
  readonly net: Fraction;
}

/**
 * What the unused time of a plan gives back: `unused` of its fee, less what coupons had taken off, out of the fees that were
 * billed for the period, the newest first (as they come). Never more than is unused of what each came to, which is never
 * more than is left of it. What is unused of all together is rounded up once: what was rounded when it was charged takes no
 * cent from what is given back.
 */
export function giveBack<Fee extends BilledFee>(
  fees: readonly Fee[],
  {
    feeMinor,
    unused,
    of,
  }: { feeMinor: bigint; unused: Fraction; of: Omit<Parameters<typeof unusedFraction>[0], 'period'> },
): GivenBack<Fee>[] {
  const given: GivenBack<Fee>[] = [];
  const reached: Spread[] = [];
  let rest: Fraction = { numerator: feeMinor * unused.numerator, denominator: unused.denominator };
  for (const fee of fees) {
    const net = netShareOf(fee);
    const wantedMinor = prorateMinor({ amountMinor: 1n, fraction: timesFraction(rest, net) });
    if (isStillUnused(fee, of)) reached.push(...spreadOf(fee));
    const takenMinor = given.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
    const unusedOfAll = unusedMinor(reached, of) - takenMinor;
    const amountMinor = wantedMinor < unusedOfAll ? wantedMinor : unusedOfAll;
    if (amountMinor > 0n) given.push({ fee, amountMinor, wantedMinor, net });
    if (wantedMinor <= 0n || amountMinor >= wantedMinor) break;
    const taken = amountMinor > 0n ? amountMinor : 0n;
    rest = less(rest, { numerator: taken * net.denominator, denominator: net.numerator });
  }
  return given;
}

const netShareOf = ({ amountMinor, discountMinor }: BilledFee): Fraction =>
  discountMinor === 0n ? whole : { numerator: amountMinor - discountMinor, denominator: amountMinor };

const less = (a: Fraction, b: Fraction): Fraction => ({
  numerator: a.numerator * b.denominator - b.numerator * a.denominator,
  denominator: a.denominator * b.denominator,
});

const spreadOf = ({ period, amountMinor, discountMinor, notedMinor, credited }: BilledFee): Spread[] => [
  { period, amountMinor: amountMinor - discountMinor - notedMinor },
  ...credited.map((credit) => ({ ...credit, amountMinor: -credit.amountMinor })),
];

/** One of which more was given back than is unused (a note took the used part) takes nothing from the others. */
const isStillUnused = (fee: BilledFee, of: Parameters<typeof giveBack>[1]['of']): boolean =>
  unusedMinor(spreadOf(fee), of) > 0n;
