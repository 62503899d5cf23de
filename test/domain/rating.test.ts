import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { type OveragePolicy, rateUsage } from '../../src/domain/rating.js';
import { unitCharge } from './usageBuilders.js';

const rate = (used: string, limit: string | null, overage: OveragePolicy, unitPrice: string | null, currency = 'USD') =>
  rateUsage({
    used: new Decimal(used),
    eventCount: 1,
    limit: limit === null ? null : new Decimal(limit),
    overage,
    charge: unitPrice === null ? null : unitCharge(unitPrice),
    currency,
  });

test.each<[string, string | null, OveragePolicy, string | null, string, string, bigint]>([
  ['12', '10', 'CHARGE', '1.50', 'USD', '2', 300n],
  ['10', '10', 'CHARGE', '1.50', 'USD', '0', 0n],
  ['9.5', '10', 'CHARGE', '1.50', 'USD', '0', 0n],
  ['45.7', '0', 'CHARGE', '0.023', 'USD', '45.7', 105n],
  ['1', '0', 'CHARGE', '0.005', 'USD', '1', 1n],
  ['1', '0', 'CHARGE', '0.0049', 'USD', '1', 0n],
  ['3', '0', 'CHARGE', '0.5', 'JPY', '3', 2n],
  ['3', '0', 'CHARGE', '0.0005', 'KWD', '3', 2n],
  ['3', '0', 'CHARGE', '100.01', 'HUF', '3', 30003n],
  ['12', '10', 'BLOCK', null, 'USD', '0', 0n],
  ['12', '10', 'ALLOW', null, 'USD', '0', 0n],
  ['12', '10', 'ALLOW', '1.50', 'USD', '0', 0n],
  ['12', null, 'CHARGE', '1.50', 'USD', '12', 1800n],
  ['0', null, 'CHARGE', '1.50', 'USD', '0', 0n],
  ['12', null, 'ALLOW', null, 'USD', '0', 0n],
  ['1000000000000000', '0', 'CHARGE', '1000', 'USD', '1000000000000000', 9_000_000_000_000_000n],
])('%s used of %s, overage %s at %s %s: %s units, %p', (used, limit, overage, unitPrice, currency, quantity, amountMinor) => {
  const rated = rate(used, limit, overage, unitPrice, currency);
  expect(rated.quantity.toFixed()).toBe(quantity);
  expect(rated.amountMinor).toBe(amountMinor);
});

test('the explanation goes from the total down to the amount, exactly', () => {
  expect(rate('45.7', '10', 'CHARGE', '0.0235').explanation).toEqual([
    { label: 'Used in the period', expression: '45.7', result: '45.7' },
    { label: 'Included', expression: '10', result: '10' },
    { label: 'Over the limit', expression: 'max(45.7 - 10, 0)', result: '35.7' },
    { label: 'Times unit price', expression: '35.7 × 0.0235 USD', result: '0.83895' },
    { label: 'Amount', expression: 'round(0.83895, 2 decimals, HALF_UP) USD', result: '0.84' },
  ]);
});

test('the explanation says why something over the limit is free', () => {
  expect(rate('12', '10', 'ALLOW', null).explanation.map(({ label, result }) => [label, result])).toEqual([
    ['Used in the period', '12'],
    ['Included', '10'],
    ['Over the limit', '2'],
    ['Charged', '0'],
    ['Amount', '0.00'],
  ]);
  expect(rate('12', null, 'BLOCK', null).explanation.map(({ expression }) => expression)).toContain('unlimited');
});

test('without a limit all of it is charged, from the first unit', () => {
  expect(rate('12', null, 'CHARGE', '1.5').explanation).toEqual([
    { label: 'Used in the period', expression: '12', result: '12' },
    { label: 'Paid from the first unit', expression: '12', result: '12' },
    { label: 'Times unit price', expression: '12 × 1.5 USD', result: '18' },
    { label: 'Amount', expression: 'round(18, 2 decimals, HALF_UP) USD', result: '18.00' },
  ]);
});

test('a minimum is due on use within the limit too; events cost their fee once anything is over it', () => {
  const fees = { model: 'percentage', percent: '1', fixedFee: '0.50', freeEvents: 1, freeUnits: '0' } as const;
  const cost = (used: string, minimum: string) =>
    rateUsage({
      used: new Decimal(used),
      eventCount: 4,
      limit: new Decimal(100),
      overage: 'CHARGE',
      charge: { ...fees, minimum },
      currency: 'USD',
    }).amountMinor;
  expect(cost('100', '0')).toBe(0n);
  expect(cost('100', '20')).toBe(2000n);
  expect(cost('200', '0')).toBe(100n + 150n);
});

test('the largest quantity at the longest price stays exact', () => {
  const exact = rate(
    '99999999999999999999.999999999999',
    '0',
    'CHARGE',
    '99999999999999999999.999999999999',
  ).explanation;
  expect(exact.find(({ label }) => label === 'Times unit price')?.result).toBe(
    '9999999999999999999999999999999800000000.000000000000000000000001',
  );
});

test('something to charge without a price is a broken plan', () => {
  expect(() => rate('12', '10', 'CHARGE', null)).toThrow('2 to charge');
  expect(rate('10', '10', 'CHARGE', null).amountMinor).toBe(0n);
});

test('what is charged is never negative, and its last step is the amount', () => {
  const quantity = fc.integer({ min: 0, max: 10_000_000 }).map((n) => new Decimal(n).div(1000));
  fc.assert(
    fc.property(
      quantity,
      fc.option(quantity),
      fc.constantFrom<OveragePolicy>('BLOCK', 'CHARGE', 'ALLOW'),
      quantity,
      (used, limit, overage, unitPrice) => {
        const charge = unitCharge(unitPrice.toFixed());
        const rated = rateUsage({ used, eventCount: 1, limit, overage, charge, currency: 'USD' });
        expect(rated.amountMinor).toBeGreaterThanOrEqual(0n);
        expect(new Decimal(rated.explanation.at(-1)!.result).times(100).toFixed()).toBe(rated.amountMinor.toString());
        expect(rated.explanation.every(({ result }) => /^\d+(\.\d+)?$/.test(result))).toBe(true);
        const error = new Decimal(rated.amountMinor.toString()).minus(rated.quantity.times(unitPrice).times(100)).abs();
        expect(error.lessThanOrEqualTo(0.5)).toBe(true);
      },
    ),
  );
});
