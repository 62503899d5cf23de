import { Decimal, zero } from './decimal.js';
import { currencyExponent, majorUnits, money, roundMinor } from './money.js';

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
  amountMinor: bigint;
  /** From the events' total down to the amount. */
  explanation: ExplanationStep[];
}

const step = (label: string, expression: string, result: Decimal): ExplanationStep => ({
  label,
  expression,
  result: result.toFixed(),
});

/** In minor units. Exact as a number in every client, and a thousand of them on one invoice still fit into 8 bytes. */
export const maxChargeMinor = 9_000_000_000_000_000n;

/** The exact product is rounded HALF_UP to the currency once, here. */
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
 * Prices what was used beyond the limit, at `unitPrice` in major units of the currency per unit of the metric. Only
 * overage CHARGE prices anything: BLOCK let nothing through, and what a lowered limit left above it is not charged;
 * ALLOW is free. Without a limit nothing is over it; a metric paid from the first unit has the limit 0.
 * Never more than `maxChargeMinor`: usage is refused before it comes so far, and only a later, higher price can take what
 * was counted past it. Billing it must not fail for ever then.
 * Throws an `Error` when there is something to charge and no price: publishing such a plan is refused.
 */
export function rateOverage({
  used,
  limit,
  overage,
  unitPrice,
  currency,
}: {
  used: Decimal;
  limit: Decimal | null;
  overage: OveragePolicy;
  unitPrice: Decimal | null;
  currency: string;
}): Rated {
  const explanation = [step('Used in the period', used.toFixed(), used)];
  let quantity = zero;
  let exact = zero;

  if (limit === null) {
    explanation.push(step('Over the limit', 'unlimited', zero));
  } else {
    const over = Decimal.max(used.minus(limit), 0);
    explanation.push(step('Included', limit.toFixed(), limit));
    explanation.push(step('Over the limit', `max(${used.toFixed()} - ${limit.toFixed()}, 0)`, over));
    if (overage === 'CHARGE') quantity = over;
    else if (over.greaterThan(0)) explanation.push(step('Charged', `overage ${overage} is not charged`, zero));
  }

  if (quantity.greaterThan(0)) {
    if (unitPrice === null) throw new Error(`${quantity.toFixed()} over the limit to charge, but no unit price`);
    exact = quantity.times(unitPrice);
    explanation.push(step('Times unit price', `${quantity.toFixed()} × ${unitPrice.toFixed()} ${currency}`, exact));
  }

  const most = new Decimal(majorUnits(money(maxChargeMinor, currency)));
  if (exact.greaterThan(most)) {
    exact = most;
    explanation.push(step('At most', `${most.toFixed()} ${currency} for one metric in one period`, most));
  }
  const rounded = roundedTo(currency, exact);
  explanation.push(rounded.step);
  return { quantity, amountMinor: rounded.amountMinor, explanation };
}
