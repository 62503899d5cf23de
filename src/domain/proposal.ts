import { shortMinor } from './minimumSpend.js';
import { type Fraction, prorateMinor } from './proration.js';

/** A line of a final invoice, what coupons took off it, and what credit notes have already taken back of it. Minor units. */
export interface BilledLine {
  readonly id: string;
  readonly amountMinor: bigint;
  readonly discountMinor: bigint;
  readonly creditedMinor: bigint;
}

/** What a metric's use of the period cost before a correction and what it costs now; `line` is undefined where nothing was charged. */
export interface RepricedUse {
  readonly windowId: string;
  readonly previousMinor: bigint;
  readonly correctedMinor: bigint;
  readonly line: BilledLine | undefined;
}

/** What all use of the invoice comes to at the least. */
export interface BilledMinimum {
  readonly owedMinor: bigint;
  /** What topped the use up to it; undefined where nothing had to. */
  readonly line: BilledLine | undefined;
  /** A line that coupons discount alike: the plan's fee. */
  readonly kin: BilledLine | undefined;
}

export interface Booking {
  readonly windowId: string;
  readonly kind: 'CREDIT_NOTE' | 'EXTRA_LINE';
  readonly amountMinor: bigint;
  readonly line: BilledLine | undefined;
}

/**
 * What to book when use that one invoice billed for good comes to other prices: together the difference of its whole usage,
 * with what tops it up to the minimum. So less use below the minimum changes nothing, and of more use only what passes it counts.
 * Metrics that got cheaper come first, so that those that got dearer fill up what they leave.
 *
 * Cheaper: credit notes, less the coupons' share of what falls away and of what the minimum adds; of the metric's line at
 * most what is left of it, then of the minimum's. Dearer: one more line, whole, as coupons of the invoice it goes on take their
 * part there. In the order of `uses`, which are all of the invoice.
 */
export function proposeBookings({
  uses,
  minimum,
}: {
  uses: readonly RepricedUse[];
  minimum: BilledMinimum | undefined;
}): Booking[] {
  const left = new Map([...uses, minimum].flatMap((of) => (of?.line ? [[of.line.id, leftOf(of.line)]] : [])));
  const take = (line: BilledLine, wantedMinor: bigint): bigint => {
    const leftMinor = left.get(line.id) ?? 0n;
    const takenMinor = wantedMinor < leftMinor ? wantedMinor : leftMinor;
    left.set(line.id, leftMinor - takenMinor);
    return takenMinor;
  };
  let spentMinor = uses.reduce((sum, { previousMinor }) => sum + previousMinor, 0n);
  const toppedUpMinor = (): bigint => (minimum ? shortMinor({ ...minimum, spentMinor }) : 0n);

  const book = ({ windowId, line, ...use }: RepricedUse): Booking[] => {
    const differenceMinor = use.correctedMinor - use.previousMinor;
    const before = toppedUpMinor();
    spentMinor += differenceMinor;
    const liftMinor = toppedUpMinor() - before;
    if (differenceMinor > 0n) {
      const amountMinor = differenceMinor + liftMinor;
      return amountMinor > 0n ? [{ windowId, kind: 'EXTRA_LINE', amountMinor, line }] : [];
    }
    let cheaperMinor = netMinor([
      { amountMinor: -differenceMinor, line: line ?? minimum?.line ?? minimum?.kin },
      { amountMinor: -liftMinor, line: minimum?.line ?? minimum?.kin ?? line },
    ]);
    const bookings: Booking[] = [];
    for (const of of [line, minimum?.line]) {
      if (!of || cheaperMinor <= 0n) continue;
      const amountMinor = take(of, cheaperMinor);
      cheaperMinor -= amountMinor;
      if (amountMinor > 0n) bookings.push({ windowId, kind: 'CREDIT_NOTE', amountMinor, line: of });
    }
    return bookings;
  };

  const isDearer = (use: RepricedUse): boolean => use.correctedMinor > use.previousMinor;
  const cheaperFirst = [...uses.filter((use) => !isDearer(use)), ...uses.filter(isDearer)];
  const booked = new Map(cheaperFirst.map((use) => [use.windowId, book(use)]));
  return uses.flatMap(({ windowId }) => booked.get(windowId) ?? []);
}

const netOf = ({ amountMinor, discountMinor }: BilledLine): bigint => amountMinor - discountMinor;
const leftOf = (line: BilledLine): bigint => (line.amountMinor > 0n ? netOf(line) - line.creditedMinor : 0n);
const whole: Fraction = { numerator: 1n, denominator: 1n };

/** What is left of these amounts when coupons take of each what they took of its line; rounded once. */
function netMinor(parts: readonly { amountMinor: bigint; line: BilledLine | undefined }[]): bigint {
  const shares = parts.map(({ line }) =>
    line && line.amountMinor > 0n ? { numerator: netOf(line), denominator: line.amountMinor } : whole,
  );
  const denominator = shares.reduce((product, share) => product * share.denominator, 1n);
  const numerator = parts.reduce(
    (sum, { amountMinor }, i) => sum + (amountMinor * shares[i]!.numerator * denominator) / shares[i]!.denominator,
    0n,
  );
  return prorateMinor({ amountMinor: numerator, fraction: { numerator: 1n, denominator } });
}
