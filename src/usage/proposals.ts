import { type BilledLine, type BilledMinimum, proposeBookings } from '../domain/proposal.js';
import { creditedByLines } from '../invoice/creditNotes.js';
import { Invoice, InvoiceLine } from '../invoice/invoice.entity.js';
import type { Tx } from '../platform/db.js';
import { rateWindow } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';

/** What a correction means for a period that was invoiced for good. Somebody has to book it; amounts in minor units, as text. */
export interface UsageProposal {
  metric: string;
  currency: string;
  /** The line that billed it, or that of the minimum spend; null where nothing was charged for it. */
  invoiceLineId: string | null;
  invoiceId: string | null;
  previousMinor: string;
  correctedMinor: string;
  /** Cheaper: a credit note for that line. Dearer: one more line on the next invoice. */
  kind: 'CREDIT_NOTE' | 'EXTRA_LINE';
  /** What that note or line is over, taxes apart: with the minimum spend not always the difference. */
  amountMinor: string;
}

/** The windows among these that were billed for good, as they are now. */
export const billedWindows = (tx: Tx, windowIds: readonly string[]): Promise<UsageWindow[]> =>
  tx.em.find(
    UsageWindow,
    { accountId: tx.accountId, id: { $in: [...windowIds] }, closedAt: { $ne: null }, draftInvoiceId: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );

/**
 * Prices windows as they were and as they are: invoice by invoice, as each owes the minimum of its whole usage. An invoice that
 * is void is owed by nobody: of it nothing is proposed.
 */
export async function proposalsFor(
  tx: Tx,
  { before, after }: { before: readonly UsageWindow[]; after: readonly UsageWindow[] },
): Promise<UsageProposal[]> {
  const repriced = after.map((window): Repriced => {
    const was = before.find(({ id }) => id === window.id)!;
    return { window, previousMinor: rateWindow(was).amountMinor, correctedMinor: rateWindow(window).amountMinor };
  });
  const changed = repriced.filter(({ previousMinor, correctedMinor }) => previousMinor !== correctedMinor);
  if (changed.length === 0) return [];
  const billed = await billedWith(tx, repriced);
  return [...Map.groupBy(billed.uses, ({ window }) => window.invoiceId ?? window.id)].flatMap(([invoiceId, uses]) => {
    const invoice = billed.invoices.find(({ id }) => id === invoiceId);
    if (invoice?.status === 'VOID') return [];
    const lines = billed.lines.filter((line) => line.invoiceId === invoiceId);
    const bookings = proposeBookings({
      uses: uses.map(({ window, ...prices }) => ({
        ...prices,
        windowId: window.id,
        line: lines.find((line) => line.windowId === window.id),
      })),
      minimum: minimumOf(invoice, lines),
    });
    return bookings.map(({ windowId, kind, amountMinor, line }) => {
      const { window, previousMinor, correctedMinor } = uses.find((use) => use.window.id === windowId)!;
      return {
        metric: window.metricCode,
        currency: window.currency,
        invoiceLineId: line?.id ?? null,
        invoiceId: line ? invoiceId : null,
        previousMinor: previousMinor.toString(),
        correctedMinor: correctedMinor.toString(),
        kind,
        amountMinor: amountMinor.toString(),
      };
    });
  });
}

interface Repriced {
  window: UsageWindow;
  previousMinor: bigint;
  correctedMinor: bigint;
}

/** The invoices that billed these windows, their lines, and the prices of all windows on them: what didn't change counts, too. */
async function billedWith({ em, accountId }: Tx, repriced: readonly Repriced[]) {
  const invoiceIds = [...new Set(repriced.flatMap(({ window }) => window.invoiceId ?? []))];
  const plain = { disableIdentityMap: true } as const;
  const others = await em.find(
    UsageWindow,
    { accountId, invoiceId: { $in: invoiceIds }, id: { $nin: repriced.map(({ window }) => window.id) } },
    plain,
  );
  const unchanged = others.map((window): Repriced => {
    const { amountMinor } = rateWindow(window);
    return { window, previousMinor: amountMinor, correctedMinor: amountMinor };
  });
  const lines = await em.find(InvoiceLine, { accountId, invoiceId: { $in: invoiceIds } }, plain);
  const credited = await creditedByLines(
    em,
    accountId,
    lines.map(({ id }) => id),
  );
  return {
    invoices: await em.find(Invoice, { accountId, id: { $in: invoiceIds } }, plain),
    lines: lines.map((line) => ({ ...line, creditedMinor: credited.get(line.id) ?? 0n })),
    uses: [...repriced, ...unchanged],
  };
}

function minimumOf(
  invoice: Invoice | undefined,
  lines: readonly (InvoiceLine & BilledLine)[],
): BilledMinimum | undefined {
  if (!invoice?.minimumSpend) return undefined;
  const { planCode, amountMinor } = invoice.minimumSpend;
  return {
    owedMinor: BigInt(amountMinor),
    line: lines.find(({ kind }) => kind === 'minimum_spend'),
    kin: lines.find((line) => line.kind === 'fee' && line.planCode === planCode),
  };
}
