import fc from 'fast-check';
import {
  type Cadence,
  daysBetween,
  isTimeZone,
  lastDay,
  localDate,
  type Period,
  periodAfter,
  periodAt,
  startOfDay,
} from '../../src/domain/period.js';

const local = (text: string, timeZone: string): Date =>
  new Date(Temporal.PlainDateTime.from(text).toZonedDateTime(timeZone).epochMilliseconds);
const wallClock = (at: Date, timeZone: string): string =>
  Temporal.Instant.fromEpochMilliseconds(at.getTime())
    .toZonedDateTimeISO(timeZone)
    .toPlainDateTime()
    .toString({ smallestUnit: 'minute' });

const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Pacific/Apia'];

const cadences = fc.record<Cadence>({
  interval: fc.constantFrom('DAY', 'WEEK', 'MONTH', 'YEAR'),
  intervalCount: fc.integer({ min: 1, max: 12 }),
  anchor: fc.date({ min: new Date('1990-01-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
  timeZone: fc.constantFrom(...zones),
});

describe('boundaries are counted from the anchor on the local wall clock', () => {
  const month = { interval: 'MONTH', intervalCount: 1 } as const;
  test.each<[string, Pick<Cadence, 'interval' | 'intervalCount'>, string, string, string[]]>([
    ['31st', month, 'UTC', '2027-01-31T00:00', ['2027-02-28T00:00', '2027-03-31T00:00', '2027-04-30T00:00']],
    ['31st, leap year', month, 'UTC', '2028-01-31T00:00', ['2028-02-29T00:00', '2028-03-31T00:00', '2028-04-30T00:00']],
    ['30th', month, 'Europe/Berlin', '2027-01-30T09:15', ['2027-02-28T09:15', '2027-03-30T09:15', '2027-04-30T09:15']],
    ['quarters', { ...month, intervalCount: 3 }, 'UTC', '2026-11-30T00:00', ['2027-02-28T00:00', '2027-05-30T00:00']],
    [
      '29 Feb each year',
      { interval: 'YEAR', intervalCount: 1 },
      'America/New_York',
      '2024-02-29T00:00',
      ['2025-02-28T00:00', '2026-02-28T00:00', '2027-02-28T00:00', '2028-02-29T00:00'],
    ],
    [
      'an hour that spring skips, then back to its own',
      { interval: 'DAY', intervalCount: 1 },
      'Europe/Berlin',
      '2026-03-28T02:30',
      ['2026-03-29T03:30', '2026-03-30T02:30'],
    ],
    [
      'midnights around the end of daylight saving',
      { interval: 'WEEK', intervalCount: 1 },
      'America/New_York',
      '2026-10-28T00:00',
      ['2026-11-04T00:00', '2026-11-11T00:00'],
    ],
    ['UTC+14', month, 'Pacific/Kiritimati', '2026-01-31T00:00', ['2026-02-28T00:00', '2026-03-31T00:00']],
    ['UTC-11', month, 'Pacific/Pago_Pago', '2026-01-31T00:00', ['2026-02-28T00:00', '2026-03-31T00:00']],
  ])('%s', (_name, rule, timeZone, anchor, boundaries) => {
    const cadence = { ...rule, timeZone, anchor: local(anchor, timeZone) };
    let period = periodAt(cadence, cadence.anchor);
    expect(wallClock(period.start, timeZone)).toBe(anchor);
    for (const boundary of boundaries) {
      expect(wallClock(period.end, timeZone)).toBe(boundary);
      expect(periodAt(cadence, period.end)).toEqual(periodAfter(cadence, period));
      period = periodAfter(cadence, period);
    }
  });

  test('a daylight saving change makes a day of 23 or 25 hours', () => {
    const daily = { interval: 'DAY', intervalCount: 1, timeZone: 'Europe/Berlin' } as const;
    const hours = ({ start, end }: Period) => (end.getTime() - start.getTime()) / 3_600_000;
    const on = (text: string) =>
      hours(periodAt({ ...daily, anchor: local(text, 'Europe/Berlin') }, local(text, 'Europe/Berlin')));
    expect([on('2026-03-29T00:00'), on('2026-10-25T00:00'), on('2026-10-26T00:00')]).toEqual([23, 25, 24]);
  });

  test('an anchor in the second of two repeated hours starts its own first period', () => {
    const anchor = new Date('2026-10-25T01:30:00Z'); // 02:30 in Berlin for the second time
    expect(periodAt({ interval: 'MONTH', intervalCount: 1, anchor, timeZone: 'Europe/Berlin' }, anchor).start).toEqual(
      anchor,
    );
  });

  test('a day that a zone never had is no period', () => {
    // Samoa went from 29 straight to 31 December 2011.
    const cadence = {
      interval: 'DAY',
      intervalCount: 1,
      anchor: local('2011-12-28T00:00', 'Pacific/Apia'),
      timeZone: 'Pacific/Apia',
    } as const;
    const lastBefore = periodAt(cadence, local('2011-12-29T12:00', 'Pacific/Apia'));
    const next = periodAfter(cadence, lastBefore);
    expect([wallClock(next.start, 'Pacific/Apia'), wallClock(next.end, 'Pacific/Apia')]).toEqual([
      '2011-12-31T00:00',
      '2012-01-01T00:00',
    ]);
  });
});

test('the period contains the instant, and the periods of a cadence tile time', () => {
  fc.assert(
    fc.property(cadences, fc.integer({ min: 0, max: 60 * 365 * 86_400_000 }), (cadence, elapsedMs) => {
      const at = new Date(cadence.anchor.getTime() + elapsedMs);
      const period = periodAt(cadence, at);
      expect(period.start.getTime()).toBeLessThanOrEqual(at.getTime());
      expect(at.getTime()).toBeLessThan(period.end.getTime());
      expect(periodAt(cadence, period.start)).toEqual(period);
      expect(periodAt(cadence, new Date(period.end.getTime() - 1))).toEqual(period);
      expect(periodAt(cadence, period.end)).toEqual(periodAfter(cadence, period));
    }),
    { numRuns: 300 },
  );
});

test('a daily anchor forty years back is as fast as a fresh one', () => {
  const anchor = new Date('1986-01-31T23:00:00Z');
  const cadence = { interval: 'DAY', intervalCount: 1, anchor, timeZone: 'Europe/Berlin' } as const;
  const startedMs = performance.now();
  expect(periodAt(cadence, new Date('2026-07-01T12:00:00Z')).start).toEqual(local('2026-07-01T00:00', 'Europe/Berlin'));
  expect(performance.now() - startedMs).toBeLessThan(50);
});

test('before the anchor there is no period', () => {
  const cadence = { interval: 'MONTH', intervalCount: 1, anchor: new Date('2026-04-01'), timeZone: 'UTC' } as const;
  expect(() => periodAt(cadence, new Date('2026-03-31T23:59:59.999Z'))).toThrow(
    expect.objectContaining({ code: 'INVALID', message: expect.stringContaining('2026-03-31T23:59:59.999Z') }),
  );
  expect(periodAt(cadence, cadence.anchor).start).toEqual(cadence.anchor);
});

test.each([0, -1, 1.5, Number.NaN])('a count of %p intervals is refused', (intervalCount) => {
  const anchor = new Date('2026-04-01');
  expect(() => periodAt({ interval: 'MONTH', intervalCount, anchor, timeZone: 'UTC' }, anchor)).toThrow(
    expect.objectContaining({ code: 'INVALID' }),
  );
});

test('the next period starts at the end of the last, even when the time zone changed in between', () => {
  const anchor = local('2026-03-01T00:00', 'Europe/Berlin'); // 23:00Z on 28 February
  const berlin = { interval: 'MONTH', intervalCount: 1, anchor, timeZone: 'Europe/Berlin' } as const;
  const march = periodAt(berlin, anchor);
  expect(periodAfter({ ...berlin, timeZone: 'UTC' }, march)).toEqual({
    start: march.end,
    end: new Date('2026-04-28T23:00:00Z'),
  });
});

test.each([
  ['2026-04-10T10:00:00Z', 'UTC', '2026-04-10'],
  ['2026-04-10T10:00:00Z', 'Pacific/Kiritimati', '2026-04-11'],
  ['2026-04-10T10:00:00Z', 'Pacific/Pago_Pago', '2026-04-09'],
  ['2026-12-31T23:30:00Z', 'Europe/Berlin', '2027-01-01'],
])('%s in %s is %s', (at, timeZone, date) => {
  expect(localDate(new Date(at), timeZone)).toBe(date);
});

test.each([
  ['a month', 'UTC', '2024-01-01T00:00', '2024-02-01T00:00', '2024-01-31'],
  ['a month that starts in the afternoon', 'UTC', '2026-04-01T15:00', '2026-05-01T15:00', '2026-04-30'],
  ['a February of a leap year', 'Pacific/Kiritimati', '2028-02-01T00:00', '2028-03-01T00:00', '2028-02-29'],
  ['a day of 23 hours', 'Europe/Berlin', '2026-03-29T00:00', '2026-03-30T00:00', '2026-03-29'],
  ['a part of a day', 'Pacific/Pago_Pago', '2026-04-10T09:00', '2026-04-10T17:00', '2026-04-10'],
])('the last day of %s is inclusive', (_name, timeZone, start, end, day) => {
  expect(lastDay({ start: local(start, timeZone), end: local(end, timeZone) }, timeZone)).toBe(day);
});

test.each([
  ['the day spring cuts short', 'Europe/Berlin', '2026-03-29T00:00', '2026-03-30T00:00', 1],
  ['the day autumn makes longer', 'America/New_York', '2026-11-01T00:00', '2026-11-02T00:00', 1],
  ['five minutes over midnight', 'Pacific/Kiritimati', '2026-04-10T23:58', '2026-04-11T00:03', 1],
  ['a day from morning to night', 'Pacific/Pago_Pago', '2026-04-10T00:00', '2026-04-10T23:59', 0],
  ['a leap year', 'America/New_York', '2028-01-01T00:00', '2029-01-01T00:00', 366],
  ['backwards', 'UTC', '2026-04-11T00:00', '2026-04-10T00:00', -1],
])('%s counts local calendar days', (_name, timeZone, from, to, days) => {
  expect(daysBetween({ from: local(from, timeZone), to: local(to, timeZone), timeZone })).toBe(days);
});

test('IANA names are time zones, and Temporal takes each of them', () => {
  for (const name of [...Intl.supportedValuesOf('timeZone'), 'UTC', 'Asia/Calcutta', 'Asia/Kolkata']) {
    expect([name, isTimeZone(name)]).toEqual([name, true]);
    expect(localDate(new Date('2026-04-10T12:00:00Z'), name)).toMatch(/^2026-04-1[01]$|^2026-04-09$/);
  }
});

test.each([
  '',
  'Mars/Olympus',
  '+01:00',
  '-05',
  '2026-01-01T00:00Z',
  'Europe/Berlin ',
])('%p is no time zone', (name) => {
  expect(isTimeZone(name)).toBe(false);
});

test.each([
  ['2026-11-01', 'UTC', '2026-11-01T00:00:00.000Z'],
  ['2026-11-01', 'Asia/Tokyo', '2026-10-31T15:00:00.000Z'],
  ['2026-03-29', 'Europe/Berlin', '2026-03-28T23:00:00.000Z'],
  ['2026-02-29', 'UTC', undefined],
  ['2026-11-01T00:00:00Z', 'UTC', undefined],
  ['1 Nov', 'UTC', undefined],
])('%s begins in %s at %s', (date, timeZone, at) => {
  expect(startOfDay(date, timeZone)?.toISOString()).toBe(at);
});
