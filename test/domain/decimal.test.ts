import { Decimal, parseDecimal } from '../../src/domain/decimal.js';

test.each([
  '0',
  '1',
  '-1',
  '45.7',
  '-0.5',
  '0.000000000001',
  '99999999999999999999.999999999999',
])('%s is kept as it is', (text) => {
  expect(parseDecimal(text)?.toFixed()).toBe(text);
});

test.each([
  '',
  ' 1',
  '1 ',
  '+1',
  '01',
  '.5',
  '5.',
  '1e3',
  '1,5',
  '0x10',
  'NaN',
  'Infinity',
  '-Infinity',
  '--1',
  '1\n',
  '0.0000000000001',
  '100000000000000000000',
  '１',
])('%p is no decimal', (text) => {
  expect(parseDecimal(text)).toBeUndefined();
});

test('a negative zero prints as zero', () => {
  expect(parseDecimal('-0')?.toFixed()).toBe('0');
});

test('decimals are exact where floats are not', () => {
  expect(new Decimal('0.1').plus('0.2').toFixed()).toBe('0.3');
});

test('the product of the largest decimals is exact', () => {
  const largest = parseDecimal('99999999999999999999.999999999999')!;
  const scaled = 99999999999999999999999999999999n ** 2n;
  expect(largest.times(largest).times(new Decimal(10).pow(24)).toFixed()).toBe(scaled.toString());
});
