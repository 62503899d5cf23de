import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { currencyExponent, isCurrency, majorUnits, money, parseMoney, roundMinor } from '../../src/domain/money.js';

test.each([
  ['USD', 2],
  ['JPY', 0],
  ['KWD', 3],
  ['CLP', 0],
  ['ISK', 0],
  // ICU's own digits differ for these.
  ['HUF', 2],
  ['IDR', 2],
  ['COP', 2],
  ['PKR', 2],
  ['IQD', 3],
])('%s has %p digits after the point in ISO 4217', (currency, exponent) => {
  expect(currencyExponent(currency)).toBe(exponent);
});

test.each(['usd', 'US', 'XYZ', '', 'constructor'])('%p is no currency', (code) => {
  expect(isCurrency(code)).toBe(false);
});

test.each([
  [4900n, 'USD', '49.00'],
  [1500n, 'JPY', '1500'],
  [1250n, 'KWD', '1.250'],
  [5n, 'USD', '0.05'],
  [0n, 'USD', '0.00'],
  [-1n, 'USD', '-0.01'],
  [-123456n, 'EUR', '-1234.56'],
  [9_223_372_036_854_775_807n, 'USD', '92233720368547758.07'],
])('%p %s is %s', (minorUnits, currency, amount) => {
  expect(majorUnits(money(minorUnits, currency))).toBe(amount);
});

test.each([
  ['19.99', 'USD', 1999n],
  ['0', 'USD', 0n],
  ['-0', 'USD', 0n],
  ['-5.5', 'EUR', -550n],
  ['1500', 'JPY', 1500n],
  ['1500.00', 'JPY', 1500n],
  ['1.25', 'KWD', 1250n],
  ['100.50', 'HUF', 10050n],
  ['90071992547409.91', 'USD', 9_007_199_254_740_991n],
])('%s %s is %p minor units', (amount, currency, minorUnits) => {
  expect(parseMoney(amount, currency)).toEqual({ minorUnits, currency });
});

test.each([
  ['19.999', 'USD'],
  ['0.5', 'JPY'],
  ['1.2345', 'KWD'],
  ['1e2', 'USD'],
  ['', 'USD'],
  ['90071992547409.92', 'USD'],
  ['-90071992547409.92', 'USD'],
])('%p is no amount of %s', (amount, currency) => {
  expect(() => parseMoney(amount, currency, 'input')).toThrow(
    expect.objectContaining({ code: 'INVALID', details: { field: ['input', 'amount'] } }),
  );
});

test('an unknown currency is named as the field at fault', () => {
  expect(() => parseMoney('1.00', 'ZZZ', 'input')).toThrow(
    expect.objectContaining({ code: 'INVALID', details: { field: ['input', 'currency'] } }),
  );
});

test('what is printed parses back to the same money', () => {
  fc.assert(
    fc.property(
      fc.bigInt(-9_007_199_254_740_991n, 9_007_199_254_740_991n),
      fc.constantFrom(...Intl.supportedValuesOf('currency')),
      (minorUnits, currency) => {
        const printed = majorUnits(money(minorUnits, currency));
        expect(parseMoney(printed, currency)).toEqual({ minorUnits, currency });
        expect(printed.split('.')[1]?.length ?? 0).toBe(currencyExponent(currency));
      },
    ),
  );
});

test.each([
  ['0.5', 1n],
  ['-0.5', -1n],
  ['0.49999999999999999999', 0n],
  ['-0.4', 0n],
  ['1.5', 2n],
  ['2.5', 3n],
  ['-2.5', -3n],
])('%s rounds to %p', (exact, rounded) => {
  expect(roundMinor(new Decimal(exact))).toBe(rounded);
});
