import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { type BilledLine, type DiscountTerms, isDiscountable } from '../../src/domain/discount.js';
import { billInvoice } from '../../src/domain/invoiceTotals.js';
import type { TaxTerms } from '../../src/domain/tax.js';

const fee = (amountMinor: bigint, planCode = 'basic'): BilledLine => ({ kind: 'fee', planCode, amountMinor });
const usage = (amountMinor: bigint, metricCode = 'minutes'): BilledLine => ({ kind: 'usage', metricCode, amountMinor });
const coupon = (of: Partial<Omit<DiscountTerms, 'percent'>> & { percent?: string }): DiscountTerms => ({
  amountMinor: null,
  planCodes: [],
  metricCodes: [],
  ...of,
  percent: of.percent === undefined ? null : new Decimal(of.percent),
});
const rate = (percent: string, inclusive = false, name = 'VAT'): TaxTerms => ({
  name,
  percent: new Decimal(percent),
  inclusive,
});
const bill = (of: Partial<Parameters<typeof billInvoice>[0]>) =>
  billInvoice({ lines: [], coupons: [], taxRates: [], taxExempt: false, creditMinor: 0n, walletMinor: 0n, ...of });

describe('without coupons and taxes', () => {
  test.each([
    ['no lines', [], 500n, { subtotalMinor: 0n, totalMinor: 0n, creditToWalletMinor: 0n, amountDueMinor: 0n }],
    ['an empty wallet', [4900n, 105n], 0n, { subtotalMinor: 5005n, totalMinor: 5005n, amountDueMinor: 5005n }],
    ['a wallet that covers a part', [-2000n, 4000n], 300n, { walletAppliedMinor: 300n, amountDueMinor: 1700n }],
    ['a wallet that covers it all', [2000n], 9999n, { walletAppliedMinor: 2000n, amountDueMinor: 0n }],
    ['a wallet below zero', [2000n], -50n, { walletAppliedMinor: 0n, amountDueMinor: 2000n }],
    ['lines below zero', [-4000n, 1500n], 700n, { totalMinor: 0n, creditToWalletMinor: 2500n, walletAppliedMinor: 0n }],
  ])('%s', (_name, amounts, walletMinor, expected) => {
    expect(bill({ lines: amounts.map((amount) => fee(amount)), walletMinor })).toMatchObject(expected);
  });

  test('credit notes pay before the wallet', () => {
    expect(bill({ lines: [fee(3000n)], creditMinor: 1000n, walletMinor: 5000n })).toMatchObject({
      creditAppliedMinor: 1000n,
      walletAppliedMinor: 2000n,
      amountDueMinor: 0n,
    });
  });
});

describe('coupons', () => {
  test.each<[string, BilledLine[], DiscountTerms[], bigint[], bigint[]]>([
    ['a percentage', [fee(3000n)], [coupon({ percent: '25' })], [750n], [750n]],
    ['a percentage is rounded HALF_UP once', [fee(5n), fee(5n)], [coupon({ percent: '25' })], [2n, 1n], [3n]],
    ['an amount', [fee(3000n)], [coupon({ amountMinor: 500n })], [500n], [500n]],
    ['at most what is there', [fee(3000n)], [coupon({ amountMinor: 5000n })], [3000n], [3000n]],
    [
      'an amount is spread in proportion, the rest to the largest remainder',
      [fee(100n), fee(100n), fee(100n)],
      [coupon({ amountMinor: 100n })],
      [34n, 33n, 33n],
      [100n],
    ],
    ['never more than a line', [fee(1n), fee(1n), fee(1n)], [coupon({ amountMinor: 2n })], [1n, 1n, 0n], [2n]],
    [
      'one after the other on what is left',
      [fee(10_000n)],
      [coupon({ percent: '50' }), coupon({ percent: '50' }), coupon({ amountMinor: 9000n })],
      [10_000n],
      [5000n, 2500n, 2500n],
    ],
    ['credits are not discounted', [fee(-2000n), fee(4000n)], [coupon({ percent: '50' })], [0n, 2000n], [2000n]],
    [
      'limited to a plan',
      [fee(3000n, 'basic'), fee(1000n, 'premium'), usage(500n)],
      [coupon({ percent: '10', planCodes: ['basic'] })],
      [300n, 0n, 0n],
      [300n],
    ],
    [
      'limited to a metric',
      [fee(3000n), usage(500n, 'minutes'), usage(700n, 'requests'), { kind: 'one_off', amountMinor: 900n }],
      [coupon({ percent: '10', metricCodes: ['minutes'] })],
      [0n, 50n, 0n, 0n],
      [50n],
    ],
    [
      'without limits, one-off lines too',
      [{ kind: 'one_off', amountMinor: 900n }],
      [coupon({ percent: '10' })],
      [90n],
      [90n],
    ],
  ])('%s', (_name, lines, coupons, byLine, byCoupon) => {
    const made = bill({ lines, coupons });
    expect(made.lineDiscountsMinor).toEqual(byLine);
    expect(made.discounts.map(({ amountMinor }) => amountMinor)).toEqual(byCoupon);
  });

  test('one that could not discount a line is not listed, one for which nothing was left is', () => {
    const all = coupon({ percent: '100' });
    const late = coupon({ percent: '10' });
    const other = coupon({ percent: '10', planCodes: ['premium'] });
    expect(bill({ lines: [fee(3000n)], coupons: [all, late, other] }).discounts).toEqual([
      { coupon: all, amountMinor: 3000n },
      { coupon: late, amountMinor: 0n },
    ]);
  });
});

