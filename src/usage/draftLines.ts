import type { LineDraft } from '../invoice/issueInvoice.js';
import { redraft } from '../invoice/redraft.js';
import type { Tx } from '../platform/db.js';
import { usageLine } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';

/** The lines of all windows whose usage a draft bills, from counters that late events and corrections still move. */
export async function usageLinesOfDraft(tx: Tx, draftInvoiceId: string): Promise<LineDraft[]> {
  const windows = await tx.em.find(
    UsageWindow,
    { accountId: tx.accountId, draftInvoiceId },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  return windows.flatMap(usageLine);
}

/** Brings the drafts that bill these windows up to their counters. */
export async function redraftWindows(tx: Tx, windows: readonly { draftInvoiceId: string | null }[]): Promise<void> {
  const drafts = new Set(windows.flatMap(({ draftInvoiceId }) => draftInvoiceId ?? []));
  for (const invoiceId of [...drafts].sort()) await redraft(tx, invoiceId, await usageLinesOfDraft(tx, invoiceId));
}
