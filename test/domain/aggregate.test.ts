import fc from 'fast-check';
import {
  type Aggregation,
  aggregate,
  type CountedEvent,
  type Opening,
  readingsOf,
} from '../../src/domain/aggregate.js';
import { Decimal } from '../../src/domain/decimal.js';
import { decideUsage, type UsageWindow } from '../../src/domain/usage.js';
import { april, hourMs, usageWindow } from './usageBuilders.js';

const dayMs = 24 * hourMs;
/** Ten days, so that shares are round. */
const period = { start: april.start, end: new Date(april.start.getTime() + 10 * dayMs) };
const day = (n: number): Date => new Date(april.start.getTime() + n * dayMs);
const read = (value: string, onDay: number, uniqueValue: string | null = null): CountedEvent => ({
  value: new Decimal(value),
  timestamp: day(onDay),
  uniqueValue,
});
const opened = (level: string, onDay: number | null = null): Opening => ({
  level: new Decimal(level),
  at: onDay === null ? null : day(onDay),
});

describe('level × time', () => {
  test.each<[string, Opening | null, CountedEvent[], string]>([
    ['nothing was ever read', null, [], '0'],
    ['the level of the period before goes on', opened('10', -3), [], '10'],
    ['a level read at the start', null, [read('10', 0)], '10'],
    ['a level read half-way', null, [read('10', 5)], '5'],
    ['10 for 4 days, then 20', opened('10', -1), [read('20', 4)], '16'],
    ['10 for 2 days, 20 for 3, then nothing', null, [read('10', 0), read('20', 2), read('0', 5)], '8'],
    ['the order of arrival is none of time', null, [read('0', 5), read('10', 0), read('20', 2)], '8'],
    ['of two at an instant the later in order', null, [read('10', 0), read('30', 5), read('10', 5)], '10'],
    ['a late reading from before the start is the level at it', opened('10', -3), [read('4', -1)], '4'],
    ['and one older than the opening is not', opened('10', -3), [read('4', -5)], '10'],
    ['a reading after the end weighs nothing', opened('10', -3), [read('99', 11)], '10'],
    ['a third is rounded to 12 decimals', null, [read('1', 0), read('0', 10 / 3)], '0.333333333333'],
  ])('%s', (_name, opening, events, used) => {
    expect(aggregate({ aggregation: 'WEIGHTED_SUM', opening, events, period }).used.toFixed()).toBe(used);
  });

  test('a period without length shows its level', () => {
    const none = { start: day(0), end: day(0) };
    const { used } = aggregate({ aggregation: 'WEIGHTED_SUM', opening: opened('7'), events: [], period: none });
    expect(used.toFixed()).toBe('7');
  });

  test('a start that moves on begins with the level of that time', () => {
    const events = [read('10', 0), read('20', 2)];
    const moved = { start: day(5), end: day(15) };
    const { used, accrued } = aggregate({ aggregation: 'WEIGHTED_SUM', opening: null, events, period: moved });
    expect([used.toFixed(), accrued!.toFixed()]).toEqual(['20', '0']);
  });
});

test.each<[Aggregation, string]>([
  ['COUNT', '4'],
  ['SUM', '12'],
  ['MAX', '5'],
  ['LATEST', '3'],
  ['UNIQUE', '2'],
])('%s of the same events is %s', (aggregation, used) => {
  const events = [read('5', 1, 'a'), read('3', 4, 'b'), read('2', 2, 'a'), read('2', 3, 'b')];
  expect(aggregate({ aggregation, opening: opened('9', -1), events, period })).toMatchObject({
    eventCount: 4,
    latestAt: day(4),
  });
  expect(aggregate({ aggregation, opening: opened('9', -1), events, period }).used.toFixed()).toBe(used);
});

test('of no event, LATEST is the level the period began with and all else is nothing', () => {
  const used = (aggregation: Aggregation) =>
    aggregate({ aggregation, opening: opened('9', -1), events: [], period }).used.toFixed();
  expect((['COUNT', 'SUM', 'MAX', 'UNIQUE', 'LATEST'] as const).map(used)).toEqual(['0', '0', '0', '0', '9']);
});

