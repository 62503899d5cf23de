export interface LineAmount {
  readonly amountMinor: bigint;
}

/** In minor units. Only `subtotalMinor` can be below zero. */
export interface InvoiceTotals {
  /** The sum of the lines, whatever its sign. */
  subtotalMinor: bigint;
  discountMinor: bigint;
  taxMinor: bigint;
  totalMinor: bigint;
  /** What the lines sum below zero: goes to the wallet as granted credit, and the total is 0. */
  creditToWalletMinor: bigint;
  walletAppliedMinor: bigint;
  amountDueMinor: bigint;
}

/** The waterfall from lines to what is left to collect. There are no discounts and taxes yet: both are 0. */
export function invoiceTotals({
  lines,
  walletAvailableMinor,
}: {
  lines: readonly LineAmount[];
  walletAvailableMinor: bigint;
}): InvoiceTotals {
  const subtotalMinor = lines.reduce((sum, line) => sum + line.amountMinor, 0n);
  const totalMinor = subtotalMinor > 0n ? subtotalMinor : 0n;
  const spendableMinor = walletAvailableMinor > 0n ? walletAvailableMinor : 0n;
  const walletAppliedMinor = totalMinor < spendableMinor ? totalMinor : spendableMinor;
  return {
    subtotalMinor,
    discountMinor: 0n,
    taxMinor: 0n,
    totalMinor,
    creditToWalletMinor: totalMinor - subtotalMinor,
    walletAppliedMinor,
    amountDueMinor: totalMinor - walletAppliedMinor,
  };
}
