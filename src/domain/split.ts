/**
 * Splits a whole among parts in proportion to their weights, so that the parts sum to the whole: each gets its share rounded
 * down, and the remainder goes to the largest part (of equal ones to the first). With `wholeMinor` at most the sum of the
 * weights no part exceeds its weight: what doesn't fit goes to the next largest, as a discount never makes a line negative.
 * Weights are not negative, not all zero.
 */
export function splitMinor(wholeMinor: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((total, weight) => total + weight, 0n);
  if (sum <= 0n || wholeMinor < 0n) throw new Error(`Can't split ${wholeMinor} by weights that sum to ${sum}`);
  const parts = weights.map((weight) => (wholeMinor * weight) / sum);
  let left = wholeMinor - parts.reduce((total, part) => total + part, 0n);
  const descending = (a: bigint, b: bigint): number => (a === b ? 0 : a > b ? -1 : 1);
  const largestFirst = weights.map((_, index) => index).sort((a, b) => descending(weights[a]!, weights[b]!) || a - b);
  for (const index of largestFirst) {
    const room = wholeMinor <= sum ? weights[index]! - parts[index]! : left;
    const more = room < left ? room : left;
    parts[index]! += more;
    left -= more;
  }
  return parts;
}
