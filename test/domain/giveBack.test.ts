import fc from 'fast-check';
import { type BilledFee, giveBack } from '../../src/domain/giveBack.js';
import type { Period } from '../../src/domain/period.js';
import { type Fraction, unusedFraction } from '../../src/domain/proration.js';

const day = (n: number): Date => new Date(Date.UTC(2026, 3, n));
const april: Period = { start: day(1), end: day(31) };
const from = (n: number): Period => ({ start: day(n), end: april.end });
const fee = (amountMinor: bigint, of: Partial<BilledFee> = {}): BilledFee => ({
  period: april,
  amountMinor,
  discountMinor: 0n,
  notedMinor: 0n,
  credited: [],
  ...of,
});
const of = (n: number) => ({ at: day(n), timeZone: 'UTC', proration: 'PER_DAY', changeDay: 'unused' }) as const;
/** What is given back of each fee from the n-th day on, of a plan for `feeMinor` a month. */
const given = (fees: readonly BilledFee[], { n, feeMinor }: { n: number; feeMinor: bigint }): [number, bigint][] => {
  const unused: Fraction = unusedFraction({ period: april, ...of(n) });
  return giveBack(fees, { feeMinor, unused, of: of(n) }).map((one) => [fees.indexOf(one.fee), one.amountMinor]);
};

test.each<[string, BilledFee[], { n: number; feeMinor: bigint }, [number, bigint][]]>([
  ['a fee: its unused share', [fee(3000n)], { n: 11, feeMinor: 3000n }, [[0, 2000n]]],
  [
    'of a discounted one what was left to pay',
    [fee(3000n, { discountMinor: 1500n })],
    { n: 11, feeMinor: 3000n },
    [[0, 1000n]],
  ],
  ['of one that cost nothing, nothing', [fee(3000n, { discountMinor: 3000n })], { n: 11, feeMinor: 3000n }, []],
  ['nothing was billed', [], { n: 11, feeMinor: 3000n }, []],
  ['a dearer plan: not more than what was billed', [fee(3000n)], { n: 16, feeMinor: 9000n }, [[0, 1500n]]],
  ['a cheaper plan: not more than it costs', [fee(9000n)], { n: 16, feeMinor: 3000n }, [[0, 1500n]]],
  ['a note gave back half of every day', [fee(3000n, { notedMinor: 1500n })], { n: 16, feeMinor: 3000n }, [[0, 750n]]],
  [
    'after an upgrade: of what the upgrade charged',
    [fee(4000n, { period: from(11) }), fee(3000n, { credited: [{ period: from(11), amountMinor: 2000n }] })],
    { n: 21, feeMinor: 6000n },
    [[0, 2000n]],
  ],
  [
    'a note over the days used takes nothing from the days to come',
    [
      fee(4000n, { period: from(11) }),
      fee(3000n, { notedMinor: 1000n, credited: [{ period: from(11), amountMinor: 2000n }] }),
    ],
    { n: 21, feeMinor: 6000n },
    [[0, 2000n]],
  ],
  [
    'what the newest did not bill comes from the older one',
    [fee(1000n, { period: from(11) }), fee(3000n)],
    { n: 21, feeMinor: 6000n },
    [
      [0, 500n],
      [1, 1000n],
    ],
  ],
  [
    'the older one at its own discount',
    [fee(1000n, { period: from(11) }), fee(6000n, { discountMinor: 3000n })],
    { n: 21, feeMinor: 3000n },
    [
      [0, 500n],
      [1, 250n],
    ],
  ],
  ['a third of a cent that rounding charged is given back', [fee(100n)], { n: 21, feeMinor: 101n }, [[0, 34n]]],
])('%s', (_name, fees, asked, expected) => {
  expect(given(fees, asked)).toEqual(expected);
});

const anyFee = fc
  .record({
    amountMinor: fc.bigInt(1n, 100_000n),
    start: fc.integer({ min: 1, max: 15 }),
    discount: fc.bigInt(0n, 100n),
    noted: fc.bigInt(0n, 100n),
    credited: fc.bigInt(0n, 100n),
    from: fc.integer({ min: 15, max: 20 }),
  })
  .map(({ amountMinor, start, discount, noted, credited, from: n }) => {
    const discountMinor = (amountMinor * discount) / 100n;
    const notedMinor = ((amountMinor - discountMinor) * noted) / 100n;
    const creditedMinor = ((amountMinor - discountMinor - notedMinor) * credited) / 100n;
    return fee(amountMinor, {
      period: from(start),
      discountMinor,
      notedMinor,
      credited: [{ period: from(n), amountMinor: creditedMinor }],
    });
  });

test('never more than is left of a fee, nor than the unused share of the plan, nor below zero', () => {
  const input = fc.record({
    fees: fc.array(anyFee, { maxLength: 4 }),
    n: fc.integer({ min: 20, max: 31 }),
    feeMinor: fc.bigInt(0n, 200_000n),
  });
  fc.assert(
    fc.property(input, ({ fees, n, feeMinor }) => {
      const all = given(fees, { n, feeMinor });
      for (const [i, amountMinor] of all) {
        const { amountMinor: whole, discountMinor, notedMinor, credited } = fees[i]!;
        if (amountMinor <= 0n) throw new Error('a credit of nothing');
        if (amountMinor > whole - discountMinor - notedMinor - credited[0]!.amountMinor)
          throw new Error('more than is left');
      }
      const unused = unusedFraction({ period: april, ...of(n) });
      const sum = all.reduce((total, [, amountMinor]) => total + amountMinor, 0n);
      const exact = feeMinor * unused.numerator;
      if (2n * (sum * unused.denominator - exact) > unused.denominator) throw new Error('more than the plan costs');
    }),
    { numRuns: 5_000 },
  );
});
