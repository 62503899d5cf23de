import { Decimal } from '../domain/decimal.js';
import { giveBack } from '../domain/giveBack.js';
import { afterStep, firstPeriod, fullPeriod, type Lifecycle, type Step, sameRhythm } from '../domain/lifecycle.js';
import type { Period } from '../domain/period.js';
import { type Proration, unusedFraction } from '../domain/proration.js';
import type { InvoiceMinimum } from '../invoice/invoice.entity.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { chargeLines, creditLines, feeLine, feeMinor, minimumSpendLines, owedMinimum, type Terms } from './lines.js';
import type { PaidFee } from './paidFee.js';
import { dividedCredits, type TakeBack } from './takeBack.js';

// What a change of a subscription costs. Pure: the change and its preview both ask here.

export interface SubscribeDecision {
  period: Period;
  /** A trial has no first invoice: nothing is owed until it ends. */
  trial: boolean;
  lines: LineDraft[];
}

/** The first period and what it costs. During a trial the period is the trial's. */
export function decideSubscribe({
  plan,
  quantity,
  at,
  timeZone,
}: {
  plan: Terms;
  quantity: number;
  at: Date;
  timeZone: string;
}): SubscribeDecision {
  if (plan.trialDays > 0) {
    const end = Temporal.Instant.fromEpochMilliseconds(at.getTime())
      .toZonedDateTimeISO(timeZone)
      .add({ days: plan.trialDays });
    return { period: { start: at, end: new Date(end.epochMilliseconds) }, trial: true, lines: [] };
  }
  const period = firstPeriod(plan, { at, timeZone });
  return { period, trial: false, lines: [feeLine({ plan, quantity, period, timeZone })] };
}

/** Plan and quantity: what the fee is made of. */
export interface Ordered {
  plan: Terms;
  quantity: number;
}

export interface ChangeInput {
  from: Ordered;
  to: Ordered;
  period: Period;
  /** Trialing: there is no fee to credit and none to charge until the trial ends. */
  trialing: boolean;
  at: Date;
  timeZone: string;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  proration: Proration;
  paid: PaidFee;
}

export type ChangeDecision =
  | { effective: 'period_end' }
  | {
      effective: 'now';
      /** A new one from the change on, if that restarts the count of periods; else the rest of the current one. */
      period: Period;
      restarts: boolean;
      lines: LineDraft[];
      takesBack: TakeBack[];
    };

/**
 * AUTO: a higher fee per day at once, anything else at the period's end. At once: credit for the unused time of the old
 * plan, charge for the rest of the period on the new one. Another interval or anchor starts a new period on the change day,
 * and its fee is due in advance whatever the proration; NONE then gives nothing back of the old one, as Stripe does.
 */
export function decideChange(input: ChangeInput): ChangeDecision {
  const { from, to, period, at, timeZone } = input;
  const now = input.timing === 'IMMEDIATE' || (input.timing === 'AUTO' && feePerDay(to).greaterThan(feePerDay(from)));
  if (!now) return { effective: 'period_end' };
  if (input.trialing) return { effective: 'now', period, restarts: false, lines: [], takesBack: [] };

  const restarts = !sameRhythm(from.plan, to.plan);
  const full = fullPeriod(from.plan, { period, timeZone });
  const of = { at, timeZone, proration: input.proration, changeDay: 'unused' } as const;
  const unused = unusedFraction({ period: full, ...of });
  const rest: Period = { start: at, end: period.end };
  const given = giveBack(input.paid, { feeMinor: feeMinor(from.plan, from.quantity), unused, of });
  const { credit, takesBack } = dividedCredits(creditLines({ ...from, rest, unused, given }));
  if (restarts) {
    const next = firstPeriod(to.plan, { at, timeZone });
    const lines = [...credit, feeLine({ ...to, period: next, timeZone })];
    return { effective: 'now', period: next, restarts, lines, takesBack };
  }
  const lines = [...credit, ...chargeLines({ ...to, rest, unused })];
  return { effective: 'now', period: rest, restarts, lines, takesBack };
}

