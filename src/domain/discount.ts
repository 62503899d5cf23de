import { Decimal } from './decimal.js';
import { roundMinor } from './money.js';
import { splitMinor } from './split.js';
import type { TaxTerms } from './tax.js';

export type LineKind = 'fee' | 'proration_credit' | 'proration_charge' | 'usage' | 'minimum_spend' | 'one_off';

/** What the waterfall needs of a line, in minor units. */
export interface BilledLine {
  readonly amountMinor: bigint;
  readonly kind: LineKind;
  readonly planCode?: string | null | undefined;
  readonly metricCode?: string | null | undefined;
  /** What another line of the invoice takes back of it: nobody needs a discount on that. */
  readonly takenBackMinor?: bigint;
  /** Of a credit: the rates at which what it gives back was taxed; undefined: today's. */
  readonly taxRates?: readonly TaxTerms[] | undefined;
}

/** What of a line coupons can discount. */
const discountableMinor = ({ amountMinor, takenBackMinor = 0n }: BilledLine): bigint => amountMinor - takenBackMinor;

/** An amount off or, with `amountMinor` null, a percentage. */
export interface DiscountTerms {
  readonly amountMinor: bigint | null;
  /** 25 for 25 %. */
  readonly percent: Decimal | null;
  readonly planCodes: readonly string[];
  readonly metricCodes: readonly string[];
}

/**
 * May this coupon discount this line? Credits are never discounted. A coupon without lists takes every other line, one-off
 * ones too; with either list only what is listed: by plan code its fees, prorated charges and minimum spend, by metric code
 * the usage. Of what is taken back whole there is nothing to discount, yet it was billed: its coupon is used up as if paid.
 */
export function isDiscountable(
  coupon: Pick<DiscountTerms, 'planCodes' | 'metricCodes'>,
  line: Pick<BilledLine, 'amountMinor' | 'kind' | 'planCode' | 'metricCode'>,
): boolean {
  if (line.amountMinor <= 0n) return false;
  if (coupon.planCodes.length + coupon.metricCodes.length === 0) return true;
  return line.kind === 'usage'
    ? line.metricCode != null && coupon.metricCodes.includes(line.metricCode)
    : line.planCode != null && coupon.planCodes.includes(line.planCode);
}

/**
 * What coupons take off the lines, one after the other on what is left. Each is worked out once over all its lines (a
 * percentage rounded HALF_UP, an amount at most what is left) and then split among them, so that the parts sum to it.
 */
export function discountLines(
  lines: readonly BilledLine[],
  coupons: readonly DiscountTerms[],
): { byLine: bigint[]; byCoupon: { amountMinor: bigint; isUsed: boolean }[] } {
  const byLine = lines.map(() => 0n);
  const byCoupon = coupons.map((coupon) => {
    const left = lines.map((line, i) => (isDiscountable(coupon, line) ? discountableMinor(line) - byLine[i]! : 0n));
    const leftMinor = left.reduce((sum, part) => sum + part, 0n);
    const isUsed = lines.some((line) => isDiscountable(coupon, line));
    if (leftMinor === 0n) return { amountMinor: 0n, isUsed };
    const wantedMinor = coupon.amountMinor ?? percentOf(leftMinor, coupon.percent ?? new Decimal(0));
    const amountMinor = wantedMinor < leftMinor ? wantedMinor : leftMinor;
    for (const [i, part] of splitMinor(amountMinor, left).entries()) byLine[i]! += part;
    return { amountMinor, isUsed };
  });
  return { byLine, byCoupon };
}

const percentOf = (amountMinor: bigint, percent: Decimal): bigint =>
  roundMinor(new Decimal(amountMinor.toString()).times(percent).div(100));
