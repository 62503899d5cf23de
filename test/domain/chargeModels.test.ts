import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { currencyExponent } from '../../src/domain/money.js';
import {
  type ChargeModel,
  maxChargeMinor,
  maxQuantity,
  mostQuantity,
  type PriceTier,
  rateCharge,
} from '../../src/domain/rating.js';
import { unitCharge } from './usageBuilders.js';

const plain = { freeUnits: '0', minimum: '0' };
const tier = (upTo: string | null, unitPrice: string, flatFee = '0'): PriceTier => ({ upTo, unitPrice, flatFee });
const graduated: ChargeModel = { model: 'graduated', tiers: [tier('5', '10', '100'), tier(null, '5', '50')], ...plain };
const volume: ChargeModel = { model: 'volume', tiers: [tier('10', '5', '100'), tier(null, '2', '50')], ...plain };
const packages: ChargeModel = { model: 'package', size: '10', packagePrice: '100', ...plain, freeUnits: '5' };
const percentage: ChargeModel = { model: 'percentage', percent: '2.9', fixedFee: '0.30', freeEvents: 5, ...plain };
const flat: ChargeModel = { model: 'flat', amount: '10', ...plain };
const unit = unitCharge('0.03');

const rate = (charge: ChargeModel, quantity: string, { eventCount = 0, currency = 'USD' } = {}) =>
  rateCharge({ quantity: new Decimal(quantity), eventCount, charge, currency });

describe('the price of a quantity', () => {
  test.each<[string, string, bigint, ChargeModel]>([
    ['unit', '0', 0n, unit],
    ['unit', '100.5', 302n, unit],
    ['unit', '100', 0n, { ...unit, freeUnits: '100' }],
    ['unit', '101', 3n, { ...unit, freeUnits: '100' }],
    ['flat', '0', 0n, flat],
    ['flat', '0.000000000001', 1000n, flat],
    ['flat', '1000000', 1000n, flat],
    ['flat beyond free units', '5', 0n, { ...flat, freeUnits: '5' }],
    ['flat beyond free units', '5.1', 1000n, { ...flat, freeUnits: '5' }],
    ['graduated', '0', 0n, graduated],
    ['graduated', '0.5', 10500n, graduated],
    ['graduated', '5', 15000n, graduated],
    ['graduated', '5.000000000001', 20000n, graduated],
    ['graduated', '5.5', 20250n, graduated],
    ['graduated', '6', 20500n, graduated],
    ['graduated', '8', 21500n, graduated],
    ['graduated beyond free units', '8', 15000n, { ...graduated, freeUnits: '3' }],
    ['volume', '0', 0n, volume],
    ['volume', '0.5', 10250n, volume],
    ['volume', '10', 15000n, volume],
    ['volume', '10.5', 7100n, volume],
    ['volume', '11', 7200n, volume],
    ['volume', '15', 8000n, volume],
    ['package', '0', 0n, packages],
    ['package', '5', 0n, packages],
    ['package', '5.1', 10000n, packages],
    ['package', '12', 10000n, packages],
    ['package', '15', 10000n, packages],
    ['package', '15.000000000001', 20000n, packages],
    ['package of a third', '0.999999999999', 30000n, { ...packages, size: '0.333333333333', freeUnits: '0' }],
    ['percentage', '0', 0n, percentage],
    ['percentage', '200', 580n, percentage],
    ['a negative quantity of unit', '-5', 0n, unit],
    ['a negative quantity of graduated', '-5', 0n, graduated],
    ['a negative quantity of percentage', '-5', 0n, percentage],
  ])('%s of %s: %p', (_, quantity, amountMinor, charge) => {
    expect(rate(charge, quantity).amountMinor).toBe(amountMinor);
  });

  test.each<[number, string, bigint]>([
    [4, '200', 580n],
    [5, '200', 580n],
    [6, '200', 610n],
    [8, '200', 670n],
    [8, '0', 90n],
  ])('percentage: %d events, five of them without the fee, of %s: %p', (eventCount, quantity, amountMinor) => {
    expect(rate(percentage, quantity, { eventCount }).amountMinor).toBe(amountMinor);
  });

  test.each<[ChargeModel, string, string, bigint]>([
    [graduated, '8', 'JPY', 215n],
    [graduated, '8', 'KWD', 215000n],
    [packages, '12', 'JPY', 100n],
    [percentage, '50', 'JPY', 1n],
    [percentage, '51.72', 'JPY', 1n],
    [percentage, '51.73', 'JPY', 2n],
    [percentage, '51.73', 'KWD', 1500n],
    [unitCharge('0.0005'), '3', 'KWD', 2n],
    [unitCharge('0.5'), '3', 'JPY', 2n],
  ])('%# in a currency of its own decimals', (charge, quantity, currency, amountMinor) => {
    expect(rate(charge, quantity, { currency }).amountMinor).toBe(amountMinor);
  });

  test('what is charged for is what the free units leave', () => {
    expect(rate(packages, '12').quantity.toFixed()).toBe('7');
    expect(rate(packages, '3').quantity.toFixed()).toBe('0');
  });

  test('a price per unit is named where the amount is nothing but that', () => {
    expect(rate(unit, '100').unitPrice?.toFixed()).toBe('0.03');
    expect(rate({ ...unit, minimum: '5' }, '100').unitPrice).toBeNull();
    expect(rate(unitCharge('1000'), '1e15').unitPrice).toBeNull();
    expect(rate(graduated, '8').unitPrice).toBeNull();
  });
});