describe('taxes', () => {
  const summary = (of: Parameters<typeof bill>[0]) => {
    const { taxes, taxMinor, totalMinor, creditToWalletMinor } = bill(of);
    return [taxes.map((tax) => [tax.taxableMinor, tax.amountMinor]), taxMinor, totalMinor, creditToWalletMinor];
  };

  test.each<[string, Parameters<typeof bill>[0], unknown[]]>([
    ['on top', { lines: [fee(3000n)], taxRates: [rate('19')] }, [[[3000n, 570n]], 570n, 3570n, 0n]],
    ['contained', { lines: [fee(3000n)], taxRates: [rate('19', true)] }, [[[2521n, 479n]], 479n, 3000n, 0n]],
    [
      'two on top, both on the net',
      { lines: [fee(10_000n)], taxRates: [rate('5'), rate('9.975')] },
      [
        [
          [10_000n, 500n],
          [10_000n, 998n],
        ],
        1498n,
        11_498n,
        0n,
      ],
    ],
    [
      'one contained and one on top, which applies to the net',
      { lines: [fee(12_100n)], taxRates: [rate('21', true), rate('10')] },
      [
        [
          [10_000n, 2100n],
          [10_000n, 1000n],
        ],
        3100n,
        13_100n,
        0n,
      ],
    ],
    [
      'after the discount',
      { lines: [fee(3000n)], coupons: [coupon({ percent: '50' })], taxRates: [rate('20')] },
      [[[1500n, 300n]], 300n, 1800n, 0n],
    ],
    [
      'once over all lines, not line by line',
      { lines: [fee(1n), fee(1n), fee(1n)], taxRates: [rate('20')] },
      [[[3n, 1n]], 1n, 4n, 0n],
    ],
    ['exempt', { lines: [fee(3000n)], taxRates: [rate('19'), rate('7', true)], taxExempt: true }, [[], 0n, 3000n, 0n]],
    [
      'a credit takes its tax along',
      { lines: [fee(-2000n)], taxRates: [rate('19')] },
      [[[-2000n, -380n]], -380n, 0n, 2380n],
    ],
    [
      'a credit contains its tax',
      { lines: [fee(-2380n)], taxRates: [rate('19', true)] },
      [[[-2000n, -380n]], -380n, 0n, 2380n],
    ],
    [
      'many rates contained in a few cents share them',
      { lines: [fee(6n)], taxRates: Array.from({ length: 10 }, () => rate('100', true)) },
      [Array.from({ length: 10 }, (_, i) => [0n, i < 6 ? 1n : 0n]), 6n, 6n, 0n],
    ],
  ])('%s', (_name, input, expected) => {
    expect(summary(input)).toEqual(expected);
  });

  const credit = (amountMinor: bigint, ...taxRates: TaxTerms[]): BilledLine => ({
    kind: 'proration_credit',
    amountMinor,
    taxRates,
  });
  test.each<[string, Parameters<typeof bill>[0], unknown[]]>([
    [
      'a credit of what was not taxed is not taxed',
      { lines: [credit(-2900n)], taxRates: [rate('19')] },
      [[], 0n, 0n, 2900n],
    ],
    [
      'a credit of what was taxed takes that tax along, whoever is exempt now',
      { lines: [credit(-2900n, rate('19'))], taxRates: [rate('20')], taxExempt: true },
      [[[-2900n, -551n]], -551n, 0n, 3451n],
    ],
    [
      'credit at old rates, charge at new ones',
      { lines: [credit(-2000n, rate('19')), fee(4000n)], taxRates: [rate('20')] },
      [
        [
          [4000n, 800n],
          [-2000n, -380n],
        ],
        420n,
        2420n,
        0n,
      ],
    ],
    [
      'the same rates are one',
      { lines: [credit(-1n, rate('50')), fee(2n)], taxRates: [rate('50')] },
      [[[1n, 1n]], 1n, 2n, 0n],
    ],
    [
      'a rate of both is rounded once, over both: 0.5 − 0.2 = 0.3, though 0.5 alone is 1',
      { lines: [credit(-1n, rate('20'), rate('7', false, 'City')), fee(1n), fee(1n)], taxRates: [rate('20')] },
      [
        [
          [1n, 0n],
          [-1n, 0n],
        ],
        0n,
        1n,
        0n,
      ],
    ],
    [
      'contained at 19 percent before, at 20 on top now',
      { lines: [credit(-2380n, rate('19', true)), fee(4000n)], taxRates: [rate('20')] },
      [
        [
          [4000n, 800n],
          [-2000n, -380n],
        ],
        420n,
        2420n,
        0n,
      ],
    ],
    [
      'a tax above the total, and one below zero, are no other than the sum of their lines',
      { lines: [credit(-2000n), fee(1900n)], taxRates: [rate('19')] },
      [[[1900n, 361n]], 361n, 261n, 0n],
    ],
  ])('%s', (_name, input, expected) => {
    expect(summary(input)).toEqual(expected);
  });

  test('an invoice with other rates says what is taxed of its own charges', () => {
    const lines = [credit(-2000n, rate('19'), rate('2', false, 'City')), fee(4000n)];
    expect(bill({ lines, taxRates: [rate('19')] }).taxes).toMatchObject([
      { name: 'VAT', taxableMinor: 2000n, amountMinor: 380n, charged: { taxableMinor: 4000n, amountMinor: 760n } },
      { name: 'City', taxableMinor: -2000n, amountMinor: -40n, charged: null },
    ]);
    expect(bill({ lines: [fee(4000n)], taxRates: [rate('19')] }).taxes[0]).not.toHaveProperty('charged');
  });

  test('a coupon takes nothing off what the invoice itself takes back', () => {
    const lines = [{ ...fee(3100n), takenBackMinor: 3000n }, credit(-3000n)];
    const coupons = [coupon({ percent: '50' }), coupon({ amountMinor: 1000n })];
    expect(bill({ lines, coupons })).toMatchObject({ lineDiscountsMinor: [100n, 0n], totalMinor: 0n });
    const all = [{ ...fee(3100n), takenBackMinor: 3100n }, credit(-3100n)];
    // Used up all the same: the fee was billed, and given back without what the coupon would have taken off.
    expect(bill({ lines: all, coupons }).discounts.map(({ amountMinor }) => amountMinor)).toEqual([0n, 0n]);
  });
});

