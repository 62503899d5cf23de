import fc from 'fast-check';
import {
  afterStep,
  changed,
  dueStep,
  ended,
  firstPeriod,
  fullPeriod,
  type Lifecycle,
  paused,
  type Rhythm,
  resumed,
  type Step,
  sameRhythm,
} from '../../src/domain/lifecycle.js';
import { calendarAnchor, type Period } from '../../src/domain/period.js';

const runs = { numRuns: 10_000 };
const dayMs = 86_400_000;
const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Pacific/Apia'];

const local = (text: string, timeZone: string): Date =>
  new Date(Temporal.PlainDateTime.from(text).toZonedDateTime(timeZone).epochMilliseconds);
const wallClock = (at: Date, timeZone: string): string =>
  Temporal.Instant.fromEpochMilliseconds(at.getTime())
    .toZonedDateTimeISO(timeZone)
    .toPlainDateTime()
    .toString({ smallestUnit: 'minute' });
const after = (at: Date, ms: number): Date => new Date(at.getTime() + ms);

const rhythms: fc.Arbitrary<Rhythm> = fc
  .record({
    interval: fc.constantFrom('DAY', 'WEEK', 'MONTH', 'YEAR'),
    intervalCount: fc.integer({ min: 1, max: 12 }),
    anchor: fc.constantFrom('ANNIVERSARY', 'CALENDAR'),
  })
  // Every day of a year is tried in the tables; here it would only be slow.
  .map(({ intervalCount, ...of }) => ({
    ...of,
    intervalCount: of.interval === 'DAY' ? intervalCount + 6 : intervalCount,
  }));

const month: Rhythm = { interval: 'MONTH', intervalCount: 1, anchor: 'ANNIVERSARY' };

/** Begun at `at`, as a subscription is: with a trial, or paid. */
function begun(
  terms: Rhythm,
  { at, timeZone, trialMs = 0 }: { at: Date; timeZone: string; trialMs?: number },
): Lifecycle {
  const trial = trialMs > 0;
  const period = trial ? { start: at, end: after(at, trialMs) } : firstPeriod(terms, { at, timeZone });
  return {
    status: trial ? 'TRIALING' : 'ACTIVE',
    terms,
    quantity: 1,
    pendingTerms: null,
    pendingQuantity: null,
    anchor: trial ? period.end : at,
    period,
    timeZone,
    createdAt: at,
    trialNoticeAt: null,
    cancelAt: null,
    canceledAt: null,
    pausedAt: null,
    resumeAt: null,
  };
}

