import {
  type BillingAnchor,
  type Cadence,
  calendarAnchor,
  type Interval,
  type Period,
  periodAfter,
  periodAt,
} from './period.js';

// What becomes of a subscription by itself, and when. Pure: folding `afterStep` over `dueStep` is its whole calendar.

/** How a plan repeats. */
export interface Rhythm {
  readonly interval: Interval;
  readonly intervalCount: number;
  readonly anchor: BillingAnchor;
}

export type SubscriptionStatus = 'INCOMPLETE' | 'TRIALING' | 'ACTIVE' | 'PAST_DUE' | 'PAUSED' | 'CANCELED';

/** What decides on when something happens by itself. */
export interface Schedule {
  readonly status: SubscriptionStatus;
  readonly period: Period;
  readonly createdAt: Date;
  readonly trialNoticeAt: Date | null;
  readonly cancelAt: Date | null;
  readonly resumeAt: Date | null;
}

/** A subscription with its plan, as far as time is concerned. `Terms` is the plan, carried along. */
export interface Lifecycle<Terms extends Rhythm = Rhythm> extends Schedule {
  readonly terms: Terms;
  readonly quantity: number;
  /** Take over with the next period; null: as they are. */
  readonly pendingTerms: Terms | null;
  readonly pendingQuantity: number | null;
  /** Boundaries of ANNIVERSARY terms are counted from here. */
  readonly anchor: Date;
  readonly timeZone: string;
  readonly canceledAt: Date | null;
  readonly pausedAt: Date | null;
}

export interface Step {
  readonly kind: 'expire' | 'trial_notice' | 'end_trial' | 'renew' | 'end' | 'resume';
  readonly at: Date;
}

/** How long an unpaid first invoice can still be paid. */
const incompleteForMs = 24 * 3_600_000;
/** How long before its end a trial is announced to end; a shorter one is announced when it begins. */
const trialNoticeMs = 3 * 24 * 3_600_000;

/** What happens by itself next, and when; `undefined` when nothing will. */
export function dueStep({ status, period, createdAt, trialNoticeAt, cancelAt, resumeAt }: Schedule): Step | undefined {
  const ends = cancelAt !== null && cancelAt <= period.end;
  switch (status) {
    case 'INCOMPLETE':
      return { kind: 'expire', at: new Date(createdAt.getTime() + incompleteForMs) };
    case 'TRIALING': {
      const noticeMs = Math.max(period.start.getTime(), period.end.getTime() - trialNoticeMs);
      if (trialNoticeAt === null) return { kind: 'trial_notice', at: new Date(noticeMs) };
      return { kind: ends ? 'end' : 'end_trial', at: period.end };
    }
    case 'ACTIVE':
    case 'PAST_DUE':
      return { kind: ends ? 'end' : 'renew', at: period.end };
    case 'PAUSED':
      return resumeAt === null ? undefined : { kind: 'resume', at: resumeAt };
    case 'CANCELED':
      return undefined;
  }
}

/** The state after a step that `dueStep` named. */
export function afterStep<Terms extends Rhythm>(state: Lifecycle<Terms>, { kind, at }: Step): Lifecycle<Terms> {
  switch (kind) {
    case 'expire':
    case 'end':
      return ended(state, at);
    case 'trial_notice':
      return { ...state, trialNoticeAt: at };
    case 'renew':
    case 'end_trial':
      return renewed(state);
    case 'resume':
      return resumed(state, at);
  }
}

/** A trial's end and another rhythm start a new count of periods; every other renewal counts on from the anchor. */
function renewed<Terms extends Rhythm>(state: Lifecycle<Terms>): Lifecycle<Terms> {
  const { period, timeZone } = state;
  const terms = state.pendingTerms ?? state.terms;
  const recounts = state.status === 'TRIALING' || !sameRhythm(terms, state.terms);
  const anchor = recounts ? period.end : state.anchor;
  return {
    ...state,
    ...takeOver(state),
    status: state.status === 'TRIALING' ? 'ACTIVE' : state.status,
    anchor,
    period: periodAfter(cadenceOf(terms, { anchor, timeZone }), period),
  };
}

/** Stopped at `at`: the current period ends there, and no other begins until it is resumed. */
export const paused = <Terms extends Rhythm>(
  state: Lifecycle<Terms>,
  { at, resumeAt }: { at: Date; resumeAt: Date | null },
): Lifecycle<Terms> => ({
  ...state,
  status: 'PAUSED',
  pausedAt: at,
  resumeAt,
  period: { start: state.period.start, end: earlier(at, state.period.end) },
});

/** Goes on at `at` with a new period, and with what was to take over in the next one. */
export function resumed<Terms extends Rhythm>(state: Lifecycle<Terms>, at: Date): Lifecycle<Terms> {
  const over = takeOver(state);
  return {
    ...state,
    ...over,
    status: 'ACTIVE',
    pausedAt: null,
    resumeAt: null,
    anchor: at,
    period: firstPeriod(over.terms, { at, timeZone: state.timeZone }),
  };
}

/** On other terms or in another quantity from now on. `period` is the new one, where the change begins one. */
export const changed = <Terms extends Rhythm>(
  state: Lifecycle<Terms>,
  { terms, quantity, period }: { terms: Terms; quantity: number; period: Period | undefined },
): Lifecycle<Terms> => ({
  ...state,
  terms,
  quantity,
  pendingTerms: null,
  pendingQuantity: null,
  ...(period && { anchor: period.start, period, cancelAt: state.cancelAt && period.end }),
});

/** Over at `at`; nothing happens by itself any more. */
export const ended = <Terms extends Rhythm>(state: Lifecycle<Terms>, at: Date): Lifecycle<Terms> => ({
  ...state,
  status: 'CANCELED',
  cancelAt: state.cancelAt ?? at,
  canceledAt: at,
  pendingTerms: null,
  pendingQuantity: null,
  resumeAt: null,
});

const takeOver = <Terms extends Rhythm>(state: Lifecycle<Terms>) => ({
  terms: state.pendingTerms ?? state.terms,
  quantity: state.pendingQuantity ?? state.quantity,
  pendingTerms: null,
  pendingQuantity: null,
});

export const sameRhythm = (a: Rhythm, b: Rhythm): boolean =>
  a.interval === b.interval && a.intervalCount === b.intervalCount && a.anchor === b.anchor;

const cadenceOf = (
  { interval, intervalCount, anchor: rule }: Rhythm,
  { anchor, timeZone }: { anchor: Date; timeZone: string },
): Cadence => ({
  interval,
  intervalCount,
  anchor: rule === 'CALENDAR' ? calendarAnchor(timeZone) : anchor,
  timeZone,
});

/** The period that begins at `at`: a whole one, or with CALENDAR the rest of the calendar's. */
export const firstPeriod = (terms: Rhythm, { at, timeZone }: { at: Date; timeZone: string }): Period => ({
  start: at,
  end: periodAt(cadenceOf(terms, { anchor: at, timeZone }), at).end,
});

/** The whole period of which this one is a part: more than itself only for the first one of CALENDAR terms. */
export function fullPeriod(terms: Rhythm, { period, timeZone }: { period: Period; timeZone: string }): Period {
  if (terms.anchor === 'ANNIVERSARY') return period;
  const { start } = periodAt(cadenceOf(terms, { anchor: period.start, timeZone }), period.start);
  return { start: earlier(start, period.start), end: period.end };
}

const earlier = (a: Date, b: Date): Date => (a < b ? a : b);
