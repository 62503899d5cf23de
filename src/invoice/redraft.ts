import { Decimal } from '../domain/decimal.js';
import { shortOfMinimum } from '../domain/minimumSpend.js';
import { parseMoney } from '../domain/money.js';
import type { Tx } from '../platform/db.js';
import { type LineDraft, lineRow } from './decideInvoice.js';
import { InvoiceLine } from './invoice.entity.js';
import { linesOf } from './invoices.js';
import { lockDraft, redecide } from './issueInvoice.js';

/**
 * Puts usage as it stands now on a DRAFT: its usage lines are replaced by these, what they fall short of the minimum spend is
 * worked out anew, and so are the totals. A window that had a line keeps it, and so that line's id. Throws for an invoice
 * that is final: the caller holds the windows that it waits for.
 */
export async function redraft(tx: Tx, invoiceId: string, usageLines: readonly LineDraft[]): Promise<void> {
  const { em, accountId } = tx;
  await em.flush();
  const invoice = await lockDraft(tx, invoiceId);
  if (!invoice) throw new Error(`Invoice ${invoiceId} is final: its lines can't be replaced`);

  const before = await linesOf(em, accountId, invoiceId);
  const usage = usageLines.map((line, position) => {
    const known = before.find(
      ({ kind, windowId }) => kind === 'usage' && windowId != null && windowId === line.windowId,
    );
    const row = lineRow(line, { accountId, invoiceId, position });
    return known ? em.assign(known, { ...row, id: known.id }) : em.create(InvoiceLine, row);
  });
  const others = before.filter(({ kind }) => kind !== 'usage');
  for (const line of before) if (!others.includes(line) && !usage.includes(line)) em.remove(line);
  const spentMinor = usage.reduce((sum, line) => sum + line.amountMinor, 0n);
  for (const [i, line] of others.entries()) {
    line.position = usage.length + i;
    if (line.kind === 'minimum_spend') fallShort(line, { spentMinor, currency: invoice.currency });
  }
  await redecide(tx, invoice, [...usage, ...others]);
}

/** A draft's line of minimum spend carries the minimum as its unit price; its last two steps are about the usage. */
function fallShort(line: InvoiceLine, { spentMinor, currency }: { spentMinor: bigint; currency: string }): void {
  const { minorUnits: owedMinor } = parseMoney(new Decimal(line.unitAmount ?? 0).toFixed(), currency);
  const { amountMinor, steps } = shortOfMinimum({ owedMinor, spentMinor, currency });
  line.amountMinor = amountMinor;
  line.explanation = [...line.explanation.slice(0, -steps.length), ...steps];
}
