import { createHash } from 'node:crypto';
import { Decimal } from '../domain/decimal.js';
import type { ChargeModel, PriceTier } from '../domain/rating.js';
import type { CatalogPlan } from './catalogFile.js';
import type { Plan, PlanFeature } from './plan.entity.js';

/**
 * Equal for equal content. What came into the catalog after the first versions were published is left out where it says
 * nothing: a plan without it is the same plan still, and keeps its hash.
 */
export function planHash(plan: CatalogPlan): string {
  const { anchor, minimumSpendMinor, features, ...rest } = plan;
  return contentHash({
    ...rest,
    features: features.map(({ charge, ...feature }) => {
      const unitPrice = charge === null ? null : plainPrice(charge);
      return unitPrice === undefined ? { ...feature, charge } : { ...feature, unitPrice };
    }),
    ...(anchor === 'ANNIVERSARY' ? {} : { anchor }),
    ...(minimumSpendMinor === null ? {} : { minimumSpendMinor }),
  });
}

export const contentHash = (content: object): string =>
  createHash('sha256')
    .update(JSON.stringify(content, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)))
    .digest('hex');

/** The price of a charge that is nothing but a price per unit. */
const plainPrice = (charge: ChargeModel): string | undefined =>
  charge.model === 'unit' && charge.freeUnits === '0' && charge.minimum === '0' ? charge.unitPrice : undefined;

type Terms = Pick<
  Plan,
  'name' | 'priceMinor' | 'currency' | 'interval' | 'intervalCount' | 'trialDays' | 'anchor' | 'minimumSpendMinor'
>;
type Granted = Pick<PlanFeature, 'code' | 'limit' | 'overage' | 'charge'>;

/** What is said of a plan, by the name that the catalog file has for it. */
export function planTerms(plan: Terms, features: readonly Granted[]): Map<string, string> {
  return new Map([
    ['name', plan.name],
    ['price', `${plan.priceMinor}`],
    ['currency', plan.currency],
    ['interval', `${plan.intervalCount} ${plan.interval}`],
    ['trial_days', `${plan.trialDays}`],
    ['anchor', plan.anchor.toLowerCase()],
    ['minimum_spend', `${plan.minimumSpendMinor ?? 'none'}`],
    ...features.map(({ code, limit, overage, charge }): [string, string] => [
      `features.${code}`,
      `${limit == null ? 'unlimited' : new Decimal(limit).toFixed()} ${overage.toLowerCase()}${charge == null ? '' : describeCharge(charge)}`,
    ]),
  ]);
}

/** `price: 4900 → 5900`, one entry for each difference. */
export const differencesOf = (before: Map<string, string>, after: Map<string, string>): string[] =>
  [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key))
    .map((key) => `${key}: ${before.get(key) ?? 'none'} → ${after.get(key) ?? 'none'}`);

/** ` at 0.03` for a plain price per unit, `: graduated up to 5 at 10 + 100, beyond at 5`: how a charge reads in a diff. */
function describeCharge(charge: ChargeModel): string {
  const unitPrice = plainPrice(charge);
  if (unitPrice !== undefined) return ` at ${unitPrice}`;
  const extras = [
    ...(charge.freeUnits === '0' ? [] : [`${charge.freeUnits} free`]),
    ...(charge.minimum === '0' ? [] : [`at least ${charge.minimum}`]),
  ];
  return `: ${[describeModel(charge), ...extras].join(', ')}`;
}

function describeModel(charge: ChargeModel): string {
  switch (charge.model) {
    case 'unit':
      return `unit at ${charge.unitPrice}`;
    case 'flat':
      return `flat ${charge.amount}`;
    case 'graduated':
    case 'volume':
      return `${charge.model} ${charge.tiers.map(describeTier).join(', ')}`;
    case 'package':
      return `package ${charge.packagePrice} per ${charge.size}`;
    case 'percentage': {
      const fee = charge.fixedFee === '0' ? '' : ` + ${charge.fixedFee} per event after ${charge.freeEvents}`;
      return `percentage ${charge.percent} %${fee}`;
    }
  }
}

const describeTier = ({ upTo, unitPrice, flatFee }: PriceTier): string =>
  `${upTo === null ? 'beyond' : `up to ${upTo}`} at ${unitPrice}${flatFee === '0' ? '' : ` + ${flatFee}`}`;
