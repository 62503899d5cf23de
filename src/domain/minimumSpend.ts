import { majorUnits } from './money.js';
import type { ExplanationStep } from './rating.js';

/** What usage charges fall short of a minimum, never below 0. */
export const shortMinor = ({ owedMinor, spentMinor }: { owedMinor: bigint; spentMinor: bigint }): bigint =>
  owedMinor > spentMinor ? owedMinor - spentMinor : 0n;

/** The same, and the steps that say so. Minor units. */
export function shortOfMinimum({
  owedMinor,
  spentMinor,
  currency,
}: {
  owedMinor: bigint;
  spentMinor: bigint;
  currency: string;
}): { amountMinor: bigint; steps: ExplanationStep[] } {
  const amountMinor = shortMinor({ owedMinor, spentMinor });
  const [owed, spent, short] = [owedMinor, spentMinor, amountMinor].map((minorUnits) =>
    majorUnits({ minorUnits, currency }),
  ) as [string, string, string];
  return {
    amountMinor,
    steps: [
      { label: 'Usage charges of the period', expression: `${spent} ${currency}`, result: spent },
      { label: 'Falls short by', expression: `max(${owed} - ${spent}, 0)`, result: short },
    ],
  };
}
