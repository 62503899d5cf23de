import type { Plan } from '../catalog/plan.entity.js';
import { Decimal } from '../domain/decimal.js';
import { majorUnits } from '../domain/money.js';
import { type Period, periodAfter, periodAt } from '../domain/period.js';
import { type Fraction, type Proration, prorateMinor, unusedFraction } from '../domain/proration.js';
import type { LineDraft } from '../invoice/issueInvoice.js';

// What a change of a subscription costs. Pure: the change and its preview both ask here.

type Terms = Pick<
  Plan,
  'id' | 'code' | 'name' | 'priceMinor' | 'currency' | 'interval' | 'intervalCount' | 'trialDays'
>;

export interface SubscribeDecision {
  period: Period;
  /** A trial has no first invoice: nothing is owed until it ends. */
  trial: boolean;
  lines: LineDraft[];
}

/** The first period and what it costs. During a trial the period is the trial's. */
export function decideSubscribe({
  plan,
  at,
  timeZone,
}: {
  plan: Terms;
  at: Date;
  timeZone: string;
}): SubscribeDecision {
  if (plan.trialDays > 0) {
    const end = Temporal.Instant.fromEpochMilliseconds(at.getTime())
      .toZonedDateTimeISO(timeZone)
      .add({ days: plan.trialDays });
    return { period: { start: at, end: new Date(end.epochMilliseconds) }, trial: true, lines: [] };
  }
  const period = periodAt({ interval: plan.interval, intervalCount: plan.intervalCount, anchor: at, timeZone }, at);
  return { period, trial: false, lines: [feeLine(plan, period)] };
}

/** The recurring fee of one whole period, in advance. */
export function feeLine(plan: Terms, period: Period): LineDraft {
  const price = new Decimal(majorUnits({ minorUnits: plan.priceMinor, currency: plan.currency }));
  return {
    kind: 'fee',
    planCode: plan.code,
    description: plan.name,
    period,
    quantity: new Decimal(1),
    unitAmount: price,
    amountMinor: plan.priceMinor,
    proration: false,
    explanation: [
      { label: 'Recurring fee', expression: `1 × ${price.toFixed()} ${plan.currency}`, result: price.toFixed() },
    ],
  };
}

export interface ChangeInput {
  from: Terms;
  to: Terms;
  period: Period;
  /** Trialing: there is no fee to credit and none to charge until the trial ends. */
  trialing: boolean;
  at: Date;
  timeZone: string;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  proration: Proration;
  /** Fees paid for the current period, net of credits: no more is ever credited. Minor units. */
  paidMinor: bigint;
}

export type ChangeDecision = { effective: 'period_end' } | { effective: 'now'; period: Period; lines: LineDraft[] };

/**
 * AUTO: a higher price per day at once, anything else at the period's end. At once: credit for the unused time of the old
 * plan, charge for the rest of the period on the new one. Another interval starts a new period on the change day.
 */
export function decideChange(input: ChangeInput): ChangeDecision {
  const { from, to, period, at, timeZone } = input;
  const now =
    input.timing === 'IMMEDIATE' || (input.timing === 'AUTO' && pricePerDay(to).greaterThan(pricePerDay(from)));
  if (!now) return { effective: 'period_end' };
  if (input.trialing) return { effective: 'now', period, lines: [] };

  const newInterval = from.interval !== to.interval || from.intervalCount !== to.intervalCount;
  const proration = newInterval && input.proration === 'NONE' ? 'PER_DAY' : input.proration;
  const unused = unusedFraction({ period, at, timeZone, proration, changeDay: 'unused' });
  const rest: Period = { start: at, end: period.end };
  const credit = creditLine({ plan: from, period, rest, unused, timeZone, paidMinor: input.paidMinor });
  if (newInterval) {
    const next = periodAt({ interval: to.interval, intervalCount: to.intervalCount, anchor: at, timeZone }, at);
    return { effective: 'now', period: next, lines: [...credit, feeLine(to, next)] };
  }
  const amountMinor = prorateMinor({ amountMinor: to.priceMinor, fraction: unused });
  const charge: LineDraft = {
    kind: 'proration_charge',
    planCode: to.code,
    description: `Remaining time on ${to.name}`,
    period: rest,
    quantity: new Decimal(1),
    unitAmount: null,
    amountMinor,
    proration: true,
    explanation: prorationSteps({ plan: to, unused, amountMinor, label: 'Rest of the period' }),
  };
  return { effective: 'now', period: rest, lines: amountMinor === 0n ? credit : [...credit, charge] };
}

