import { Decimal, zero } from './decimal.js';
import type { ChargeModel, ExplanationStep, PriceTier } from './rating.js';

/** An exact price in major units, with the steps that led to it. */
interface Priced {
  exact: Decimal;
  steps: ExplanationStep[];
}

export const step = (label: string, expression: string, result: Decimal): ExplanationStep => ({
  label,
  expression,
  result: result.toFixed(),
});

const free: Priced = { exact: zero, steps: [] };

/**
 * What `quantity` costs by the model alone; free units and the minimum are the caller's. Nothing used costs nothing, flat
 * amounts and fees of tiers included. Only a percentage has a price without a quantity: its fixed fee is for the events.
 */
export function priceOf({
  quantity,
  eventCount,
  charge,
  currency,
}: {
  quantity: Decimal;
  eventCount: number;
  charge: ChargeModel;
  currency: string;
}): Priced {
  if (charge.model === 'percentage') return percentage(quantity, eventCount, charge, currency);
  if (quantity.isZero()) return free;
  switch (charge.model) {
    case 'unit':
      return one(times('Times unit price', quantity, charge.unitPrice, currency));
    case 'flat': {
      const amount = new Decimal(charge.amount);
      return one(step('Flat amount', `${amount.toFixed()} ${currency}`, amount));
    }
    case 'graduated':
      return graduated(quantity, charge.tiers, currency);
    case 'volume':
      return volume(quantity, charge.tiers, currency);
    case 'package':
      return packages(quantity, charge, currency);
  }
}

const one = (only: ExplanationStep): Priced => ({ exact: new Decimal(only.result), steps: [only] });

function times(label: string, quantity: Decimal, price: string, currency: string): ExplanationStep {
  const exact = new Decimal(price);
  return step(label, `${quantity.toFixed()} × ${exact.toFixed()} ${currency}`, quantity.times(exact));
}

/** The sum of prices, each with its own step; a single one needs no sum. */
function together(steps: ExplanationStep[], currency: string): Priced {
  if (steps.length === 0) return free;
  if (steps.length === 1) return one(steps[0]!);
  const exact = steps.reduce((sum, { result }) => sum.plus(result), zero);
  const terms = steps.map(({ result }) => result).join(' + ');
  return { exact, steps: [...steps, step('Together', `${terms} ${currency}`, exact)] };
}

/**
 * Each tier prices the units that fall in it. A tier reaches from the bound of the one before, itself not in it, to its own:
 * so 5.5 units of tiers "up to 5" and "over 5" are 5 of the first and a half of the second, and no part falls between two.
 */
function graduated(quantity: Decimal, tiers: readonly PriceTier[], currency: string): Priced {
  const steps: ExplanationStep[] = [];
  let from = zero;
  for (const tier of tiers) {
    if (quantity.lessThanOrEqualTo(from)) break;
    const until = tier.upTo === null ? quantity : Decimal.min(quantity, tier.upTo);
    steps.push(tierPrice({ units: until.minus(from), from, tier, currency }));
    from = until;
  }
  return together(steps, currency);
}

/** The tier that the quantity reaches prices all of it. */
function volume(quantity: Decimal, tiers: readonly PriceTier[], currency: string): Priced {
  const reached = tiers.findIndex(({ upTo }) => upTo === null || quantity.lessThanOrEqualTo(upTo));
  const from = new Decimal(tiers[reached - 1]?.upTo ?? 0);
  return one(tierPrice({ units: quantity, from, tier: tiers[reached]!, currency }));
}

function tierPrice({
  units,
  from,
  tier,
  currency,
}: {
  units: Decimal;
  from: Decimal;
  tier: PriceTier;
  currency: string;
}): ExplanationStep {
  const fee = new Decimal(tier.flatFee);
  const bounds = [
    ...(from.isZero() ? [] : [`over ${from.toFixed()}`]),
    ...(tier.upTo === null ? [] : [`up to ${new Decimal(tier.upTo).toFixed()}`]),
  ];
  const label = bounds.length === 0 ? 'Tier of all units' : `Tier ${bounds.join(', ')}`;
  const { expression, result } = times(label, units, tier.unitPrice, currency);
  const flat = fee.isZero() ? '' : ` + ${fee.toFixed()} ${currency}`;
  return step(label, `${expression}${flat}`, fee.plus(result));
}

/** A started package costs a whole one. */
function packages(quantity: Decimal, charge: ChargeModel & { model: 'package' }, currency: string): Priced {
  const size = new Decimal(charge.size);
  // At most 32 digits each: however the quotient is rounded to 80, it can't reach or leave a whole number by that.
  const started = quantity.div(size).ceil();
  const price = times('Times package price', started, charge.packagePrice, currency);
  const count = step('Packages started', `ceil(${quantity.toFixed()} / ${size.toFixed()})`, started);
  return { exact: new Decimal(price.result), steps: [count, price] };
}

/** The quantity is itself an amount in major units. */
function percentage(
  quantity: Decimal,
  eventCount: number,
  charge: ChargeModel & { model: 'percentage' },
  currency: string,
): Priced {
  const steps: ExplanationStep[] = [];
  if (quantity.greaterThan(0)) {
    const percent = new Decimal(charge.percent);
    const expression = `${quantity.toFixed()} ${currency} × ${percent.toFixed()} %`;
    steps.push(step('Percentage', expression, quantity.times(percent).div(100)));
  }
  const fee = new Decimal(charge.fixedFee);
  const paidEvents = Math.max(eventCount - charge.freeEvents, 0);
  if (paidEvents > 0 && fee.greaterThan(0)) {
    const events = charge.freeEvents === 0 ? `${eventCount}` : `(${eventCount} - ${charge.freeEvents})`;
    steps.push(step('Fee for each event', `${events} × ${fee.toFixed()} ${currency}`, fee.times(paidEvents)));
  }
  return together(steps, currency);
}
