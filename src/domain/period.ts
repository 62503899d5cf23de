import { invalid } from './errors.js';

export type Interval = 'DAY' | 'WEEK' | 'MONTH' | 'YEAR';

/** Where periods are counted from: the day one begins, or the calendar's own boundaries. */
export type BillingAnchor = 'ANNIVERSARY' | 'CALENDAR';

/** Half-open: `start` belongs to it, `end` to the next one. */
export interface Period {
  readonly start: Date;
  readonly end: Date;
}

/** How a subscription repeats: every `intervalCount` intervals from the anchor, on the wall clock of the time zone. */
export interface Cadence {
  interval: Interval;
  intervalCount: number;
  anchor: Date;
  timeZone: string;
}

const durationUnit = { DAY: 'days', WEEK: 'weeks', MONTH: 'months', YEAR: 'years' } as const;

/** Mean lengths in the Gregorian calendar (365.2425 days a year), good enough to guess a boundary's number. */
const meanIntervalMs = { DAY: 86_400_000, WEEK: 604_800_000, MONTH: 2_629_746_000, YEAR: 31_556_952_000 } as const;

const zonedAt = (at: Date, timeZone: string): Temporal.ZonedDateTime =>
  Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone);

const localDay = (at: Date, timeZone: string): Temporal.PlainDate => zonedAt(at, timeZone).toPlainDate();

/**
 * The period that contains `at`. Boundary n is the anchor's local wall clock plus n intervals, always counted from the
 * anchor, so a month that is too short constrains its own boundary and no other: 31 Jan → 28 Feb → 31 Mar. A wall clock
 * that daylight saving skips moves forward, one that it repeats means the first of the two (Temporal's "compatible").
 * Throws INVALID when `at` is before the anchor or the cadence has no positive whole count.
 */
export function periodAt(cadence: Cadence, at: Date): Period {
  const { interval, intervalCount, anchor, timeZone } = cadence;
  if (!Number.isSafeInteger(intervalCount) || intervalCount < 1) {
    throw invalid(`A cadence of ${intervalCount} × ${interval} has no periods: expected a whole number from 1 up`);
  }
  if (at < anchor) {
    throw invalid(`No period contains ${at.toISOString()}: the first one starts at ${anchor.toISOString()}`);
  }
  const zonedAnchor = zonedAt(anchor, timeZone);
  const boundaryMs = (n: number) => zonedAnchor.add({ [durationUnit[interval]]: n * intervalCount }).epochMilliseconds;

  const atMs = at.getTime();
  let n = Math.floor((atMs - anchor.getTime()) / (meanIntervalMs[interval] * intervalCount));
  let startMs = boundaryMs(n);
  while (startMs > atMs) startMs = boundaryMs(--n);
  let endMs = boundaryMs(n + 1);
  // Also steps over an empty period: where a zone skipped a whole day, two daily boundaries are the same instant.
  while (endMs <= atMs) {
    startMs = endMs;
    endMs = boundaryMs(++n + 1);
  }
  return { start: new Date(startMs), end: new Date(endMs) };
}

/**
 * The next period. It starts where the given one ends, whatever the cadence says: after a change of the time zone two
 * periods still neither overlap nor leave a gap.
 */
export const periodAfter = (cadence: Cadence, period: Period): Period => ({
  start: period.end,
  end: periodAt(cadence, period.end).end,
});

/**
 * The anchor of the calendar's own periods: local midnight of 1 January 1900, a Monday. Days, weeks from Monday, months
 * from the 1st and years from 1 January are all counted from there, and so are several at a time: quarters and half-years
 * begin with January.
 */
export const calendarAnchor = (timeZone: string): Date =>
  new Date(Temporal.PlainDate.from('1900-01-01').toZonedDateTime(timeZone).epochMilliseconds);

/** The calendar month of the time zone that `at` lies in. */
export const calendarMonth = (at: Date, timeZone: string): Period =>
  periodAt({ interval: 'MONTH', intervalCount: 1, anchor: calendarAnchor(timeZone), timeZone }, at);

/** `YYYY-MM-DD` on the calendar of the time zone. */
export const localDate = (at: Date, timeZone: string): string => localDay(at, timeZone).toString();

/** Where a `YYYY-MM-DD` begins on the calendar of the time zone; `undefined` for text that is no such day. */
export function startOfDay(date: string, timeZone: string): Date | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(date)) return undefined;
  try {
    return new Date(Temporal.PlainDate.from(date).toZonedDateTime(timeZone).epochMilliseconds);
  } catch {
    return undefined; // there is no such day
  }
}

/** The inclusive last day, as `YYYY-MM-DD`. A period that ends on the day it starts has that day as its last. */
export function lastDay(period: Period, timeZone: string): string {
  const first = localDay(period.start, timeZone);
  const last = localDay(period.end, timeZone).subtract({ days: 1 });
  return (Temporal.PlainDate.compare(last, first) < 0 ? first : last).toString();
}

/** Local midnights between two instants: whole calendar days, 23 and 25 hour days included. Negative if `to` is earlier. */
export const daysBetween = ({ from, to, timeZone }: { from: Date; to: Date; timeZone: string }): number =>
  localDay(from, timeZone).until(localDay(to, timeZone)).days;

/**
 * Is this an IANA time zone name? Bare offsets are none, although Temporal takes them: they know no daylight saving,
 * and PostgreSQL reads their sign the other way round.
 */
export function isTimeZone(name: string): boolean {
  if (/^[+-]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
