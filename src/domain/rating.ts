import { Decimal, zero } from './decimal.js';
import { currencyExponent, majorUnits, money, roundMinor } from './money.js';
import { priceOf, step } from './pricing.js';

export type OveragePolicy = 'BLOCK' | 'CHARGE' | 'ALLOW';

/** One step of a tiered price. `upTo` is inclusive; the last tier has none. Prices in major units, as exact decimals. */
export interface PriceTier {
  readonly upTo: string | null;
  readonly unitPrice: string;
  /** Charged once when the tier is used; `0` for none. */
  readonly flatFee: string;
}

/**
 * How use is priced, as it stands in plans and windows (JSON). Prices in major units of the currency, all numbers exact
 * decimals as text. `freeUnits` come off the quantity before anything is priced; `minimum` is what a period costs at the least.
 */
export type ChargeModel = (
  | { readonly model: 'unit'; readonly unitPrice: string }
  | { readonly model: 'flat'; readonly amount: string }
  | { readonly model: 'graduated' | 'volume'; readonly tiers: readonly PriceTier[] }
  | { readonly model: 'package'; readonly size: string; readonly packagePrice: string }
  | { readonly model: 'percentage'; readonly percent: string; readonly fixedFee: string; readonly freeEvents: number }
) & { readonly freeUnits: string; readonly minimum: string };

/** One step of how an amount came about; `result` is an exact decimal. The last step's result is the amount. */
export interface ExplanationStep {
  label: string;
  expression: string;
  result: string;
}

/** What rating answers, whatever the charge model. */
export interface Rated {
  /** What is charged for, in the metric's unit. */
  quantity: Decimal;
  /** Set where the amount is the quantity at this price, in major units, and nothing else. */
  unitPrice: Decimal | null;
  amountMinor: bigint;
  /** From the events' total down to the amount. */
  explanation: ExplanationStep[];
}

/** In minor units. Exact as a number in every client, and a thousand of them on one invoice still fit into 8 bytes. */
export const maxChargeMinor = 9_000_000_000_000_000n;
/** Of any metric in one period: the columns hold 20 digits before the point, and their sums and products must fit too. */
export const maxQuantity = new Decimal('1e15');

/**
 * How much of a metric may be counted where it is charged so: at the dearest price of the model, all of it must stay an
 * amount that an invoice can hold. Fees beside that price (of tiers, of events, of the package that was only started) are
 * not in it; they are few, and `maxChargeMinor` still caps the whole.
 */
export function mostQuantity(charge: ChargeModel, currency: string): Decimal {
  const { price, per } = dearestPrice(charge);
  if (price.isZero()) return maxQuantity;
  const minorPrice = price.times(new Decimal(10).pow(currencyExponent(currency)));
  const most = new Decimal(maxChargeMinor.toString()).times(per).div(minorPrice);
  return Decimal.min(maxQuantity, most.toDecimalPlaces(12, Decimal.ROUND_DOWN));
}

/** Major units for each `per` units. Volume tiers may get cheaper, graduated ones dearer: no order is assumed. */
function dearestPrice(charge: ChargeModel): { price: Decimal; per: Decimal | number } {
  switch (charge.model) {
    case 'unit':
      return { price: new Decimal(charge.unitPrice), per: 1 };
    case 'flat':
      return { price: zero, per: 1 };
    case 'graduated':
    case 'volume':
      return { price: Decimal.max(...charge.tiers.map(({ unitPrice }) => unitPrice)), per: 1 };
    case 'package':
      return { price: new Decimal(charge.packagePrice), per: new Decimal(charge.size) };
    case 'percentage':
      return { price: new Decimal(charge.percent), per: 100 };
  }
}

/** The exact price is rounded HALF_UP to the currency once, here. */
function roundedTo(currency: string, exact: Decimal): { amountMinor: bigint; step: ExplanationStep } {
  const digits = currencyExponent(currency);
  const amountMinor = roundMinor(exact.times(new Decimal(10).pow(digits)));
  return {
    amountMinor,
    step: {
      label: 'Amount',
      expression: `round(${exact.toFixed()}, ${digits} decimals, HALF_UP) ${currency}`,
      result: majorUnits(money(amountMinor, currency)),
    },
  };
}

