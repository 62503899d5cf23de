import fc from 'fast-check';
import { shortMinor } from '../../src/domain/minimumSpend.js';
import { type BilledLine, proposeBookings, type RepricedUse } from '../../src/domain/proposal.js';

const line = (id: string, amountMinor: bigint, more: Partial<BilledLine> = {}): BilledLine => ({
  id,
  amountMinor,
  discountMinor: 0n,
  creditedMinor: 0n,
  ...more,
});
const use = (windowId: string, previousMinor: bigint, correctedMinor: bigint, billed?: BilledLine): RepricedUse => ({
  windowId,
  previousMinor,
  correctedMinor,
  line: billed,
});
/** `CREDIT_NOTE a 5`, where `a` is the line. */
const shown = (of: Parameters<typeof proposeBookings>[0]) =>
  proposeBookings(of).map((booking) => `${booking.kind} ${booking.line?.id ?? '-'} ${booking.amountMinor}`);

test.each([
  ['a line without coupons: the whole difference', { discountMinor: 0n, creditedMinor: 0n }, 1500n],
  ['25 % off: their share stays with the coupon', { discountMinor: 5_500n, creditedMinor: 0n }, 1125n],
  ['some of it credited before', { discountMinor: 5_500n, creditedMinor: 15_500n }, 1000n],
  ['all of it credited before: nothing', { discountMinor: 5_500n, creditedMinor: 16_500n }, undefined],
  ['a line that coupons paid whole: nothing', { discountMinor: 22_000n, creditedMinor: 0n }, undefined],
  ['no line: nothing was charged', undefined, undefined],
] as const)('cheaper by 15.00, %s', (_what, of, expected) => {
  const billed = of && line('a', 22_000n, of);
  const booked = shown({ uses: [use('w', 22_000n, 20_500n, billed)], minimum: undefined });
  expect(booked).toEqual(expected === undefined ? [] : [`CREDIT_NOTE a ${expected}`]);
});

test('dearer: one more line, whole, whatever the line before was', () => {
  const billed = line('a', 353n, { discountMinor: 100n, creditedMinor: 253n });
  expect(shown({ uses: [use('w', 353n, 600n, billed)], minimum: undefined })).toEqual(['EXTRA_LINE a 247']);
  expect(shown({ uses: [use('w', 0n, 5n)], minimum: undefined })).toEqual(['EXTRA_LINE - 5']);
});

test('no other price, nothing to book', () => {
  expect(shown({ uses: [use('w', 353n, 353n, line('a', 353n))], minimum: undefined })).toEqual([]);
});

describe('with a minimum of 20', () => {
  const topped = { owedMinor: 20n, line: line('min', 10n), kin: undefined };
  const reached = { owedMinor: 20n, line: undefined, kin: undefined };
  test.each([
    ['topped up: less changes nothing', topped, 10n, 0n, []],
    ['topped up: more within it changes nothing', topped, 10n, 20n, []],
    ['topped up: of more only what passes it', topped, 10n, 25n, ['EXTRA_LINE a 5']],
    ['passed by a correction before: down to it again', topped, 25n, 3n, ['CREDIT_NOTE a 5']],
    [
      'passed far: what the line lacks is taken of the minimum',
      topped,
      45n,
      3n,
      ['CREDIT_NOTE a 10', 'CREDIT_NOTE min 10'],
    ],
    ['reached: less, down to it', { ...reached }, 30n, 5n, ['CREDIT_NOTE a 10']],
    ['reached: less, and still above it', reached, 30n, 24n, ['CREDIT_NOTE a 6']],
    ['reached: more', reached, 30n, 31n, ['EXTRA_LINE a 1']],
  ])('%s', (_what, minimum, previous, corrected, expected) => {
    const billed = line('a', minimum.line ? 10n : 30n);
    expect(shown({ uses: [use('w', previous, corrected, billed)], minimum })).toEqual(expected);
  });

  test('a metric that was never charged gives back what passed it from the minimum', () => {
    const minimum = { ...topped, line: line('min', 20n) };
    expect(shown({ uses: [use('w', 0n, 26n)], minimum })).toEqual(['EXTRA_LINE - 6']);
    expect(shown({ uses: [use('w', 26n, 4n)], minimum })).toEqual(['CREDIT_NOTE min 6']);
  });

  test('what one metric leaves, another fills up', () => {
    const uses = [use('v', 4n, 14n, line('b', 4n)), use('w', 26n, 8n, line('a', 26n))];
    expect(shown({ uses, minimum: reached })).toEqual(['EXTRA_LINE b 2', 'CREDIT_NOTE a 10']);
    const less = [use('v', 4n, 9n, line('b', 4n)), use('w', 26n, 8n, line('a', 26n))];
    expect(shown({ uses: less, minimum: reached })).toEqual(['CREDIT_NOTE a 10']);
  });
});

