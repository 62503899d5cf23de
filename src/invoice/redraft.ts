import { LockMode } from '@mikro-orm/postgresql';
import { invoiceTotals } from '../domain/invoiceTotals.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { Invoice, InvoiceLine } from './invoice.entity.js';
import type { LineDraft } from './issueInvoice.js';

/**
 * Replaces the usage lines of a draft and makes its totals anew. A window that was billed before keeps its line and that
 * line's id. Only drafts change: of any other invoice the call itself is wrong.
 */
export async function redraft(tx: Tx, invoiceId: string, usageLines: readonly LineDraft[]): Promise<void> {
  const { em, accountId } = tx;
  const invoice = await em.findOneOrFail(
    Invoice,
    { accountId, id: invoiceId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  if (invoice.status !== 'DRAFT') throw new Error(`invoice ${invoiceId} is ${invoice.status}, expected a DRAFT`);

  const lines = await em.find(InvoiceLine, { accountId, invoiceId }, { orderBy: { position: 'asc' } });
  const usage = lines.filter(({ kind }) => kind === 'usage');
  const others = lines.filter(({ kind }) => kind !== 'usage');
  const kept = usageLines.map((line) => {
    const billed = usage.find(({ windowId }) => windowId === line.windowId);
    const columns = {
      description: line.description,
      periodStart: line.period?.start ?? null,
      periodEnd: line.period?.end ?? null,
      quantity: line.quantity.toFixed(),
      unitAmount: line.unitAmount?.toFixed() ?? null,
      amountMinor: line.amountMinor,
      explanation: line.explanation,
    };
    if (billed) return em.assign(billed, columns);
    return em.create(InvoiceLine, {
      ...columns,
      accountId,
      id: newId(),
      invoiceId,
      position: 0,
      discountMinor: 0n,
      kind: line.kind,
      planCode: line.planCode ?? null,
      metricCode: line.metricCode ?? null,
      windowId: line.windowId ?? null,
      itemId: line.itemId ?? null,
      proration: line.proration,
    });
  });
  for (const line of usage) if (!kept.includes(line)) em.remove(line);
  const drafted = [...kept, ...others];
  drafted.forEach((line, position) => {
    line.position = position;
  });

  const totals = invoiceTotals({ lines: drafted, walletAvailableMinor: 0n });
  invoice.subtotalMinor = totals.subtotalMinor;
  invoice.discountMinor = totals.discountMinor;
  invoice.taxMinor = totals.taxMinor;
  invoice.totalMinor = totals.totalMinor;
  invoice.amountDueMinor = totals.amountDueMinor;
  await em.flush();
}
