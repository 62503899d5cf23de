import fc from 'fast-check';
import { splitMinor } from '../../src/domain/split.js';

const sumOf = (parts: readonly bigint[]): bigint => parts.reduce((sum, part) => sum + part, 0n);

test('the parts sum to the whole, none is a unit or more from its share, and none exceeds its weight', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 10n ** 15n }),
      fc
        .array(fc.bigInt({ min: 0n, max: 10n ** 6n }), { minLength: 1, maxLength: 12 })
        .filter((weights) => sumOf(weights) > 0n),
      (wholeMinor, weights) => {
        const parts = splitMinor(wholeMinor, weights);
        const total = sumOf(weights);
        expect(parts).toHaveLength(weights.length);
        expect(sumOf(parts)).toBe(wholeMinor);
        for (const [i, part] of parts.entries()) {
          const share = (wholeMinor * weights[i]!) / total;
          expect(part === share || part === share + 1n).toBe(true);
          if (weights[i] === 0n) expect(part).toBe(0n);
          if (wholeMinor <= total) expect(part <= weights[i]!).toBe(true);
        }
      },
    ),
    { numRuns: 10_000 },
  );
});

test.each([
  [100n, [1n, 1n, 1n], [34n, 33n, 33n]],
  [100n, [1n, 2n, 1n], [25n, 50n, 25n]],
  [1n, [3n, 7n], [0n, 1n]],
  [0n, [3n, 7n], [0n, 0n]],
])('%p by %p is %p', (wholeMinor, weights, parts) => {
  expect(splitMinor(wholeMinor, weights)).toEqual(parts);
});

test.each([
  [5n, [0n, 0n]],
  [5n, []],
  [-5n, [1n]],
])('%p by %p can not be split', (wholeMinor, weights) => {
  expect(() => splitMinor(wholeMinor, weights)).toThrow(/Can't split/);
});
