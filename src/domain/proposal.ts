import { prorateMinor } from './proration.js';

/** What an invoice line billed for usage, and what credit notes have already taken back of it. Minor units. */
export interface BilledUsage {
  readonly amountMinor: bigint;
  /** What coupons took off it. */
  readonly discountMinor: bigint;
  readonly creditedMinor: bigint;
}

/**
 * What to book when the usage of a period that is invoiced for good comes to another price. Cheaper: a credit note for the
 * line, less the coupons' share of it, at most what is left to credit. Dearer: one more line, whole, as coupons of the
 * invoice it goes on take their part there. Undefined when nothing is left to book.
 */
export function proposeBooking({
  previousMinor,
  correctedMinor,
  line,
}: {
  previousMinor: bigint;
  correctedMinor: bigint;
  /** Undefined where nothing was charged. */
  line: BilledUsage | undefined;
}): { kind: 'CREDIT_NOTE' | 'EXTRA_LINE'; amountMinor: bigint } | undefined {
  if (correctedMinor > previousMinor) return { kind: 'EXTRA_LINE', amountMinor: correctedMinor - previousMinor };
  if (correctedMinor === previousMinor || !line || line.amountMinor <= 0n) return undefined;
  const netMinor = line.amountMinor - line.discountMinor;
  const cheaperMinor = prorateMinor({
    amountMinor: previousMinor - correctedMinor,
    fraction: { numerator: netMinor, denominator: line.amountMinor },
  });
  const leftMinor = netMinor - line.creditedMinor;
  const amountMinor = cheaperMinor < leftMinor ? cheaperMinor : leftMinor;
  return amountMinor > 0n ? { kind: 'CREDIT_NOTE', amountMinor } : undefined;
}