const minor = fc.bigInt(-(10n ** 12n), 10n ** 12n);
const percent = fc.integer({ min: 0, max: 10_000 }).map((hundredths) => new Decimal(hundredths).div(100));
const anyLine: fc.Arbitrary<BilledLine> = fc.record({
  amountMinor: fc.oneof(minor, fc.bigInt(-50n, 50n)),
  kind: fc.constantFrom('fee', 'proration_credit', 'proration_charge', 'usage', 'minimum_spend', 'one_off'),
  planCode: fc.constantFrom(null, 'basic', 'premium'),
  metricCode: fc.constantFrom(null, 'minutes', 'requests'),
});
const anyCoupon: fc.Arbitrary<DiscountTerms> = fc.record({
  amountMinor: fc.oneof(fc.constant(null), fc.bigInt(0n, 10n ** 9n), fc.bigInt(0n, 9n)),
  percent,
  planCodes: fc.constantFrom([], ['basic']),
  metricCodes: fc.constantFrom([], ['minutes']),
});
const anyRate: fc.Arbitrary<TaxTerms> = fc.record({ name: fc.constant('Tax'), percent, inclusive: fc.boolean() });
const anyBill = fc.record({
  lines: fc.array(anyLine, { maxLength: 8 }),
  coupons: fc.array(anyCoupon, { maxLength: 3 }),
  taxRates: fc.array(anyRate, { maxLength: 4 }),
  taxExempt: fc.boolean(),
  creditMinor: minor,
  walletMinor: minor,
});
const sum = (amounts: readonly bigint[]): bigint => amounts.reduce((a, b) => a + b, 0n);
const runs = { numRuns: 10_000 };

