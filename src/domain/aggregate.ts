import { Decimal, zero } from './decimal.js';
import type { Period } from './period.js';

export type Aggregation = 'COUNT' | 'SUM' | 'MAX' | 'LATEST' | 'UNIQUE' | 'WEIGHTED_SUM';

/** Of these a period's first level is the last one of the period before. */
export const isLevel = (aggregation: Aggregation): boolean =>
  aggregation === 'LATEST' || aggregation === 'WEIGHTED_SUM';

/** An event as it counts in its window; those that were voided don't. */
export interface CountedEvent {
  value: Decimal;
  timestamp: Date;
  /** UNIQUE: the value of the metric's property. */
  uniqueValue: string | null;
}

/** The level that a period began with and the time of the reading behind it; `null`: nothing was read before. */
export interface Opening {
  level: Decimal;
  at: Date | null;
}

/** What a window's events come to. */
export interface Count {
  used: Decimal;
  eventCount: number;
  /** Latest timestamp of its events; of a level, of the reading that holds. */
  latestAt: Date | null;
  /** WEIGHTED_SUM: the level as of `latestAt`, and level × milliseconds from the period's start until then. */
  level: Decimal | null;
  accrued: Decimal | null;
}

/** A level read at an instant, in epoch milliseconds; −∞ for the level before any reading. */
export interface Reading {
  readonly atMs: number;
  readonly value: Decimal;
}

const usedDecimals = 12;

/** What was read before the period counts from its start on, and what was read after its end not at all. */
const within = ({ start, end }: Period, atMs: number): number =>
  Math.min(Math.max(atMs, start.getTime()), end.getTime());

/**
 * Level × time over the length of the period, as if the last level held until the period's end: so it says nothing of the
 * time it is asked at. Rounded to 12 decimals. A period without length shows its level.
 */
export function weightedUse({ accrued, last, period }: { accrued: Decimal; last: Reading; period: Period }): Decimal {
  const lengthMs = period.end.getTime() - period.start.getTime();
  if (lengthMs === 0) return last.value;
  const restMs = period.end.getTime() - within(period, last.atMs);
  return accrued.plus(last.value.times(restMs)).div(lengthMs).toDecimalPlaces(usedDecimals);
}

/**
 * Where a reading goes among `readings`, which ascend in time and have those beside it, and what it adds to the
 * level × milliseconds accrued until the last of them (or until itself, when it is the new last). Of two at the same
 * instant the later in order holds.
 */
export function placeReading(
  readings: readonly Reading[],
  { atMs, value }: Reading,
  period: Period,
): { index: number; accrued: Decimal } {
  const index = readings.findLastIndex((reading) => reading.atMs <= atMs) + 1;
  const before = readings[index - 1];
  const next = readings[index];
  const level = before?.value ?? zero;
  const fromMs = within(period, before?.atMs ?? Number.NEGATIVE_INFINITY);
  const ownMs = within(period, atMs);
  return next
    ? { index, accrued: value.minus(level).times(within(period, next.atMs) - ownMs) }
    : { index, accrued: level.times(ownMs - fromMs) };
}

/**
 * What all events of a window come to, in the order in which they were accepted: the truth that the running counter of
 * `decideUsage` keeps up with, and that the database is asked for where a window is counted anew (`recount`). Of `opening` only the levels (LATEST, WEIGHTED_SUM) know.
 */
export function aggregate({
  aggregation,
  opening,
  events,
  period,
}: {
  aggregation: Aggregation;
  opening: Opening | null;
  events: readonly CountedEvent[];
  period: Period;
}): Count {
  const latestMs = events.reduce((latest, { timestamp }) => Math.max(latest, timestamp.getTime()), -Infinity);
  const count = {
    eventCount: events.length,
    latestAt: events.length === 0 ? null : new Date(latestMs),
    level: null,
    accrued: null,
  };
  switch (aggregation) {
    case 'COUNT':
      return { ...count, used: new Decimal(events.length) };
    case 'SUM':
      return { ...count, used: events.reduce((sum, { value }) => sum.plus(value), zero) };
    case 'MAX':
      return { ...count, used: events.reduce((max, { value }) => Decimal.max(max, value), zero) };
    case 'UNIQUE':
      return { ...count, used: new Decimal(new Set(events.map(({ uniqueValue }) => uniqueValue)).size) };
    case 'LATEST':
    case 'WEIGHTED_SUM': {
      const readings = readingsOf(opening, events);
      const last = readings.at(-1)!;
      const latestAt = last.atMs === Number.NEGATIVE_INFINITY ? null : new Date(last.atMs);
      if (aggregation === 'LATEST') return { ...count, latestAt, used: last.value };
      const accrued = readings.reduce((sum, { atMs }, i) => {
        const before = readings[i - 1];
        if (!before) return sum;
        return sum.plus(before.value.times(within(period, atMs) - within(period, before.atMs)));
      }, zero);
      return { ...count, latestAt, level: last.value, accrued, used: weightedUse({ accrued, last, period }) };
    }
  }
}

/** The level a period opened with and what was read since, by time; of two at the same instant the later in order last. */
export function readingsOf(opening: Opening | null, events: readonly CountedEvent[]): Reading[] {
  const first = { atMs: opening?.at?.getTime() ?? Number.NEGATIVE_INFINITY, value: opening?.level ?? zero };
  const read = events.map(({ timestamp, value }) => ({ atMs: timestamp.getTime(), value }));
  return [first, ...read].sort((a, b) => a.atMs - b.atMs);
}