const now = new Date(period.end.getTime() - 1);
const openingArbitrary = fc.record({ level: fc.nat(50), at: fc.option(fc.integer({ min: -30, max: 0 })) });
const eventArbitrary = fc.record({
  value: fc.integer({ min: -20, max: 60 }),
  /** Few hours, so that many share one. */
  hour: fc.integer({ min: 0, max: 239 }).map((n) => n - (n % 7)),
  unique: fc.constantFrom('a', 'b', 'c', 'd'),
});

/** Decides batch after batch as recording does, and returns the window with the events that were accepted, in order. */
function recorded(first: UsageWindow, batches: readonly (CountedEvent & { transactionId: string })[][]) {
  let window = first;
  const accepted: CountedEvent[] = [];
  for (const batch of batches) {
    const events = batch.map((event) => ({ ...event, metric: window.metric }));
    const knownValues = new Set(accepted.flatMap(({ uniqueValue }) => uniqueValue ?? []));
    const decide = (of: UsageWindow) =>
      decideUsage({ events, windows: [of], seen: new Set(), knownMetrics: new Set([of.metric]), now });
    let decided = decide({ ...window, knownValues });
    if (decided.lacking.length > 0)
      decided = decide({ ...window, knownValues, readings: readingsOf(window.opening, accepted) });
    decided.decisions.forEach(({ status }, i) => {
      if (status === 'ACCEPTED') accepted.push(events[i]!);
    });
    window = { ...window, ...decided.changes[0] };
  }
  return { window, accepted };
}

test('the running counter equals the fold over its events, whatever their order and batches', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Aggregation>('COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE', 'WEIGHTED_SUM'),
      openingArbitrary,
      fc.array(fc.array(eventArbitrary, { maxLength: 6 }), { maxLength: 6 }),
      fc.constantFrom('BLOCK' as const, 'ALLOW' as const),
      (aggregation, { level, at }, drafts, overage) => {
        const isLevel = aggregation === 'LATEST' || aggregation === 'WEIGHTED_SUM';
        const opening = isLevel ? opened(String(level), at) : null;
        const start = aggregate({ aggregation, opening, events: [], period });
        const first = {
          ...usageWindow({ aggregation, period, opening, overage, limit: '45', property: 'user' }),
          ...start,
        };
        const batches = drafts.map((batch, b) =>
          batch.map(({ value, hour, unique }, i) => ({
            ...read(String(value), hour / 24, aggregation === 'UNIQUE' ? unique : null),
            transactionId: `${b}-${i}`,
          })),
        );
        const { window, accepted } = recorded(first, batches);
        const fold = aggregate({ aggregation, opening, events: accepted, period });
        const shown = ({ used, eventCount, latestAt, level: last, accrued }: typeof fold) =>
          [used, eventCount, latestAt?.getTime(), last, accrued].map(String);
        expect(shown(window)).toEqual(shown(fold));
      },
    ),
    { numRuns: 10_000 },
  );
});

test('readings at different times come to the same in every order', () => {
  const arrivals = fc.uniqueArray(fc.integer({ min: 0, max: 239 }), { maxLength: 8 }).chain((hours) =>
    fc.record({
      events: fc.constant(hours.map((hour, i) => ({ ...read(String(i * 3), hour / 24), transactionId: `t${i}` }))),
      order: fc.shuffledSubarray(
        hours.map((_, i) => i),
        { minLength: hours.length },
      ),
    }),
  );
  fc.assert(
    fc.property(arrivals, ({ events, order }) => {
      const first = usageWindow({ aggregation: 'WEIGHTED_SUM', period, limit: null });
      const inTurn = recorded(first, [events]);
      const shuffled = recorded(
        first,
        order.map((i) => [events[i]!]),
      );
      expect(shuffled.window.used.toFixed()).toBe(inTurn.window.used.toFixed());
    }),
    { numRuns: 500 },
  );
});