// Plain comparisons: `expect` would take longer than what it checks.
const holds = (facts: Record<string, boolean>): void => {
  const broken = Object.keys(facts).filter((name) => !facts[name]);
  if (broken.length > 0) throw new Error(broken.join(', '));
};

test('whatever the lines, coupons, rates and balances: the parts sum to the whole and nothing is negative', () => {
  fc.assert(
    fc.property(anyBill, (input) => {
      const made = billInvoice(input);
      const onTop = sum(made.taxes.flatMap((tax) => (tax.inclusive ? [] : [tax.amountMinor])));
      const contained = sum(made.taxes.flatMap((tax) => (tax.inclusive ? [tax.amountMinor] : [])));
      const net = made.subtotalMinor - made.discountMinor;
      holds({
        subtotal: made.subtotalMinor === sum(input.lines.map((line) => line.amountMinor)),
        discountsByLine: made.discountMinor === sum(made.lineDiscountsMinor),
        discountsByCoupon: made.discountMinor === sum(made.discounts.map((discount) => discount.amountMinor)),
        discountWithinLine: made.lineDiscountsMinor.every((discount, i) => {
          const { amountMinor } = input.lines[i]!;
          return discount >= 0n && discount <= (amountMinor > 0n ? amountMinor : 0n);
        }),
        onlyWhereItMay: made.lineDiscountsMinor.every(
          (discount, i) => discount === 0n || input.coupons.some((one) => isDiscountable(one, input.lines[i]!)),
        ),
        total: made.totalMinor - made.creditToWalletMinor === net + onTop,
        taxes: made.taxMinor === onTop + contained,
        taxable: made.taxes.every((tax) => tax.taxableMinor === net - contained),
        containedFits: net >= 0n ? contained >= 0n && contained <= net : contained <= 0n && contained >= net,
        exempt: !input.taxExempt || made.taxMinor === 0n,
        oneSided: made.totalMinor === 0n || made.creditToWalletMinor === 0n,
        due: made.amountDueMinor === made.totalMinor - made.creditAppliedMinor - made.walletAppliedMinor,
        neverNegative: [
          made.totalMinor,
          made.creditToWalletMinor,
          made.creditAppliedMinor,
          made.walletAppliedMinor,
          made.amountDueMinor,
        ].every((amount) => amount >= 0n),
        neverMoreThanThere:
          (made.creditAppliedMinor === 0n || made.creditAppliedMinor <= input.creditMinor) &&
          (made.walletAppliedMinor === 0n || made.walletAppliedMinor <= input.walletMinor),
        creditBeforeWallet:
          made.walletAppliedMinor === 0n ||
          made.creditAppliedMinor === (input.creditMinor > 0n ? input.creditMinor : 0n),
      });
    }),
    runs,
  );
});

test('two lines of the same kind cost what one of their sum costs, while all coupons discount the same lines', () => {
  const unlimited = anyCoupon.map((one) => ({ ...one, planCodes: [], metricCodes: [] }));
  const input = fc.record({
    bill: anyBill,
    coupons: fc.array(unlimited, { maxLength: 3 }),
    at: fc.nat(),
    cut: fc.nat(100),
  });
  fc.assert(
    fc.property(input, ({ bill: of, coupons, at, cut }) => {
      if (of.lines.length === 0) return;
      const i = at % of.lines.length;
      const line = of.lines[i]!;
      const part = (line.amountMinor * BigInt(cut)) / 100n; // of the same sign, so that it is discounted as the whole is
      const split = [
        ...of.lines.slice(0, i),
        { ...line, amountMinor: part },
        { ...line, amountMinor: line.amountMinor - part },
        ...of.lines.slice(i + 1),
      ];
      const { lineDiscountsMinor: _one, ...whole } = billInvoice({ ...of, coupons });
      const { lineDiscountsMinor: _two, ...parts } = billInvoice({ ...of, coupons, lines: split });
      holds({ same: JSON.stringify(whole, plain) === JSON.stringify(parts, plain) });
    }),
    runs,
  );
});

const plain = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);

test('an order of the lines changes no total', () => {
  fc.assert(
    fc.property(anyBill, (input) => {
      const one = billInvoice({ ...input, coupons: input.coupons.slice(0, 1) });
      const other = billInvoice({ ...input, coupons: input.coupons.slice(0, 1), lines: input.lines.toReversed() });
      holds({ total: one.totalMinor === other.totalMinor, discount: one.discountMinor === other.discountMinor });
    }),
    runs,
  );
});
