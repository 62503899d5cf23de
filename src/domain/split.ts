/**
 * Splits a whole among parts in proportion to their weights, so that the parts sum to the whole: each gets its share rounded
 * down, and the units left over go one each to the largest remainders (of equal ones to the larger part, then to the first).
 * With `wholeMinor` at most the sum of the weights no part exceeds its weight. Weights are not negative, not all zero.
 */
export function splitMinor(wholeMinor: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((total, weight) => total + weight, 0n);
  if (sum <= 0n || wholeMinor < 0n) throw new Error(`Can't split ${wholeMinor} by weights that sum to ${sum}`);
  const parts = weights.map((weight) => (wholeMinor * weight) / sum);
  const left = wholeMinor - parts.reduce((total, part) => total + part, 0n);
  const descending = (a: bigint, b: bigint): number => (a === b ? 0 : a > b ? -1 : 1);
  const remainder = (index: number): bigint => (wholeMinor * weights[index]!) % sum;
  const next = weights
    .map((_, index) => index)
    .sort((a, b) => descending(remainder(a), remainder(b)) || descending(weights[a]!, weights[b]!) || a - b);
  for (const index of next.slice(0, Number(left))) parts[index]! += 1n;
  return parts;
}
