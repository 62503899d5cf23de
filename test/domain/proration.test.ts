import fc from 'fast-check';
import { daysBetween, type Period } from '../../src/domain/period.js';
import { isWhole, prorateMinor, shareOf, timesFraction, unusedFraction, whole } from '../../src/domain/proration.js';

const april: Period = { start: new Date('2026-04-01T00:00:00Z'), end: new Date('2026-05-01T00:00:00Z') };
const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Kiritimati', 'Pacific/Pago_Pago'];
const at = (text: string, timeZone: string): Date =>
  new Date(Temporal.PlainDateTime.from(text).toZonedDateTime(timeZone).epochMilliseconds);

describe('3000 → 6000 a month, changed on 11 April at 12:00Z', () => {
  test.each([
    ['PER_DAY', 'unused', 2000n, 4000n],
    ['PER_DAY', 'used', 1900n, 3800n],
    ['PER_SECOND', 'unused', 1950n, 3900n],
    ['NONE', 'unused', 0n, 0n],
  ] as const)('%s with the change day %s credits %p and charges %p', (proration, changeDay, credit, charge) => {
    const fraction = unusedFraction({
      period: april,
      at: new Date('2026-04-11T12:00:00Z'),
      timeZone: 'UTC',
      proration,
      changeDay,
    });
    expect(prorateMinor({ amountMinor: -3000n, fraction })).toBe(-credit);
    expect(prorateMinor({ amountMinor: 6000n, fraction })).toBe(charge);
  });
});

describe('PER_DAY counts days of the local calendar', () => {
  test.each([
    [
      'a month with a day of 23 hours',
      'Europe/Berlin',
      '2026-03-01T00:00',
      '2026-04-01T00:00',
      '2026-03-29T23:30',
      3n,
      31n,
    ],
    [
      'a month with a day of 25 hours',
      'America/New_York',
      '2026-11-01T00:00',
      '2026-12-01T00:00',
      '2026-11-01T23:30',
      30n,
      30n,
    ],
    ['29 February', 'Europe/Berlin', '2028-02-01T00:00', '2028-03-01T00:00', '2028-02-29T00:00', 1n, 29n],
    ['UTC+14', 'Pacific/Kiritimati', '2026-04-01T00:00', '2026-05-01T00:00', '2026-04-11T00:00', 20n, 30n],
    ['UTC-11', 'Pacific/Pago_Pago', '2026-04-01T00:00', '2026-05-01T00:00', '2026-04-10T23:59', 21n, 30n],
    ['a period from noon to noon', 'UTC', '2026-04-01T12:00', '2026-05-01T12:00', '2026-05-01T08:00', 0n, 30n],
  ])('%s', (_name, timeZone, start, end, change, numerator, denominator) => {
    const period = { start: at(start, timeZone), end: at(end, timeZone) };
    const rule = { period, at: at(change, timeZone), timeZone, proration: 'PER_DAY' } as const;
    expect(unusedFraction({ ...rule, changeDay: 'unused' })).toEqual({ numerator, denominator });
    expect(unusedFraction({ ...rule, changeDay: 'used' })).toEqual({
      numerator: numerator > 0n ? numerator - 1n : 0n,
      denominator,
    });
  });
});

test('a period within one local day is prorated by seconds', () => {
  const period = { start: new Date('2026-04-10T08:00:00Z'), end: new Date('2026-04-10T18:00:00Z') };
  const rule = { period, timeZone: 'UTC', proration: 'PER_DAY', changeDay: 'used' } as const;
  const fraction = unusedFraction({ ...rule, at: new Date('2026-04-10T10:30:00Z') });
  expect(prorateMinor({ amountMinor: 1000n, fraction })).toBe(750n);
});

test('an empty period has nothing left', () => {
  const period = { start: april.start, end: april.start };
  for (const proration of ['PER_DAY', 'PER_SECOND', 'NONE'] as const) {
    const fraction = unusedFraction({ period, at: april.start, timeZone: 'UTC', proration, changeDay: 'unused' });
    expect(prorateMinor({ amountMinor: 1000n, fraction })).toBe(0n);
  }
});

test.each([
  'PER_DAY',
  'PER_SECOND',
] as const)('%s: before the period all of it is unused, after it nothing', (proration) => {
  for (const changeDay of ['unused', 'used'] as const) {
    const rule = { period: april, timeZone: 'UTC', proration, changeDay };
    expect(isWhole(unusedFraction({ ...rule, at: new Date('2026-03-20T00:00:00Z') }))).toBe(true);
    expect(unusedFraction({ ...rule, at: new Date('2026-05-20T00:00:00Z') }).numerator).toBe(0n);
  }
});

const splits = fc
  .record({
    startMs: fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2030, 0) }),
    lengthMs: fc.integer({ min: 1, max: 366 * 86_400_000 }),
    cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 }),
    amountMinor: fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
    timeZone: fc.constantFrom(...zones),
    proration: fc.constantFrom('PER_DAY' as const, 'PER_SECOND' as const),
  })
  .map(({ startMs, lengthMs, cuts, ...rest }) => {
    const end = startMs + lengthMs;
    const inside = cuts.map((cut) => Math.floor(startMs + cut * lengthMs)).sort((a, b) => a - b);
    const instants = [startMs, ...inside, end].map((ms) => new Date(ms));
    return { ...rest, instants, period: { start: new Date(startMs), end: new Date(end) } };
  });