/**
 * Prices `quantity` by a charge model: free units come off first, then the model prices the rest, then the minimum lifts what
 * is below it, on no use at all too. `eventCount` is for the fixed fee of a percentage: free units make amounts free, not
 * events. Never more than `maxChargeMinor`: usage is refused before it comes so far, and only fees or a later, higher price
 * can take what was counted past it. Billing it must not fail for ever then.
 */
export function rateCharge({
  quantity,
  eventCount,
  charge,
  currency,
}: {
  quantity: Decimal;
  eventCount: number;
  charge: ChargeModel;
  currency: string;
}): Rated {
  const explanation: ExplanationStep[] = [];
  const freeUnits = new Decimal(charge.freeUnits);
  const charged = Decimal.max(quantity.minus(freeUnits), 0);
  if (freeUnits.greaterThan(0))
    explanation.push(step('Less free units', `max(${quantity.toFixed()} - ${freeUnits.toFixed()}, 0)`, charged));

  const priced = priceOf({ quantity: charged, eventCount, charge, currency });
  explanation.push(...priced.steps);

  const minimum = new Decimal(charge.minimum);
  const most = new Decimal(majorUnits(money(maxChargeMinor, currency)));
  const lifted = Decimal.max(priced.exact, minimum);
  if (lifted.greaterThan(priced.exact))
    explanation.push(step('At least', `max(${priced.exact.toFixed()}, ${minimum.toFixed()}) ${currency}`, lifted));
  const exact = Decimal.min(lifted, most);
  if (exact.lessThan(lifted))
    explanation.push(step('At most', `${most.toFixed()} ${currency} for one metric in one period`, most));

  const rounded = roundedTo(currency, exact);
  explanation.push(rounded.step);
  const byUnit = charge.model === 'unit' && exact.equals(priced.exact);
  return {
    quantity: charged,
    unitPrice: byUnit ? new Decimal(charge.unitPrice) : null,
    amountMinor: rounded.amountMinor,
    explanation,
  };
}

/**
 * What a window's use costs. Only overage CHARGE prices anything: what is over the limit or, without a limit, all of it, from
 * the first unit (pay per use). BLOCK let nothing through, and what a lowered limit left above it is not charged; ALLOW is
 * free. Events are counted for a period and not for its limit: once anything is over it, a fixed fee is for all of them.
 * Throws an `Error` when there is something to charge and no price: publishing such a plan is refused.
 */
export function rateUsage({
  used,
  eventCount,
  limit,
  overage,
  charge,
  currency,
}: {
  used: Decimal;
  eventCount: number;
  limit: Decimal | null;
  overage: OveragePolicy;
  charge: ChargeModel | null;
  currency: string;
}): Rated {
  const explanation = [step('Used in the period', used.toFixed(), used)];
  const over = limit === null ? used : Decimal.max(used.minus(limit), 0);
  if (limit !== null) {
    explanation.push(step('Included', limit.toFixed(), limit));
    explanation.push(step('Over the limit', `max(${used.toFixed()} - ${limit.toFixed()}, 0)`, over));
  } else if (overage === 'CHARGE') explanation.push(step('Paid from the first unit', over.toFixed(), over));
  else explanation.push(step('Over the limit', 'unlimited', zero));

  if (overage === 'CHARGE' && charge !== null) {
    const counts = limit === null || over.greaterThan(0);
    const rated = rateCharge({ quantity: over, eventCount: counts ? eventCount : 0, charge, currency });
    return { ...rated, explanation: [...explanation, ...rated.explanation] };
  }
  if (overage === 'CHARGE' && over.greaterThan(0)) throw new Error(`${over.toFixed()} to charge, but no charge model`);
  if (limit !== null && over.greaterThan(0))
    explanation.push(step('Charged', `overage ${overage} is not charged`, zero));
  const nothing = roundedTo(currency, zero);
  return {
    quantity: zero,
    unitPrice: null,
    amountMinor: nothing.amountMinor,
    explanation: [...explanation, nothing.step],
  };
}
