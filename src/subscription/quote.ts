import type { EntityManager } from '@mikro-orm/postgresql';
import { invoiceTotals } from '../domain/invoiceTotals.js';
import { availableCredit, returnableCredit } from '../invoice/credit.js';
import { Invoice } from '../invoice/invoice.entity.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { hashOf } from '../platform/idempotency.js';
import { walletBalance } from '../wallet/ledger.js';

/** What a change charges and credits, in minor units. */
export interface QuotedAmounts {
  dueNowMinor: bigint;
  creditMinor: bigint;
}

/** `replaces` is an unpaid invoice that the change voids: what credit and wallet had paid of it is there again. */
export async function quotedAmounts(
  em: EntityManager,
  {
    accountId,
    currency,
    lines,
    replaces,
  }: { accountId: string; currency: string; lines: readonly LineDraft[]; replaces?: string | null | undefined },
): Promise<QuotedAmounts> {
  const replaced = replaces == null ? null : await em.findOne(Invoice, { accountId, id: replaces, status: 'OPEN' });
  const balanceMinor = await walletBalance(em, { accountId, currency });
  const creditMinor = (await availableCredit(em, [accountId])).get(accountId) ?? 0n;
  const returnedMinor = replaced ? replaced.walletAppliedMinor + returnableCredit(replaced) : 0n;
  const totals = invoiceTotals({ lines, walletAvailableMinor: balanceMinor + creditMinor + returnedMinor });
  return { dueNowMinor: totals.amountDueMinor, creditMinor: totals.creditToWalletMinor };
}

/** One number for "the customer was shown exactly this": every line and every total. */
export function fingerprintOf(of: {
  /** The version of the plan that follows; null when none does. */
  planId: string | null;
  subscriptionVersion: number;
  effective: string;
  lines: readonly LineDraft[];
  amounts: QuotedAmounts;
}): string {
  const shown = [
    of.planId,
    of.subscriptionVersion,
    of.effective,
    of.lines.map((line) => [
      line.description,
      line.amountMinor,
      line.period?.start.getTime(),
      line.period?.end.getTime(),
    ]),
    of.amounts,
  ];
  return hashOf(shown);
}