const states: fc.Arbitrary<Lifecycle> = fc
  .record({
    terms: rhythms,
    pendingTerms: fc.option(rhythms, { freq: 4 }),
    pendingQuantity: fc.option(fc.integer({ min: 1, max: 9 }), { freq: 4 }),
    at: fc.date({ min: new Date('2005-01-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
    timeZone: fc.constantFrom(...zones),
    trialDays: fc.constantFrom(0, 0, 0, 1, 3, 14, 40),
    cancels: fc.constantFrom(false, false, false, true),
    pausedForDays: fc.constantFrom(undefined, undefined, undefined, null, 1, 45),
  })
  .map(({ terms, pendingTerms, pendingQuantity, at, timeZone, trialDays, cancels, pausedForDays }) => {
    const state = { ...begun(terms, { at, timeZone, trialMs: trialDays * dayMs }), pendingTerms, pendingQuantity };
    if (cancels) return { ...state, cancelAt: state.period.end };
    if (pausedForDays === undefined || trialDays > 0) return state;
    const pausedAt = after(at, (state.period.end.getTime() - at.getTime()) / 2);
    return paused(state, {
      at: pausedAt,
      resumeAt: pausedForDays === null ? null : after(pausedAt, pausedForDays * dayMs),
    });
  });

/** Everything that is due by `now`, in order: what the engine does, without its invoices. */
function advance(state: Lifecycle, now: Date): { state: Lifecycle; steps: Step[] } {
  const steps: Step[] = [];
  for (let step = dueStep(state); step && step.at <= now; step = dueStep(state)) {
    steps.push(step);
    state = afterStep(state, step);
  }
  return { state, steps };
}

test('one step of a year is the same as 365 steps of a day', () => {
  fc.assert(
    fc.property(states, (state) => {
      const start = state.createdAt;
      const atOnce = advance(state, after(start, 365 * dayMs));
      const byDay = { state, steps: [] as Step[] };
      for (let day = 1; day <= 365; day++) {
        const next = advance(byDay.state, after(start, day * dayMs));
        byDay.state = next.state;
        if (next.steps.length > 0) byDay.steps.push(...next.steps);
      }
      const again = advance(state, after(start, 365 * dayMs)); // and two runs agree
      expect([byDay, again].map((one) => JSON.stringify(one))).toEqual(Array(2).fill(JSON.stringify(atOnce)));
    }),
    runs,
  );
});

test('steps are taken in order of time, and never leave one due that is past', () => {
  fc.assert(
    fc.property(states, fc.integer({ min: 0, max: 400 * dayMs }), (state, elapsedMs) => {
      const now = after(state.createdAt, elapsedMs);
      const { state: reached, steps } = advance(state, now);
      const inOrder = steps.every(({ at }, i) => i === 0 || at >= steps[i - 1]!.at);
      const next = dueStep(reached);
      const notices = steps.filter(({ kind }) => kind === 'trial_notice').length;
      expect({ inOrder, late: next !== undefined && next.at <= now, notices }).toEqual({
        inOrder: true,
        late: false,
        notices: state.status === 'TRIALING' && reached.trialNoticeAt ? 1 : 0,
      });
    }),
    runs,
  );
});

test('periods tile time without gap or overlap, except where a pause is', () => {
  const same = (a: Date, b: Date) => a.getTime() === b.getTime();
  fc.assert(
    fc.property(states, (state) => {
      for (let step = dueStep(state), i = 0; step && i < 8; step = dueStep(state), i++) {
        const before = state.period;
        state = afterStep(state, step);
        const { start, end } = state.period;
        const full = fullPeriod(state.terms, state);
        const begins = step.kind === 'renew' || step.kind === 'end_trial';
        if (begins && !(same(start, before.end) && same(step.at, before.end))) return false;
        if (step.kind === 'resume' && !same(start, step.at)) return false;
        if (end <= start || full.start > start || !same(full.end, end)) return false;
      }
      return true;
    }),
    runs,
  );
});

test('the anchor never drifts: the n-th boundary is the anchor plus n intervals, whatever came between', () => {
  const unit = { DAY: 'days', WEEK: 'weeks', MONTH: 'months', YEAR: 'years' } as const;
  fc.assert(
    fc.property(
      rhythms,
      fc.date({ min: new Date('2012-03-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
      fc.constantFrom(...zones),
      fc.integer({ min: 1, max: 20 }),
      (terms, at, timeZone, n) => {
        let state = begun(terms, { at, timeZone });
        const full = fullPeriod(terms, state);
        const counted = (terms.anchor === 'CALENDAR' ? full.start : at).getTime();
        for (let i = 1; i < n; i++) state = afterStep(state, dueStep(state)!);
        const boundary = Temporal.Instant.fromEpochMilliseconds(counted).toZonedDateTimeISO(timeZone).toPlainDateTime();
        const expected =
          terms.anchor === 'CALENDAR'
            ? // Midnight, though daylight saving may have moved the one it is counted from.
              boundary
                .toPlainDate()
                .add({ [unit[terms.interval]]: n * terms.intervalCount })
                .toZonedDateTime(timeZone)
            : Temporal.Instant.fromEpochMilliseconds(counted)
                .toZonedDateTimeISO(timeZone)
                .add({ [unit[terms.interval]]: n * terms.intervalCount });
        expect(state.period.end.getTime()).toBe(expected.epochMilliseconds);
        expect(state.anchor).toEqual(at);
      },
    ),
    runs,
  );
});

describe('the calendar of a plan', () => {
  const calendar = (interval: Rhythm['interval'], intervalCount = 1): Rhythm => ({
    interval,
    intervalCount,
    anchor: 'CALENDAR',
  });
  const { interval, intervalCount } = month;
  test.each<[string, Rhythm, string, string, string[]]>([
    ['days from midnight', calendar('DAY'), 'UTC', '2026-04-10T15:30', ['2026-04-11T00:00', '2026-04-12T00:00']],
    [
      'the day spring cuts short',
      calendar('DAY'),
      'Europe/Berlin',
      '2026-03-28T15:30',
      ['2026-03-29T00:00', '2026-03-30T00:00'],
    ],
    ['the day autumn makes longer', calendar('DAY'), 'America/New_York', '2026-11-01T00:30', ['2026-11-02T00:00']],
    ['weeks from Monday', calendar('WEEK'), 'UTC', '2026-04-08T12:00', ['2026-04-13T00:00', '2026-04-20T00:00']],
    [
      'weeks over the end of summer',
      calendar('WEEK'),
      'Europe/Berlin',
      '2026-10-21T12:00',
      ['2026-10-26T00:00', '2026-11-02T00:00'],
    ],
    [
      'months from the 1st',
      calendar('MONTH'),
      'Pacific/Kiritimati',
      '2026-01-31T09:00',
      ['2026-02-01T00:00', '2026-03-01T00:00'],
    ],
    ['UTC−11', calendar('MONTH'), 'Pacific/Pago_Pago', '2026-01-31T23:59', ['2026-02-01T00:00', '2026-03-01T00:00']],
    [
      'on the boundary',
      calendar('MONTH'),
      'America/New_York',
      '2026-03-01T00:00',
      ['2026-04-01T00:00', '2026-05-01T00:00'],
    ],
    [
      'quarters from January',
      calendar('MONTH', 3),
      'UTC',
      '2026-05-15T00:00',
      ['2026-07-01T00:00', '2026-10-01T00:00'],
    ],
    [
      'half-years from January',
      calendar('MONTH', 6),
      'UTC',
      '2026-07-01T00:00',
      ['2027-01-01T00:00', '2027-07-01T00:00'],
    ],
    [
      'years from 1 January',
      calendar('YEAR'),
      'Europe/Berlin',
      '2028-02-29T10:00',
      ['2029-01-01T00:00', '2030-01-01T00:00'],
    ],
    [
      'a month that lost a day',
      calendar('MONTH'),
      'Pacific/Apia',
      '2011-12-15T10:00',
      ['2012-01-01T00:00', '2012-02-01T00:00'],
    ],
    [
      'a day that never was',
      calendar('DAY'),
      'Pacific/Apia',
      '2011-12-29T10:00',
      ['2011-12-31T00:00', '2012-01-01T00:00'],
    ],
    ['the 31st', month, 'UTC', '2026-01-31T10:00', ['2026-02-28T10:00', '2026-03-31T10:00', '2026-04-30T10:00']],
    [
      '29 February each year',
      { ...month, interval: 'YEAR' },
      'Europe/Berlin',
      '2024-02-29T10:00',
      ['2025-02-28T10:00', '2026-02-28T10:00', '2027-02-28T10:00', '2028-02-29T10:00'],
    ],
    [
      'anniversaries through a day that never was',
      { interval, intervalCount, anchor: 'ANNIVERSARY' },
      'Pacific/Apia',
      '2011-11-30T10:00',
      ['2011-12-31T10:00', '2012-01-30T10:00'],
    ],
  ])('%s', (_name, terms, timeZone, at, boundaries) => {
    let state = begun(terms, { at: local(at, timeZone), timeZone });
    expect(wallClock(state.period.start, timeZone)).toBe(at);
    for (const boundary of boundaries) {
      expect(wallClock(state.period.end, timeZone)).toBe(boundary);
      state = afterStep(state, dueStep(state)!);
    }
  });

  test('is counted from a Monday that was the first of a month and of a year', () => {
    expect(wallClock(calendarAnchor('Europe/Berlin'), 'Europe/Berlin')).toBe('1900-01-01T00:00');
    expect(Temporal.PlainDate.from('1900-01-01').dayOfWeek).toBe(1);
  });

  test('two rhythms are the same only in all three', () => {
    expect(sameRhythm(month, { ...month })).toBe(true);
    for (const other of [{ interval: 'WEEK' }, { intervalCount: 2 }, { anchor: 'CALENDAR' }] as const)
      expect(sameRhythm(month, { ...month, ...other })).toBe(false);
  });
});

describe('what is due', () => {
  const at = new Date('2026-04-10T12:00:00Z');
  const active = begun(month, { at, timeZone: 'UTC' });
  const trial = begun(month, { at, timeZone: 'UTC', trialMs: 14 * dayMs });
  test.each<[string, Lifecycle, string | undefined]>([
    ['an unpaid one expires after 24 h', { ...active, status: 'INCOMPLETE' }, 'expire 2026-04-11T12:00:00.000Z'],
    ['an active one renews', active, 'renew 2026-05-10T12:00:00.000Z'],
    ['one that is past due as well', { ...active, status: 'PAST_DUE' }, 'renew 2026-05-10T12:00:00.000Z'],
    ['one set to be canceled ends', { ...active, cancelAt: active.period.end }, 'end 2026-05-10T12:00:00.000Z'],
    ['a trial is announced three days before its end', trial, 'trial_notice 2026-04-21T12:00:00.000Z'],
    ['and ends then', { ...trial, trialNoticeAt: at }, 'end_trial 2026-04-24T12:00:00.000Z'],
    ['or is over', { ...trial, trialNoticeAt: at, cancelAt: trial.period.end }, 'end 2026-04-24T12:00:00.000Z'],
    [
      'a short trial is announced when it begins',
      begun(month, { at, timeZone: 'UTC', trialMs: dayMs }),
      'trial_notice 2026-04-10T12:00:00.000Z',
    ],
    ['a pause lasts', paused(active, { at, resumeAt: null }), undefined],
    ['or until it ends', paused(active, { at, resumeAt: new Date('2026-06-01') }), 'resume 2026-06-01T00:00:00.000Z'],
    ['nothing follows the end', ended(active, at), undefined],
  ])('%s', (_name, state, expected) => {
    const step = dueStep(state);
    expect(step && `${step.kind} ${step.at.toISOString()}`).toBe(expected);
  });

  test('a renewal takes over what was scheduled, once; another rhythm counts from there', () => {
    const yearly: Rhythm = { ...month, interval: 'YEAR' };
    const state = { ...active, pendingTerms: yearly, pendingQuantity: 5 };
    const renewed = afterStep(state, dueStep(state)!);
    expect(renewed).toMatchObject({ terms: yearly, quantity: 5, pendingTerms: null, pendingQuantity: null });
    expect(renewed.anchor).toEqual(active.period.end);
    expect(renewed.period.end.toISOString()).toBe('2027-05-10T12:00:00.000Z');
  });

  test("a trial's end on the calendar begins with a part of a month", () => {
    const state = { ...trial, terms: { ...month, anchor: 'CALENDAR' as const }, trialNoticeAt: at };
    const { period, status } = afterStep(state, dueStep(state)!);
    expect({ status, period }).toEqual({
      status: 'ACTIVE',
      period: { start: trial.period.end, end: new Date('2026-05-01T00:00:00Z') },
    });
  });

  test('a pause cuts the period, its end begins one of its own, with what was scheduled', () => {
    const pausedAt = new Date('2026-04-20T08:00:00Z');
    const stopped = paused({ ...active, pendingQuantity: 2 }, { at: pausedAt, resumeAt: null });
    expect(stopped).toMatchObject({ status: 'PAUSED', pausedAt, period: { start: at, end: pausedAt } });
    const goesOnAt = new Date('2026-07-31T09:00:00Z');
    expect(resumed(stopped, goesOnAt)).toMatchObject({
      status: 'ACTIVE',
      quantity: 2,
      pausedAt: null,
      resumeAt: null,
      anchor: goesOnAt,
      period: { start: goesOnAt, end: new Date('2026-08-31T09:00:00Z') },
    });
  });

  test('a change that begins a period takes the date of a cancellation along', () => {
    const period: Period = { start: new Date('2026-04-15'), end: new Date('2027-04-15') };
    const canceling = { ...active, cancelAt: active.period.end };
    expect(changed(canceling, { terms: month, quantity: 1, period })).toMatchObject({
      anchor: period.start,
      cancelAt: period.end,
      period,
    });
    expect(changed(canceling, { terms: month, quantity: 3, period: undefined })).toMatchObject({
      quantity: 3,
      cancelAt: active.period.end,
      period: active.period,
    });
  });

  test('the end drops what was scheduled', () => {
    const state = ended({ ...active, pendingTerms: month, pendingQuantity: 2 }, at);
    expect(state).toMatchObject({
      status: 'CANCELED',
      canceledAt: at,
      cancelAt: at,
      pendingTerms: null,
      pendingQuantity: null,
    });
  });
});
