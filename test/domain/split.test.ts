import fc from 'fast-check';
import { splitMinor } from '../../src/domain/split.js';

const sumOf = (parts: readonly bigint[]): bigint => parts.reduce((sum, part) => sum + part, 0n);

test('the parts sum to the whole, only the largest get more than their share, and none exceeds its weight', () => {
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
        const more = parts.map((part, i) => part - (wholeMinor * weights[i]!) / total);
        for (const [i, part] of parts.entries()) {
          if (weights[i] === 0n) expect(part).toBe(0n);
          if (wholeMinor <= total) expect(part <= weights[i]!).toBe(true);
          expect(more[i]! >= 0n).toBe(true);
          // Whoever got some of the remainder is the largest, or those that are larger had no room left.
          const larger = weights.flatMap((weight, j) => (weight > weights[i]! ? [parts[j]! >= weight] : []));
          if (more[i]! > 0n) expect(larger.every(Boolean)).toBe(true);
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
  [9n, [10n, 25n], [2n, 7n]], // 2.57 and 6.43: the larger part takes the cent, not the larger remainder
  [2n, [1n, 1n, 1n], [1n, 1n, 0n]], // no part is more than its weight
  [8n, [1n, 1n, 1n], [4n, 2n, 2n]],
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
