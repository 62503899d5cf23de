import { Decimal } from '../domain/decimal.js';
import { rateOverage } from '../domain/rating.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import type { UsageWindow } from './usage.entity.js';

/** The line of a window's charged overage; none when there is nothing to charge. */
export function usageLine(window: UsageWindow): LineDraft[] {
  const rated = rateWindow(window);
  if (rated.amountMinor === 0n) return [];
  return [
    {
      kind: 'usage',
      metricCode: window.metricCode,
      windowId: window.id,
      description: `${window.featureName} over the limit of ${new Decimal(window.limit ?? 0).toFixed()}`,
      period: { start: window.periodStart, end: window.periodEnd },
      quantity: rated.quantity,
      unitAmount: window.unitPrice == null ? null : new Decimal(window.unitPrice),
      amountMinor: rated.amountMinor,
      proration: false,
      explanation: rated.explanation,
    },
  ];
}

/** What a window's usage costs so far. */
export const rateWindow = (window: Pick<UsageWindow, 'used' | 'limit' | 'overage' | 'unitPrice' | 'currency'>) =>
  rateOverage({
    used: new Decimal(window.used),
    limit: window.limit == null ? null : new Decimal(window.limit),
    overage: window.overage,
    unitPrice: window.unitPrice == null ? null : new Decimal(window.unitPrice),
    currency: window.currency,
  });
