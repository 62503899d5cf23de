import { invoiceNumber } from '../../src/domain/invoiceNumber.js';

test.each([
  [1, 'INV-000001'],
  [42, 'INV-000042'],
  [999_999, 'INV-999999'],
  [1_000_000, 'INV-1000000'],
])('invoice %p is %s', (n, number) => {
  expect(invoiceNumber('INV', n)).toBe(number);
});

test.each([0, -1, 1.5, Number.NaN, 2 ** 53])('%p numbers no invoice', (n) => {
  expect(() => invoiceNumber('INV', n)).toThrow('counts 1, 2, 3');
});
