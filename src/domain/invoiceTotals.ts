import { type BilledLine, type DiscountTerms, discountLines } from './discount.js';
import { ratesKey, type TaxAmount, type TaxedPart, type TaxTerms, taxInvoice } from './tax.js';

export interface BillInput<Coupon extends DiscountTerms = DiscountTerms> {
  readonly lines: readonly BilledLine[];
  /** In the order in which they were taken. */
  readonly coupons: readonly Coupon[];
  readonly taxRates: readonly TaxTerms[];
  readonly taxExempt: boolean;
  /** What credit notes left for this invoice, and what is in the wallet; below zero counts as nothing. */
  readonly creditMinor: bigint;
  readonly walletMinor: bigint;
}

/** In minor units. Only `subtotalMinor` and the taxes can be below zero. */
export interface Bill<Coupon extends DiscountTerms = DiscountTerms> {
  /** The sum of the lines, whatever its sign. */
  subtotalMinor: bigint;
  /** For each line, in order: what coupons take off it. */
  lineDiscountsMinor: bigint[];
  /** For each coupon that may discount a line here, even when those before it left nothing. */
  discounts: { coupon: Coupon; amountMinor: bigint }[];
  discountMinor: bigint;
  taxes: TaxAmount[];
  /** All tax, on top and contained. */
  taxMinor: bigint;
  totalMinor: bigint;
  /** What lines and tax sum below zero: goes to the wallet, and the total is 0. */
  creditToWalletMinor: bigint;
  creditAppliedMinor: bigint;
  walletAppliedMinor: bigint;
  amountDueMinor: bigint;
}

/**
 * The waterfall: lines − coupons = subtotal after discount; + tax = total; − credit notes − wallet = what is left to collect.
 * With `t` the tax on top: `total − creditToWallet = subtotal − discount + t`.
 */
export function billInvoice<Coupon extends DiscountTerms>(input: BillInput<Coupon>): Bill<Coupon> {
  const subtotalMinor = sumOf(input.lines.map((line) => line.amountMinor));
  const { byLine, byCoupon } = discountLines(input.lines, input.coupons);
  const discountMinor = sumOf(byLine);
  const taxes = taxLines(input, byLine);
  const onTopMinor = sumOf(taxes.filter((tax) => !tax.inclusive).map((tax) => tax.amountMinor));
  const sumMinor = subtotalMinor - discountMinor + onTopMinor;
  const totalMinor = sumMinor > 0n ? sumMinor : 0n;
  const creditAppliedMinor = atMost(input.creditMinor, totalMinor);
  const walletAppliedMinor = atMost(input.walletMinor, totalMinor - creditAppliedMinor);
  return {
    subtotalMinor,
    lineDiscountsMinor: byLine,
    discounts: input.coupons.flatMap((coupon, i) =>
      byCoupon[i]!.isUsed ? [{ coupon, amountMinor: byCoupon[i]!.amountMinor }] : [],
    ),
    discountMinor,
    taxes,
    taxMinor: sumOf(taxes.map((tax) => tax.amountMinor)),
    totalMinor,
    creditToWalletMinor: totalMinor - sumMinor,
    creditAppliedMinor,
    walletAppliedMinor,
    amountDueMinor: totalMinor - creditAppliedMinor - walletAppliedMinor,
  };
}

/** What a line credits is taxed as it was when it was charged; all others at the rates of today, or not at all. */
function taxLines({ lines, taxRates, taxExempt }: BillInput, discounts: readonly bigint[]): TaxAmount[] {
  const today = taxExempt ? [] : taxRates;
  const parts = new Map<string, TaxedPart>();
  for (const [i, { amountMinor, taxRates: rates = today }] of lines.entries()) {
    const grossMinor = (parts.get(ratesKey(rates))?.grossMinor ?? 0n) + amountMinor - discounts[i]!;
    parts.set(ratesKey(rates), { grossMinor, rates });
  }
  const key = ratesKey(today);
  const charged = lines.length === 0 ? { grossMinor: 0n, rates: today } : parts.get(key);
  parts.delete(key);
  return taxInvoice({ charged, credited: [...parts.values()] });
}

const sumOf = (amounts: readonly bigint[]): bigint => amounts.reduce((sum, amount) => sum + amount, 0n);

const atMost = (availableMinor: bigint, neededMinor: bigint): bigint =>
  availableMinor <= 0n ? 0n : availableMinor < neededMinor ? availableMinor : neededMinor;
