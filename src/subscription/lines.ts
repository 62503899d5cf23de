import type { Plan } from '../catalog/plan.entity.js';
import { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import type { GivenBack } from '../domain/giveBack.js';
import { fullPeriod } from '../domain/lifecycle.js';
import { shortOfMinimum } from '../domain/minimumSpend.js';
import { majorUnits } from '../domain/money.js';
import type { Period } from '../domain/period.js';
import { type Fraction, isWhole, prorateMinor, shareOf } from '../domain/proration.js';
import { type ExplanationStep, maxChargeMinor } from '../domain/rating.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import type { PeriodFee } from './paidFee.js';

// The lines that a subscription puts on an invoice, each with how its amount came about. Pure.

/** What deciding needs to know of a plan version. */
export type Terms = Pick<
  Plan,
  | 'id'
  | 'code'
  | 'name'
  | 'priceMinor'
  | 'currency'
  | 'interval'
  | 'intervalCount'
  | 'trialDays'
  | 'anchor'
  | 'minimumSpendMinor'
>;

const one = new Decimal(1);

/** The recurring fee of a period in advance: whole, or for a first part of the calendar's period its share in days. */
export function feeLine({
  plan,
  quantity,
  period,
  timeZone,
}: {
  plan: Terms;
  quantity: number;
  period: Period;
  timeZone: string;
}): LineDraft {
  const { code: planCode, name: description, currency } = plan;
  const price = new Decimal(majorUnits({ minorUnits: plan.priceMinor, currency }));
  const fee = feeMinor(plan, quantity);
  const share = shareOf({ full: fullPeriod(plan, { period, timeZone }), part: period, timeZone, lastDay: 'unused' });
  const explanation: ExplanationStep[] = [
    {
      label: 'Recurring fee',
      expression: `${quantity} × ${price.toFixed()} ${currency}`,
      result: price.times(quantity).toFixed(),
    },
  ];
  const line = { kind: 'fee', planCode, description, period, explanation } as const;
  if (isWhole(share))
    return { ...line, quantity: new Decimal(quantity), unitAmount: price, amountMinor: fee, proration: false };
  const amountMinor = prorateMinor({ amountMinor: fee, fraction: share });
  explanation.push(shareStep({ plan, of: fee, share, amountMinor, label: "Rest of the calendar's period" }));
  return { ...line, quantity: new Decimal(quantity), unitAmount: null, amountMinor, proration: true };
}

/** What is charged at once for the rest of the period; none for nothing. */
export function chargeLines({
  plan,
  quantity,
  rest,
  unused,
}: {
  plan: Terms;
  quantity: number;
  rest: Period;
  unused: Fraction;
}): LineDraft[] {
  const fee = feeMinor(plan, quantity);
  const amountMinor = prorateMinor({ amountMinor: fee, fraction: unused });
  if (amountMinor === 0n) return [];
  const explanation = [
    wholeStep(plan, quantity),
    shareStep({ plan, of: fee, share: unused, amountMinor, label: 'Rest of the period' }),
  ];
  return [
    {
      kind: 'proration_charge',
      planCode: plan.code,
      description: `Remaining time on ${plan.name}`,
      period: rest,
      quantity: new Decimal(quantity),
      unitAmount: null,
      amountMinor,
      proration: true,
      explanation,
    },
  ];
}

/** What the unused time of a plan gives back, one line for each fee that it is taken from; see domain/giveBack. */
export function creditLines({
  plan,
  quantity,
  rest,
  unused,
  given,
}: {
  plan: Terms;
  quantity: number;
  rest: Period;
  unused: Fraction;
  given: readonly GivenBack<PeriodFee>[];
}): { fee: PeriodFee; line: LineDraft }[] {
  const { currency } = plan;
  const shown = (minorUnits: bigint): string => majorUnits({ minorUnits, currency });
  return given.map(({ fee, amountMinor, wantedMinor, net }, i) => {
    const of = feeMinor(plan, quantity);
    const explanation: ExplanationStep[] =
      i === 0
        ? [
            wholeStep(plan, quantity),
            shareStep({ plan, of, share: unused, net, amountMinor: wantedMinor, label: 'Unused time' }),
          ]
        : [
            {
              label: 'Unused time that is not credited above',
              expression: shown(wantedMinor),
              result: shown(wantedMinor),
            },
          ];
    if (amountMinor !== wantedMinor) {
      const billed = shown(amountMinor);
      const label = fee.status === 'PAID' ? 'At most what was paid for it' : 'At most what was billed for it';
      explanation.push({ label, expression: `min(${explanation.at(-1)!.result}, ${billed})`, result: billed });
    }
    const credit = shown(-amountMinor);
    explanation.push({ label: 'Credit', expression: `−${explanation.at(-1)!.result}`, result: credit });
    const line: LineDraft = {
      kind: 'proration_credit',
      planCode: plan.code,
      credits: { lineId: fee.lineId, taxRates: fee.taxRates },
      description: `Unused time on ${plan.name}`,
      period: rest,
      quantity: new Decimal(quantity),
      unitAmount: null,
      amountMinor: -amountMinor,
      proration: true,
      explanation,
    };
    return { fee, line };
  });
}

/** A period, as far as its plan's minimum spend is concerned. */
interface MinimumPeriod {
  plan: Terms;
  period: Period;
  /** When the period ended, if before its time. */
  cutAt: Date | undefined;
  timeZone: string;
}

/**
 * What a period's usage comes to at the least. A period that was cut short, and the first part of a calendar's, owe their share
 * in days of the plan's minimum spend; the day on which it was cut counts as used. Undefined: the plan has none.
 */
export function owedMinimum({ plan, period, cutAt, timeZone }: MinimumPeriod) {
  if (plan.minimumSpendMinor == null) return undefined;
  const cut = cutAt !== undefined && cutAt < period.end;
  const part = { start: period.start, end: cut ? cutAt : period.end };
  const full = fullPeriod(plan, { period, timeZone });
  const share = shareOf({ full, part, timeZone, lastDay: cut ? 'used' : 'unused' });
  return { part, share, owedMinor: prorateMinor({ amountMinor: plan.minimumSpendMinor, fraction: share }) };
}

/** What a period's usage charges fall short of that. */
export function minimumSpendLines({
  usage,
  waits = false,
  ...of
}: MinimumPeriod & {
  usage: readonly LineDraft[];
  /** Usage may still change: the line stands even at zero and carries the minimum as its unit price. */
  waits?: boolean | undefined;
}): LineDraft[] {
  const { minimumSpendMinor, currency, code: planCode } = of.plan;
  const owed = owedMinimum(of);
  if (minimumSpendMinor == null || !owed) return [];
  const { part, share, owedMinor } = owed;
  const spentMinor = usage.reduce((sum, line) => sum + line.amountMinor, 0n);
  const { amountMinor, steps } = shortOfMinimum({ owedMinor, spentMinor, currency });
  if (amountMinor === 0n && !waits) return [];

  const minimum = majorUnits({ minorUnits: minimumSpendMinor, currency });
  const explanation: ExplanationStep[] = [
    { label: 'Minimum spend of the whole period', expression: `${minimum} ${currency}`, result: minimum },
  ];
  if (!isWhole(share)) {
    explanation.push(
      shareStep({ plan: of.plan, of: minimumSpendMinor, share, amountMinor: owedMinor, label: 'Days of it' }),
    );
  }
  return [
    {
      kind: 'minimum_spend',
      planCode,
      description: 'Minimum spend',
      period: part,
      quantity: one,
      unitAmount: waits ? new Decimal(majorUnits({ minorUnits: owedMinor, currency })) : null,
      amountMinor,
      proration: !isWhole(share),
      explanation: [...explanation, ...steps],
    },
  ];
}

/** The fee of a whole period, in minor units: exact, as price and quantity are whole numbers. */
export const feeMinor = ({ priceMinor }: Pick<Terms, 'priceMinor'>, quantity: number): bigint =>
  priceMinor * BigInt(quantity);

const maxQuantity = 1_000_000;

/** INVALID for a quantity that isn't a whole number from 1 to 1,000,000, or whose fee no invoice could hold. */
export function checkQuantity(plan: Terms, quantity: number, ...field: string[]): void {
  if (!Number.isSafeInteger(quantity) || quantity < 1 || quantity > maxQuantity)
    throw invalid(`quantity is ${quantity}, expected a whole number from 1 to ${maxQuantity}`, ...field, 'quantity');
  if (feeMinor(plan, quantity) > maxChargeMinor) {
    const price = majorUnits({ minorUnits: plan.priceMinor, currency: plan.currency });
    throw invalid(`${quantity} × ${price} ${plan.currency} is more than an invoice can hold`, ...field, 'quantity');
  }
}

function wholeStep(plan: Terms, quantity: number): ExplanationStep {
  const [price, fee] = [plan.priceMinor, feeMinor(plan, quantity)].map((minorUnits) =>
    majorUnits({ minorUnits, currency: plan.currency }),
  ) as [string, string];
  const expression = quantity === 1 ? `${price} ${plan.currency}` : `${quantity} × ${price} ${plan.currency}`;
  return { label: 'Price of the whole period', expression, result: fee };
}

function shareStep({
  plan: { currency },
  of,
  share,
  net,
  amountMinor,
  label,
}: {
  plan: Terms;
  of: bigint;
  share: Fraction;
  net?: Fraction;
  amountMinor: bigint;
  label: string;
}): ExplanationStep {
  const discounted = net && !isWhole(net) ? ` × ${net.numerator} / ${net.denominator} paid after discounts` : '';
  return {
    label,
    expression: `${majorUnits({ minorUnits: of, currency })} × ${share.numerator} / ${share.denominator}${discounted}, rounded HALF_UP`,
    result: majorUnits({ minorUnits: amountMinor, currency }),
  };
}