/** Fee per day in minor units, over the average length of the interval: only for telling up from down. */
function feePerDay({ plan, quantity }: Ordered): Decimal {
  const days = { DAY: new Decimal(1), WEEK: new Decimal(7), MONTH: new Decimal(365).div(12), YEAR: new Decimal(365) }[
    plan.interval
  ];
  return new Decimal(feeMinor(plan, quantity).toString()).div(days.times(plan.intervalCount));
}

/**
 * Stopping at once, for good or for a pause: credit for the unused days (the day it stops counts as used), the usage so
 * far, and the days' share of the minimum spend. `takesBack`: what is unused of fees that are not paid yet.
 */
export function decideStop({
  state,
  at,
  usage,
  paid,
  waits,
}: {
  state: Lifecycle<Terms>;
  at: Date;
  usage: readonly LineDraft[];
  /** Undefined: nothing is given back. */
  paid: PaidFee | undefined;
  /** What is in arrears waits as DRAFT for late usage. */
  waits?: boolean | undefined;
}): { lines: LineDraft[]; takesBack: TakeBack[] } {
  const { terms: plan, quantity, period, timeZone } = state;
  if (state.status === 'PAUSED') return { lines: [], takesBack: [] }; // it has been stopped before
  const full = fullPeriod(plan, { period, timeZone });
  const of = { at, timeZone, proration: 'PER_DAY', changeDay: 'used' } as const;
  const unused = unusedFraction({ period: full, ...of });
  const rest = { start: at, end: period.end };
  const fees = paid === undefined || state.status === 'TRIALING' ? [] : paid;
  const given = giveBack(fees, { feeMinor: feeMinor(plan, quantity), unused, of });
  const { credit, takesBack } = dividedCredits(creditLines({ plan, quantity, rest, unused, given }));
  return { lines: [...credit, ...decideArrears({ state, usage, cutAt: at, waits })], takesBack };
}

/** What a period leaves to pay when it ends: its usage, and what that falls short of the minimum spend. A trial has none. */
export function decideArrears({
  state: { status, terms: plan, period, timeZone },
  usage,
  cutAt,
  waits,
}: {
  state: Lifecycle<Terms>;
  usage: readonly LineDraft[];
  cutAt?: Date;
  /** The invoice waits as DRAFT for late usage. */
  waits?: boolean | undefined;
}): LineDraft[] {
  return status === 'TRIALING'
    ? [...usage]
    : [...usage, ...minimumSpendLines({ plan, period, cutAt, usage, timeZone, waits })];
}

/** What those lines come to at the least, for the invoice to keep: later corrections ask it. */
export function minimumOf(
  { status, terms: plan, period, timeZone }: Lifecycle<Terms>,
  cutAt?: Date,
): InvoiceMinimum | undefined {
  if (status === 'TRIALING' || status === 'PAUSED') return undefined;
  const owed = owedMinimum({ plan, period, cutAt, timeZone });
  return owed && { planCode: plan.code, amountMinor: owed.owedMinor.toString() };
}

/**
 * A step that begins a new period (a renewal, a trial's end, the end of a pause): the state after it, and its invoice with
 * the usage of the period that ends, in arrears, and the fee of the one that starts, in advance.
 */
export function decideRenewal<Plan extends Terms>({
  state,
  step,
  usage,
  waits,
}: {
  state: Lifecycle<Plan>;
  step: Step;
  usage: readonly LineDraft[];
  waits?: boolean | undefined;
}): { state: Lifecycle<Plan>; lines: LineDraft[] } {
  const after = afterStep(state, step);
  const fee = feeLine({ plan: after.terms, quantity: after.quantity, period: after.period, timeZone: after.timeZone });
  return { state: after, lines: step.kind === 'resume' ? [fee] : [...decideArrears({ state, usage, waits }), fee] };
}
