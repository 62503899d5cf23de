import type { Tx } from '../platform/db.js';
import { applyBill, type LineDraft, lineRow } from './decideInvoice.js';
import { InvoiceLine } from './invoice.entity.js';
import { linesOf } from './invoices.js';
import { lockContext, lockDraft, unfunded } from './issueInvoice.js';

/**
 * Puts usage as it stands now on a DRAFT: its usage lines (and minimum spend, which follows from them) are replaced by these,
 * and the totals estimated anew. A window that had a line keeps it, and so that line's id. Throws for an invoice that is
 * final: the caller holds the windows that it waits for.
 */
export async function redraft(tx: Tx, invoiceId: string, usageLines: readonly LineDraft[]): Promise<void> {
  const { em, accountId } = tx;
  await em.flush();
  const invoice = await lockDraft(tx, invoiceId);
  if (!invoice) throw new Error(`Invoice ${invoiceId} is final: its lines can't be replaced`);
  const context = unfunded(await lockContext(tx));

  const before = await linesOf(em, accountId, invoiceId);
  const usage = usageLines.map((line, position) => {
    const known = before.find(
      ({ kind, windowId }) => kind === line.kind && windowId != null && windowId === line.windowId,
    );
    const row = lineRow(line, { accountId, invoiceId, position });
    return known ? em.assign(known, { ...row, id: known.id }) : em.create(InvoiceLine, row);
  });
  const others = before.filter(({ kind }) => kind !== 'usage' && kind !== 'minimum_spend');
  for (const line of before) if (!others.includes(line) && !usage.includes(line)) em.remove(line);
  for (const [i, line] of others.entries()) line.position = usage.length + i;
  applyBill({ invoice, lines: [...usage, ...others] }, context);
  await em.flush();
}