test('the parts of any split of a period add up to the whole', () => {
  fc.assert(
    fc.property(splits, ({ period, instants, amountMinor, timeZone, proration }) => {
      const unused = instants.map((instant) =>
        unusedFraction({ period, at: instant, timeZone, proration, changeDay: 'unused' }),
      );
      const denominator = unused[0]!.denominator;
      const parts = unused.slice(1).map((later, i) => {
        expect(later.denominator).toBe(denominator);
        return { numerator: unused[i]!.numerator - later.numerator, denominator };
      });
      expect(parts.every(({ numerator }) => numerator >= 0n)).toBe(true);
      expect(parts.reduce((sum, { numerator }) => sum + numerator, 0n)).toBe(denominator);

      // Each part is rounded on its own, by half a unit at most.
      const rounded = parts.reduce((sum, fraction) => sum + prorateMinor({ amountMinor, fraction }), 0n);
      const drift = rounded > amountMinor ? rounded - amountMinor : amountMinor - rounded;
      expect(2n * drift).toBeLessThanOrEqual(BigInt(parts.length));
    }),
  );
});

test('a cancellation leaves one day less than a change of plan, as its day counts as used', () => {
  fc.assert(
    fc.property(splits, ({ period, instants, timeZone }) => {
      for (const instant of instants) {
        const rule = { period, at: instant, timeZone, proration: 'PER_DAY' } as const;
        const change = unusedFraction({ ...rule, changeDay: 'unused' });
        const cancellation = unusedFraction({ ...rule, changeDay: 'used' });
        const inDays = daysBetween({ from: period.start, to: period.end, timeZone }) > 0;
        const expected = inDays && change.numerator > 0n ? change.numerator - 1n : change.numerator;
        expect(cancellation).toEqual({ numerator: expected, denominator: change.denominator });
      }
    }),
  );
});

describe('shares are rounded HALF_UP', () => {
  test.each([
    [1n, 1n, 2n, 1n],
    [-1n, 1n, 2n, -1n],
    [1n, 1n, 3n, 0n],
    [2n, 1n, 3n, 1n],
    [-2n, 1n, 3n, -1n],
    [5n, 1n, 10n, 1n],
    [-5n, 1n, 10n, -1n],
    [4n, 1n, 10n, 0n],
    [1000n, 0n, 30n, 0n],
    [1000n, 30n, 30n, 1000n],
    [9_007_199_254_740_993n, 1n, 1n, 9_007_199_254_740_993n],
  ])('%p × %p / %p = %p', (amountMinor, numerator, denominator, share) => {
    expect(prorateMinor({ amountMinor, fraction: { numerator, denominator } })).toBe(share);
  });

  test('a credit mirrors the charge of the same amount', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 18n }),
        fc.bigInt(0n, 366n),
        fc.bigInt(1n, 366n),
        (amountMinor, n, d) => {
          const fraction = { numerator: n, denominator: d };
          expect(prorateMinor({ amountMinor: -amountMinor, fraction })).toBe(-prorateMinor({ amountMinor, fraction }));
        },
      ),
    );
  });
});

describe('parts of a whole add up to the whole', () => {
  const zoned = fc.record({
    timeZone: fc.constantFrom(...zones, 'Pacific/Apia'),
    start: fc.date({ min: new Date('2011-06-01'), max: new Date('2030-01-01'), noInvalidDate: true }),
    days: fc.integer({ min: 2, max: 400 }),
    cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
  });

  test('the shares of consecutive parts of a period sum to exactly 1', () => {
    fc.assert(
      fc.property(zoned, ({ timeZone, start, days, cuts }) => {
        const full = { start, end: new Date(start.getTime() + days * 86_400_000) };
        const times = cuts
          .map((cut) => new Date(start.getTime() + Math.floor(cut * days * 86_400_000)))
          .sort((a, b) => a.getTime() - b.getTime());
        const bounds = [full.start, ...times, full.end];
        const shares = bounds.slice(1).map((end, i) => {
          const part = { start: bounds[i]!, end };
          return shareOf({ full, part, timeZone, lastDay: 'unused' });
        });
        expect(new Set(shares.map(({ denominator }) => denominator)).size).toBe(1);
        const sum = shares.reduce((total, { numerator }) => total + numerator, 0n);
        expect(sum).toBe(shares[0]!.denominator);
        expect(shares.every(({ numerator }) => numerator >= 0n)).toBe(true);
      }),
      { numRuns: 10_000 },
    );
  });

  test('what is used and what is unused at any time sum to exactly 1', () => {
    fc.assert(
      fc.property(
        zoned,
        fc.constantFrom('PER_DAY', 'PER_SECOND'),
        fc.constantFrom('used', 'unused'),
        ({ timeZone, start, days, cuts }, proration, changeDay) => {
          const period = { start, end: new Date(start.getTime() + days * 86_400_000) };
          const at = new Date(start.getTime() + Math.floor((cuts[0] ?? 0) * days * 86_400_000));
          const unused = unusedFraction({ period, at, timeZone, proration, changeDay });
          if (proration === 'PER_DAY') {
            const used = shareOf({ full: period, part: { start, end: at }, timeZone, lastDay: changeDay });
            expect(used.numerator + unused.numerator).toBe(unused.denominator);
          } else {
            expect(BigInt(at.getTime() - start.getTime()) + unused.numerator).toBe(unused.denominator);
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });
});

test('a share of a share is exact', () => {
  const half = { numerator: 1n, denominator: 2n };
  const third = { numerator: 1n, denominator: 3n };
  expect(timesFraction(half, third)).toEqual({ numerator: 1n, denominator: 6n });
  expect(timesFraction(half, whole)).toEqual(half);
  expect([whole, half].map(isWhole)).toEqual([true, false]);
});
