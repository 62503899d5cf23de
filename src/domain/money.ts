import { Decimal, parseDecimal } from './decimal.js';
import { invalid } from './errors.js';

/** An amount in minor units (cents) of one currency. */
export interface Money {
  readonly minorUnits: bigint;
  readonly currency: string;
}

export const money = (minorUnits: bigint, currency: string): Money => ({ minorUnits, currency });

const known: ReadonlySet<string> = new Set(Intl.supportedValuesOf('currency'));

/**
 * ISO 4217 minor units that aren't 2 (list one, six-iso.org). `Intl` can't be asked: ICU carries CLDR's digits, which say
 * how prices are usually written, and differ for 17 currencies such as HUF, IDR and IQD.
 */
const exponents: ReadonlyMap<string, number> = new Map([
  ...'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'.split(' ').map((code) => [code, 0] as const),
  ...'BHD IQD JOD KWD LYD OMR TND'.split(' ').map((code) => [code, 3] as const),
  ...'CLF UYW'.split(' ').map((code) => [code, 4] as const),
]);

/** Is this an ISO 4217 code, in capitals? */
export const isCurrency = (code: string): boolean => known.has(code);

/** Digits after the decimal point, from ISO 4217: USD 2, JPY 0, KWD 3. */
export const currencyExponent = (currency: string): number => exponents.get(currency) ?? 2;

/** Minor units to major units with exactly the currency's decimals: 4900 USD → "49.00", 1500 JPY → "1500". */
export function majorUnits({ minorUnits, currency }: Money): string {
  const exponent = currencyExponent(currency);
  return new Decimal(minorUnits.toString()).div(new Decimal(10).pow(exponent)).toFixed(exponent);
}

/** "19.99" USD → 1999n. Decimals beyond the currency's are an error unless they are zeros, never rounded away. */
export function parseMoney(amount: string, currency: string, ...field: string[]): Money {
  if (!isCurrency(currency))
    throw invalid(`'${currency.slice(0, 10)}' is not an ISO 4217 currency code`, ...field, 'currency');
  const exponent = currencyExponent(currency);
  const value = parseDecimal(amount);
  const minor = value?.times(new Decimal(10).pow(exponent));
  if (!minor?.isInteger() || minor.abs().greaterThan('9007199254740991')) {
    throw invalid(
      `'${amount.slice(0, 40)}' is not an amount of ${currency}: expected a decimal with at most ${exponent} digits after the point`,
      ...field,
      'amount',
    );
  }
  return money(BigInt(minor.toFixed(0)), currency);
}

/** Rounds an exact number of minor units HALF_UP (away from zero on a tie), once per invoice line. */
export const roundMinor = (exact: Decimal): bigint => BigInt(exact.toFixed(0, Decimal.ROUND_HALF_UP));
