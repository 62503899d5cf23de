import { proposeBooking } from '../domain/proposal.js';
import { creditedByLines } from '../invoice/creditNotes.js';
import { Invoice, InvoiceLine } from '../invoice/invoice.entity.js';
import type { Tx } from '../platform/db.js';
import { rateWindow } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';

/** What a correction means for a period that was invoiced for good. Somebody has to book it; amounts in minor units, as text. */
export interface UsageProposal {
  metric: string;
  currency: string;
  /** The line that billed the period; null where nothing was charged for it. */
  invoiceLineId: string | null;
  invoiceId: string | null;
  previousMinor: string;
  correctedMinor: string;
  /** Cheaper: a credit note for that line. Dearer: one more line on the next invoice. */
  kind: 'CREDIT_NOTE' | 'EXTRA_LINE';
  /** What that note or line is over, taxes apart. */
  amountMinor: string;
}

/** The windows among these that were billed for good, as they are now. */
export const billedWindows = (tx: Tx, windowIds: readonly string[]): Promise<UsageWindow[]> =>
  tx.em.find(
    UsageWindow,
    { accountId: tx.accountId, id: { $in: [...windowIds] }, closedAt: { $ne: null }, draftInvoiceId: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );

/** Prices windows as they were and as they are. An invoice that is void is owed by nobody: of it nothing is proposed. */
export async function proposalsFor(
  tx: Tx,
  { before, after }: { before: readonly UsageWindow[]; after: readonly UsageWindow[] },
): Promise<UsageProposal[]> {
  const { em, accountId } = tx;
  const changed = before.flatMap((was) => {
    const is = after.find(({ id }) => id === was.id)!;
    const [previous, corrected] = [rateWindow(was).amountMinor, rateWindow(is).amountMinor];
    return previous === corrected ? [] : [{ window: is, previous, corrected }];
  });
  const windowId = { $in: changed.map(({ window }) => window.id) };
  const lines = await em.find(InvoiceLine, { accountId, windowId }, { disableIdentityMap: true });
  const id = { $in: lines.map(({ invoiceId }) => invoiceId) };
  const voided = await em.find(Invoice, { accountId, id, status: 'VOID' }, { disableIdentityMap: true });
  const credited = await creditedByLines(
    em,
    accountId,
    lines.map((line) => line.id),
  );
  return changed.flatMap(({ window, previous, corrected }) => {
    const line = lines.find((one) => one.windowId === window.id);
    if (voided.some((invoice) => invoice.id === line?.invoiceId)) return [];
    const booking = proposeBooking({
      previousMinor: previous,
      correctedMinor: corrected,
      line: line && { ...line, creditedMinor: credited.get(line.id) ?? 0n },
    });
    if (!booking) return [];
    return [
      {
        metric: window.metricCode,
        currency: window.currency,
        invoiceLineId: line?.id ?? null,
        invoiceId: line?.invoiceId ?? null,
        previousMinor: previous.toString(),
        correctedMinor: corrected.toString(),
        kind: booking.kind,
        amountMinor: booking.amountMinor.toString(),
      },
    ];
  });
}
