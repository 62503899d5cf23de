import { Decimal, zero } from './decimal.js';
import { roundMinor } from './money.js';
import { splitMinor } from './split.js';

export interface TaxTerms {
  /** As on the invoice: `VAT`. */
  readonly name: string;
  /** 19 for 19 %. */
  readonly percent: Decimal;
  /** True: prices contain it; false: it comes on top. */
  readonly inclusive: boolean;
}

/** What one rate adds or, inclusive, is contained; `taxableMinor` is what it is reckoned on, without any tax. */
export interface TaxAmount extends TaxTerms {
  readonly taxableMinor: bigint;
  readonly amountMinor: bigint;
}

/**
 * Tax of an invoice whose lines, less their discounts, sum to `grossMinor`. Each rate is rounded HALF_UP once, over the exact
 * sum. Inclusive rates are contained in it: of a gross g with inclusive rates summing to R, rate r is g × r / (1 + R).
 * Exclusive rates apply to the exact net, g / (1 + R), and add to it. A sum below zero is taxed below zero: what is credited
 * takes its tax along. Exempt: no tax, and prices that would contain it stay as they are.
 */
export function taxInvoice(grossMinor: bigint, rates: readonly TaxTerms[], isExempt: boolean): TaxAmount[] {
  if (isExempt) return [];
  const gross = new Decimal(grossMinor.toString());
  const contained = rates.reduce((sum, { inclusive, percent }) => (inclusive ? sum.plus(percent) : sum), zero);
  const base = contained.plus(100); // percent of the net that the gross is
  const amounts = rates.map(({ percent }) => roundMinor(gross.times(percent).div(base)));
  capContained(amounts, { grossMinor, rates });
  const containedMinor = amounts.reduce((sum, amount, i) => (rates[i]!.inclusive ? sum + amount : sum), 0n);
  return rates.map((rate, i) => ({ ...rate, taxableMinor: grossMinor - containedMinor, amountMinor: amounts[i]! }));
}

/** Many inclusive rates, each rounded up, could come to more than the few cents that contain them: then they share those. */
function capContained(
  amounts: bigint[],
  { grossMinor, rates }: { grossMinor: bigint; rates: readonly TaxTerms[] },
): void {
  const size = (amount: bigint): bigint => (amount < 0n ? -amount : amount);
  const parts = amounts.map((amount, i) => (rates[i]!.inclusive ? size(amount) : 0n));
  const containedMinor = parts.reduce((sum, part) => sum + part, 0n);
  if (containedMinor <= size(grossMinor)) return;
  const sign = grossMinor < 0n ? -1n : 1n;
  for (const [i, part] of splitMinor(size(grossMinor), parts).entries()) {
    if (rates[i]!.inclusive) amounts[i] = part * sign;
  }
}