describe('a minimum', () => {
  test.each<[string, bigint]>([
    ['0', 500n],
    ['100', 500n],
    ['166', 500n],
    ['167', 501n],
  ])('of 5.00 on %s units at 0.03: %p', (quantity, amountMinor) => {
    expect(rate({ ...unit, minimum: '5' }, quantity).amountMinor).toBe(amountMinor);
  });

  test('is a step of its own, and only where it lifts', () => {
    expect(rate({ ...unit, minimum: '5' }, '100').explanation).toContainEqual({
      label: 'At least',
      expression: 'max(3, 5) USD',
      result: '5',
    });
    expect(rate({ ...unit, minimum: '3' }, '100').explanation.map(({ label }) => label)).not.toContain('At least');
  });
});

describe('the explanation', () => {
  const stepsOf = (charge: ChargeModel, quantity: string, eventCount = 0) =>
    rate(charge, quantity, { eventCount }).explanation.map(({ label, expression, result }) => [
      label,
      expression,
      result,
    ]);

  test('of graduated tiers has one step for each tier in use', () => {
    expect(stepsOf(graduated, '5.5')).toEqual([
      ['Tier up to 5', '5 × 10 USD + 100 USD', '150'],
      ['Tier over 5', '0.5 × 5 USD + 50 USD', '52.5'],
      ['Together', '150 + 52.5 USD', '202.5'],
      ['Amount', 'round(202.5, 2 decimals, HALF_UP) USD', '202.50'],
    ]);
    const three = { ...graduated, tiers: [tier('5', '3'), tier('10', '2'), tier(null, '1')] };
    expect(stepsOf(three, '7').slice(0, 2)).toEqual([
      ['Tier up to 5', '5 × 3 USD', '15'],
      ['Tier over 5, up to 10', '2 × 2 USD', '4'],
    ]);
  });

  test('of a volume names the tier that is reached', () => {
    expect(stepsOf(volume, '15')).toEqual([
      ['Tier over 10', '15 × 2 USD + 50 USD', '80'],
      ['Amount', 'round(80, 2 decimals, HALF_UP) USD', '80.00'],
    ]);
    expect(stepsOf({ ...volume, tiers: [tier(null, '2')] }, '15')[0]).toEqual([
      'Tier of all units',
      '15 × 2 USD',
      '30',
    ]);
  });

  test('of packages counts those started', () => {
    expect(stepsOf(packages, '12')).toEqual([
      ['Less free units', 'max(12 - 5, 0)', '7'],
      ['Packages started', 'ceil(7 / 10)', '1'],
      ['Times package price', '1 × 100 USD', '100'],
      ['Amount', 'round(100, 2 decimals, HALF_UP) USD', '100.00'],
    ]);
  });

  test('of a percentage adds the fees of events', () => {
    expect(stepsOf(percentage, '200', 8)).toEqual([
      ['Percentage', '200 USD × 2.9 %', '5.8'],
      ['Fee for each event', '(8 - 5) × 0.3 USD', '0.9'],
      ['Together', '5.8 + 0.9 USD', '6.7'],
      ['Amount', 'round(6.7, 2 decimals, HALF_UP) USD', '6.70'],
    ]);
  });

  test('of a flat amount', () => {
    expect(stepsOf(flat, '3')[0]).toEqual(['Flat amount', '10 USD', '10']);
  });
});