test.each([
  ['a tenth off all: of the difference', 3n, { discountMinor: 1n, amountMinor: 10n }, 'CREDIT_NOTE a 9'],
  [
    'a tenth off the metric: the minimum comes back without it',
    3n,
    { discountMinor: 0n, amountMinor: 10n },
    'CREDIT_NOTE a 8',
  ],
  [
    'a tenth off the plan: the minimum comes back with it',
    0n,
    { discountMinor: 1n, amountMinor: 10n },
    'CREDIT_NOTE a 11',
  ],
])('30 becomes 10 under a minimum of 20 and %s', (_what, discountMinor, fee, expected) => {
  const minimum = { owedMinor: 20n, line: undefined, kin: line('fee', 10n, fee) };
  const billed = line('a', 30n, { discountMinor });
  expect(shown({ uses: [use('w', 30n, 10n, billed)], minimum })).toEqual([expected]);
});

const amounts = fc.array(fc.bigInt({ min: 0n, max: 50n }), { minLength: 3, maxLength: 3 });
const owedOf = fc.option(fc.bigInt({ min: 0n, max: 120n }));
const sum = (of: readonly bigint[]): bigint => of.reduce((total, one) => total + one, 0n);
const names = ['a', 'b', 'c'];

/** What these prices come to with the minimum. */
const wholeOf = (prices: readonly bigint[], owedMinor: bigint | null): bigint =>
  sum(prices) + shortMinor({ owedMinor: owedMinor ?? 0n, spentMinor: sum(prices) });

/** The invoice that bills these prices. */
const billOf = (prices: readonly bigint[], owedMinor: bigint | null): Map<string, BilledLine> => {
  const short = wholeOf(prices, owedMinor) - sum(prices);
  const lines = [...prices.map((price, i) => line(names[i]!, price)), line('min', short)];
  return new Map(lines.filter(({ amountMinor }) => amountMinor > 0n).map((one) => [one.id, one]));
};

/** Books what is proposed; what it comes to. */
function book(
  lines: Map<string, BilledLine>,
  of: { from: readonly bigint[]; to: readonly bigint[]; owedMinor: bigint | null },
) {
  const uses = of.to.map((price, i) => use(names[i]!, of.from[i]!, price, lines.get(names[i]!)));
  const minimum =
    of.owedMinor === null ? undefined : { owedMinor: of.owedMinor, line: lines.get('min'), kin: undefined };
  return sum(
    proposeBookings({ uses, minimum }).map(({ kind, amountMinor, line: billed }) => {
      if (kind === 'EXTRA_LINE') return amountMinor;
      const creditedMinor = billed!.creditedMinor + amountMinor;
      expect(creditedMinor <= billed!.amountMinor).toBe(true);
      lines.set(billed!.id, { ...billed!, creditedMinor });
      return -amountMinor;
    }),
  );
}

test('a correction of what was billed books the difference of the whole', () => {
  fc.assert(
    fc.property(amounts, amounts, owedOf, (from, to, owedMinor) => {
      const booked = book(billOf(from, owedMinor), { from, to, owedMinor });
      expect(booked).toBe(wholeOf(to, owedMinor) - wholeOf(from, owedMinor));
    }),
  );
});

test('so do many corrections that each take something back', () => {
  fc.assert(
    fc.property(amounts, fc.array(amounts, { maxLength: 6 }), owedOf, (first, cuts, owedMinor) => {
      const lines = billOf(first, owedMinor);
      let [from, booked] = [first, 0n];
      for (const cut of cuts) {
        const to = from.map((price, i) => (price > cut[i]! ? price - cut[i]! : 0n));
        booked += book(lines, { from, to, owedMinor });
        from = to;
      }
      expect(booked).toBe(wholeOf(from, owedMinor) - wholeOf(first, owedMinor));
    }),
  );
});
