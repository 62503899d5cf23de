import { currencyExponent, type Money, majorUnits, money } from '../../domain/money.js';

/** Decimals of Stripe's amounts where they aren't 2 (docs.stripe.com/currencies#zero-decimal, #three-decimal). */
const otherExponents: ReadonlyMap<string, number> = new Map([
  ...'BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF'.split(' ').map((code) => [code, 0] as const),
  ...'BHD JOD KWD OMR TND'.split(' ').map((code) => [code, 3] as const),
]);

/**
 * Currencies without decimals that Stripe takes with two, always 00 (docs.stripe.com/currencies#special-cases). UGX stands
 * in both of Stripe's lists; the special case is the one about charges. HUF and TWD are special for payouts only.
 */
const writtenWithCents: ReadonlySet<string> = new Set(['ISK', 'UGX']);

/**
 * An amount as Stripe's API wants it, or why there is none. Three-decimal amounts must end in 0 there. They are refused and
 * not rounded, as Stripe advises: what a card pays must be what the ledger says.
 */
export function stripeAmount({ minorUnits, currency }: Money): { amount: number } | { refused: string } {
  const exponent = stripeExponent(currency);
  if (exponent === undefined) return { refused: `${currency} cannot be charged by card` };
  const shift = exponent - currencyExponent(currency);
  const scale = 10n ** BigInt(Math.abs(shift));
  const isWhole = shift >= 0 || minorUnits % scale === 0n;
  const amount = shift >= 0 ? minorUnits * scale : minorUnits / scale;
  const written = majorUnits({ minorUnits, currency });
  if (!isWhole) return { refused: `${written} ${currency} cannot be charged by card: expected a whole amount` };
  if (exponent === 3 && amount % 10n !== 0n) {
    return {
      refused: `${written} ${currency} cannot be charged by card: expected 0 as the last of its three decimals`,
    };
  }
  if (amount > BigInt(Number.MAX_SAFE_INTEGER)) return { refused: `${written} ${currency} is too much for a card` };
  return { amount: Number(amount) };
}

/** What Stripe says as `amount`, in minor units by ISO 4217. */
export function amountOfStripe(amount: number, code: string): Money {
  const currency = code.toUpperCase();
  const shift = (stripeExponent(currency) ?? 2) - currencyExponent(currency);
  const scale = 10n ** BigInt(Math.abs(shift));
  return money(shift >= 0 ? BigInt(amount) / scale : BigInt(amount) * scale, currency);
}

/** Undefined: a currency with other than two decimals that Stripe doesn't list, so that nobody knows the scale. */
function stripeExponent(currency: string): number | undefined {
  if (writtenWithCents.has(currency)) return 2;
  return otherExponents.get(currency) ?? (currencyExponent(currency) === 2 ? 2 : undefined);
}