// Thousandths: fine enough for every boundary, and few enough digits that ten thousand runs take a moment.
const thousandths = (max: number) => fc.integer({ min: 0, max }).map((n) => new Decimal(n).div(1_000).toFixed());
const quantity = thousandths(40_000);
const price = thousandths(20_000);
const tiersOf = (prices: fc.Arbitrary<string>, fees: fc.Arbitrary<string>) =>
  fc
    .tuple(
      fc.uniqueArray(fc.integer({ min: 1, max: 30_000 }), { maxLength: 4 }),
      fc.array(prices, { minLength: 5, maxLength: 5 }),
      fc.array(fees, { minLength: 5, maxLength: 5 }),
    )
    .map(([bounds, unitPrices, flatFees]) =>
      [...bounds.sort((a, b) => a - b).map((n) => new Decimal(n).div(1_000).toFixed()), null].map((upTo, i) =>
        tier(upTo, unitPrices[i]!, flatFees[i]!),
      ),
    );
const tiers = tiersOf(price, price);
const free = fc.record({ freeUnits: thousandths(5_000), minimum: thousandths(5_000) });
const models = (of: fc.Arbitrary<string>): fc.Arbitrary<ChargeModel> =>
  fc
    .tuple(
      fc.oneof(
        fc.record({ model: fc.constant('unit' as const), unitPrice: of }),
        fc.record({ model: fc.constant('flat' as const), amount: of }),
        fc.record({ model: fc.constantFrom('graduated' as const, 'volume' as const), tiers: tiersOf(of, of) }),
        fc.record({
          model: fc.constant('package' as const),
          size: fc.integer({ min: 1, max: 9_000 }).map((n) => new Decimal(n).div(1_000).toFixed()),
          packagePrice: of,
        }),
        fc.record({
          model: fc.constant('percentage' as const),
          percent: of,
          fixedFee: of,
          freeEvents: fc.integer({ min: 0, max: 9 }),
        }),
      ),
      free,
    )
    .map(([model, more]) => ({ ...model, ...more }));
const currency = fc.constantFrom('USD', 'JPY', 'KWD', 'CLF');
const numRuns = 10_000;