/** Cancelling at once: credit for the unused days; the day of cancellation counts as used. */
export function decideCancel(input: {
  plan: Terms;
  period: Period;
  trialing: boolean;
  at: Date;
  timeZone: string;
  paidMinor: bigint;
}): LineDraft[] {
  if (input.trialing) return [];
  const { plan, period, at, timeZone, paidMinor } = input;
  const unused = unusedFraction({ period, at, timeZone, proration: 'PER_DAY', changeDay: 'used' });
  return creditLine({ plan, period, rest: { start: at, end: period.end }, unused, timeZone, paidMinor });
}

/** Price per day in minor units, over the average length of the interval: only for telling up from down. */
function pricePerDay({ priceMinor, interval, intervalCount }: Terms): Decimal {
  const days = { DAY: new Decimal(1), WEEK: new Decimal(7), MONTH: new Decimal(365).div(12), YEAR: new Decimal(365) }[
    interval
  ];
  return new Decimal(priceMinor.toString()).div(days.times(intervalCount));
}

function creditLine(of: {
  plan: Terms;
  period: Period;
  rest: Period;
  unused: Fraction;
  timeZone: string;
  paidMinor: bigint;
}): LineDraft[] {
  const { plan, rest, unused, paidMinor } = of;
  const full = prorateMinor({ amountMinor: plan.priceMinor, fraction: unused });
  const capped = full > paidMinor ? (paidMinor > 0n ? paidMinor : 0n) : full;
  if (capped === 0n) return [];
  const steps = prorationSteps({ plan, unused, amountMinor: full, label: 'Unused time' });
  if (capped !== full) {
    const paid = majorUnits({ minorUnits: capped, currency: plan.currency });
    steps.push({ label: 'At most what was paid', expression: `min(${steps.at(-1)!.result}, ${paid})`, result: paid });
  }
  const credit = majorUnits({ minorUnits: -capped, currency: plan.currency });
  steps.push({ label: 'Credit', expression: `−${steps.at(-1)!.result}`, result: credit });
  return [
    {
      kind: 'proration_credit',
      planCode: plan.code,
      description: `Unused time on ${plan.name}`,
      period: rest,
      quantity: new Decimal(1),
      unitAmount: null,
      amountMinor: -capped,
      proration: true,
      explanation: steps,
    },
  ];
}

function prorationSteps({
  plan,
  unused,
  amountMinor,
  label,
}: {
  plan: Terms;
  unused: Fraction;
  amountMinor: bigint;
  label: string;
}) {
  const price = majorUnits({ minorUnits: plan.priceMinor, currency: plan.currency });
  return [
    { label: 'Price of the whole period', expression: `${price} ${plan.currency}`, result: price },
    {
      label,
      expression: `${price} × ${unused.numerator} / ${unused.denominator}, rounded HALF_UP`,
      result: majorUnits({ minorUnits: amountMinor, currency: plan.currency }),
    },
  ];
}

/** The period after this one, for a subscription with this anchor. */
export const nextPeriod = ({
  plan,
  anchor,
  period,
  timeZone,
}: {
  plan: Terms;
  anchor: Date;
  period: Period;
  timeZone: string;
}): Period => periodAfter({ interval: plan.interval, intervalCount: plan.intervalCount, anchor, timeZone }, period);
