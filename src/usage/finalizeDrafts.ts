import { collectInvoice } from '../invoice/collectInvoice.js';
import { finaliseInvoice, lockDraft } from '../invoice/issueInvoice.js';
import { redraft } from '../invoice/redraft.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { usageLine } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';

/** Sweep: finalises every DRAFT whose grace period is over, and collects it. */
export async function finalizeDueInvoices(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(deps, ['invoice', 'finalize_at'], of, async ({ accountId, id }) => {
    const paymentId = await transact(deps, accountId, (tx) => finalizeDraft(tx, id, { onlyDue: true }));
    await collectInvoice(deps, { accountId, paymentId });
  });
}

/**
 * Ends the grace period of a DRAFT: takes the last word of the windows that still counted for it, and finalises. It bears the
 * time at which it was due, or now when that has not come. Returns what to collect; nothing happens when it is final already.
 *
 * Locks first the windows, then the invoice, then the account, as whoever corrects usage does.
 */
export async function finalizeDraft(
  tx: Tx,
  invoiceId: string,
  { onlyDue = false }: { onlyDue?: boolean } = {},
): Promise<string | undefined> {
  const windows = await lockDraftWindows(tx, invoiceId);
  const invoice = await lockDraft(tx, invoiceId);
  if (!invoice?.finalizeAt || (onlyDue && invoice.finalizeAt > tx.now)) return undefined;
  await redraft(tx, invoiceId, windows.flatMap(usageLine));
  for (const window of windows) window.draftInvoiceId = null;
  tx.touchUsage();
  const { paymentId } = await finaliseInvoice(tx, invoice, {
    issuedAt: invoice.finalizeAt < tx.now ? invoice.finalizeAt : tx.now,
    collectFrom: await defaultPaymentMethod(tx.em, tx.accountId),
  });
  return paymentId;
}

/** The windows that a DRAFT waits for, locked: no usage counts in them until the transaction ends. */
async function lockDraftWindows(tx: Tx, invoiceId: string): Promise<UsageWindow[]> {
  const { em, accountId } = tx;
  await rowsOf(
    em,
    sql`select id from usage_window where account_id = ${accountId} and draft_invoice_id = ${invoiceId} order by id for update`,
  );
  return em.find(UsageWindow, { accountId, draftInvoiceId: invoiceId }, { orderBy: { id: 'asc' }, refresh: true });
}