describe('for any charge', () => {
  test('graduated tiers of one price are that price per unit, wherever they are cut', () => {
    fc.assert(
      fc.property(tiersOf(fc.constant('0'), fc.constant('0')), price, quantity, (cuts, unitPrice, used) => {
        const split: ChargeModel = { model: 'graduated', tiers: cuts.map((cut) => ({ ...cut, unitPrice })), ...plain };
        expect(rate(split, used).amountMinor).toBe(rate(unitCharge(unitPrice), used).amountMinor);
      }),
      { numRuns },
    );
  });

  test('more of a graduated, package, unit or flat charge never costs less', () => {
    fc.assert(
      fc.property(models(price), quantity, quantity, (charge, a, b) => {
        fc.pre(charge.model !== 'volume');
        const [less, more] = [Decimal.min(a, b).toFixed(), Decimal.max(a, b).toFixed()];
        expect(rate(charge, more).amountMinor).toBeGreaterThanOrEqual(rate(charge, less).amountMinor);
      }),
      { numRuns },
    );
  });

  test('graduated and volume are one where there is one tier or the first is not left', () => {
    fc.assert(
      fc.property(tiers, quantity, (all, used) => {
        fc.pre(all[0]!.upTo === null || new Decimal(used).lessThanOrEqualTo(all[0]!.upTo));
        expect(rate({ model: 'graduated', tiers: all, ...plain }, used)).toEqual(
          rate({ model: 'volume', tiers: all, ...plain }, used),
        );
      }),
      { numRuns: 1_000 },
    );
  });

  test('it is never negative, every step is an exact decimal, and the last one is the amount', () => {
    fc.assert(
      fc.property(models(price), quantity, fc.nat(20), currency, (charge, used, eventCount, of) => {
        const { amountMinor, explanation } = rate(charge, used, { eventCount, currency: of });
        expect(amountMinor).toBeGreaterThanOrEqual(0n);
        expect(explanation.every(({ result }) => /^\d+(\.\d+)?$/.test(result))).toBe(true);
        const { label, result } = explanation.at(-1)!;
        expect(label).toBe('Amount');
        expect(new Decimal(result).times(new Decimal(10).pow(currencyExponent(of))).toFixed()).toBe(`${amountMinor}`);
      }),
      { numRuns },
    );
  });

  test('the most that may be counted costs what an invoice can hold, but for fees', () => {
    const digits = fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 18n }), fc.nat(12));
    const wide = digits.map(([n, scale]) => new Decimal(n.toString()).div(new Decimal(10).pow(scale)).toFixed());
    fc.assert(
      fc.property(models(wide), currency, fc.double({ min: 0, max: 1, noNaN: true }), (charge, of, part) => {
        const most = mostQuantity(charge, of);
        expect(most.lessThanOrEqualTo(maxQuantity)).toBe(true);
        expect(most.isNegative()).toBe(false);
        const accepted = most.times(part).toDecimalPlaces(12, Decimal.ROUND_DOWN).toFixed();
        const bare = withoutFees(charge);
        const { explanation } = rate(bare, accepted, { currency: of });
        expect(explanation.map(({ label }) => label)).not.toContain('At most');
        const { amountMinor } = rate(charge, accepted, { currency: of, eventCount: 2_147_483_647 });
        expect(amountMinor).toBeLessThanOrEqual(maxChargeMinor);
      }),
      { numRuns: 3_000 },
    );
  });

  test('a bit more than the most costs too much, where the price sets it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000_000, max: 9_000_000 }), currency, (cents, of) => {
        const charge = unitCharge(new Decimal(cents).div(100).toFixed());
        const over = mostQuantity(charge, of).plus(1).toFixed();
        expect(rate(charge, over, { currency: of }).explanation.map(({ label }) => label)).toContain('At most');
      }),
      { numRuns: 1_000 },
    );
  });
});

/** The price of the quantity alone: what `mostQuantity` bounds. A package's price is then its share of the size. */
function withoutFees(charge: ChargeModel): ChargeModel {
  switch (charge.model) {
    case 'graduated':
    case 'volume':
      return { ...charge, ...plain, tiers: charge.tiers.map((each) => ({ ...each, flatFee: '0' })) };
    case 'percentage':
      return { ...charge, ...plain, fixedFee: '0' };
    case 'package':
      // The package that was only started is the fee here: without it there is one package less.
      return { ...charge, ...plain, freeUnits: charge.size };
    case 'flat':
      return { ...charge, ...plain, amount: '0' };
    case 'unit':
      return { ...charge, ...plain };
  }
}
