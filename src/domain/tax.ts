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

interface TaxedMinor {
  readonly taxableMinor: bigint;
  readonly amountMinor: bigint;
}

/** What one rate adds or, inclusive, is contained; `taxableMinor` is what it is reckoned on, without any tax. */
export interface TaxAmount extends TaxTerms, TaxedMinor {
  /**
   * Where an invoice credits what was taxed at other rates: this much is on what it charges itself, null for a rate that it
   * does not charge. Absent: all of it.
   */
  readonly charged?: TaxedMinor | null;
}

/** Lines, less their discounts, that are taxed at the same rates; none: no tax, and prices that would contain it stay. */
export interface TaxedPart {
  readonly grossMinor: bigint;
  readonly rates: readonly TaxTerms[];
}

/** The same rates in the same order: amounts at them can be added before they are taxed. */
export const ratesKey = (rates: readonly TaxTerms[]): string =>
  JSON.stringify(rates.map(({ name, percent, inclusive }) => [name, percent.toFixed(), inclusive]));

/**
 * Tax of an invoice: of what it charges at its own rates (`charged`), and of what it credits at those of earlier invoices. Each
 * rate is rounded HALF_UP once, over the exact sum of all that it applies to. Inclusive rates are contained in it: of a gross g
 * with inclusive rates summing to R, rate r is g × r / (1 + R). Exclusive rates apply to the exact net, g / (1 + R), and add to
 * it. A sum below zero is taxed below zero: what is credited takes its tax along.
 */
export function taxInvoice({
  charged,
  credited = [],
}: {
  /** Undefined: it charges nothing. */
  charged: TaxedPart | undefined;
  /** Each with other rates. */
  credited?: readonly TaxedPart[];
}): TaxAmount[] {
  const parts = [...(charged ? [charged] : []), ...credited].map(withKeys);
  const rates = new Map(parts.flatMap(({ keys, rates: own }) => own.map((rate, i) => [keys[i]!, rate] as const)));
  for (const [key, rate] of rates) shareOut(key, rate, parts);
  for (const part of parts) capContained(part);
  const taxed = parts.map((part) => {
    const contained = [...part.amounts].filter(([key]) => rates.get(key)!.inclusive);
    return { part, taxableMinor: part.grossMinor - contained.reduce((sum, [, amount]) => sum + amount, 0n) };
  });
  return [...rates].map(([key, rate]) => {
    const of = taxed.flatMap(({ part, taxableMinor }) =>
      part.amounts.has(key) ? [{ part, taxableMinor, amountMinor: part.amounts.get(key)! }] : [],
    );
    const own = charged && of.find(({ part }) => part === parts[0]);
    return {
      ...rate,
      taxableMinor: of.reduce((sum, { taxableMinor }) => sum + taxableMinor, 0n),
      amountMinor: of.reduce((sum, { amountMinor }) => sum + amountMinor, 0n),
      ...(credited.length === 0
        ? {}
        : { charged: own ? { taxableMinor: own.taxableMinor, amountMinor: own.amountMinor } : null }),
    };
  });
}

interface KeyedPart extends TaxedPart {
  /** Of each rate; a part that lists the same rate twice is taxed twice. */
  readonly keys: readonly string[];
  /** Percent of the net that the gross is. */
  readonly base: Decimal;
  readonly amounts: Map<string, bigint>;
}

function withKeys(part: TaxedPart): KeyedPart {
  const alone = part.rates.map((rate) => ratesKey([rate]));
  const keys = alone.map((key, i) => `${alone.slice(0, i).filter((other) => other === key).length} ${key}`);
  const contained = part.rates.reduce((sum, { inclusive, percent }) => (inclusive ? sum.plus(percent) : sum), zero);
  return { ...part, keys, base: contained.plus(100), amounts: new Map() };
}

/** Rounds one rate over all parts that it applies to; the last of them gets what the others leave of it. */
function shareOut(key: string, { percent }: TaxTerms, parts: readonly KeyedPart[]): void {
  const holders = parts.filter(({ keys }) => keys.includes(key));
  const exact = holders.map(({ grossMinor, base }) => new Decimal(grossMinor.toString()).times(percent).div(base));
  let leftMinor = roundMinor(exact.reduce((sum, share) => sum.plus(share), zero));
  for (const [i, { amounts }] of holders.entries()) {
    const amountMinor = i === holders.length - 1 ? leftMinor : roundMinor(exact[i]!);
    amounts.set(key, amountMinor);
    leftMinor -= amountMinor;
  }
}

/** Many inclusive rates, each rounded up, could come to more than the few cents that contain them: then they share those. */
function capContained({ grossMinor, rates, keys, amounts }: KeyedPart): void {
  const size = (amount: bigint): bigint => (amount < 0n ? -amount : amount);
  const parts = keys.map((key, i) => (rates[i]!.inclusive ? size(amounts.get(key)!) : 0n));
  const containedMinor = parts.reduce((sum, part) => sum + part, 0n);
  if (containedMinor <= size(grossMinor)) return;
  const sign = grossMinor < 0n ? -1n : 1n;
  for (const [i, part] of splitMinor(size(grossMinor), parts).entries()) {
    if (rates[i]!.inclusive) amounts.set(keys[i]!, part * sign);
  }
}
