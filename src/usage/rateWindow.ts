import { Decimal } from '../domain/decimal.js';
import { rateUsage } from '../domain/rating.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { countedPeriod } from './countedEvents.js';
import type { UsageWindow } from './usage.entity.js';

/** The line of a window's charged use; none when there is nothing to charge. */
export function usageLine(window: UsageWindow): LineDraft[] {
  const rated = rateWindow(window);
  if (rated.amountMinor === 0n) return [];
  // Without a quantity it is the minimum of the charge, and nothing was over any limit.
  const over =
    window.limit == null || rated.quantity.isZero() ? '' : ` over the limit of ${new Decimal(window.limit).toFixed()}`;
  return [
    {
      kind: 'usage',
      metricCode: window.metricCode,
      windowId: window.id,
      description: `${window.featureName}${over}`,
      period: countedPeriod(window),
      quantity: rated.quantity,
      unitAmount: rated.unitPrice,
      amountMinor: rated.amountMinor,
      proration: false,
      explanation: rated.explanation,
    },
  ];
}

/** What a window's usage costs so far. */
export const rateWindow = (
  window: Pick<UsageWindow, 'used' | 'eventCount' | 'limit' | 'overage' | 'charge' | 'currency'>,
) =>
  rateUsage({
    used: new Decimal(window.used),
    eventCount: window.eventCount,
    limit: window.limit == null ? null : new Decimal(window.limit),
    overage: window.overage,
    charge: window.charge ?? null,
    currency: window.currency,
  });
