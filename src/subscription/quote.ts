import type { EntityManager } from '@mikro-orm/postgresql';
import { type BillingContext, billingContext, contextWithout } from '../invoice/billingContext.js';
import { contextAfter, decideInvoice } from '../invoice/decideInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { type DraftInvoice, draftView } from '../invoice/invoice.resolver.js';
import { type LineDraft, unfunded } from '../invoice/issueInvoice.js';
import { hashOf } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { graceEnd, partsOf } from './finalInvoice.js';
import { quoteTakeBack, type TakeBack } from './takeBack.js';

/** What a change charges and credits, in minor units. */
export interface QuotedAmounts {
  dueNowMinor: bigint;
  creditMinor: bigint;
  /** The invoice it would issue; null when there is nothing to invoice. */
  invoice: DraftInvoice | null;
  /** The unpaid invoice that billed the period, less what is unused of it; null when it stays as it is. */
  unpaidInvoice: DraftInvoice | null;
  /** What the invoice after that one will depend on. */
  after: BillingContext;
}

/**
 * Decides the invoice over these lines as issuing it would. `replaces` is an unpaid invoice that the change voids: what it
 * took of credit, wallet, coupons and waiting items is there again.
 */
export async function quotedAmounts(
  em: EntityManager,
  {
    accountId,
    lines,
    takesBack = [],
    replaces,
    reason,
  }: {
    accountId: string;
    lines: readonly LineDraft[];
    takesBack?: readonly TakeBack[];
    replaces?: string | null | undefined;
    /** Why it would be issued; a period's invoice uses up coupons. */
    reason: Invoice['reason'];
  },
): Promise<QuotedAmounts> {
  const replaced = replaces == null ? null : await em.findOne(Invoice, { accountId, id: replaces, status: 'OPEN' });
  const { unpaidInvoice, returnedToWalletMinor, balanceMinor } = await quoteTakeBack(em, accountId, takesBack);
  const given = (context: BillingContext): BillingContext => ({
    ...context,
    creditMinor: context.creditMinor + balanceMinor,
    walletMinor: context.walletMinor + returnedToWalletMinor,
  });
  // A change takes back when it is paid; whatever ends a period does so first, and what comes back pays the invoice.
  const takesBackFirst = reason !== 'subscription_change';
  const now = replaced ? await contextWithout(em, replaced) : await billingContext(em, accountId);
  const context = takesBackFirst ? given(now) : now;
  if (lines.length === 0)
    return { dueNowMinor: 0n, creditMinor: returnedToWalletMinor, invoice: null, unpaidInvoice, after: given(now) };
  const draft = { id: newId(), reason, subscriptionId: null, period: null, lines };
  const decided = decideInvoice(draft, context, new Date(0));
  const after = contextAfter(context, decided);
  return {
    dueNowMinor: decided.bill.amountDueMinor,
    creditMinor: decided.bill.creditToWalletMinor + returnedToWalletMinor,
    invoice: draftView(decided),
    unpaidInvoice,
    after: takesBackFirst ? after : given(after),
  };
}

/** What a stop charges and credits at once, and what of it waits. */
export interface QuotedStop extends QuotedAmounts {
  /** The estimate of what waits as DRAFT for late usage; null when nothing waits. It is the `invoice`, where none is issued at once. */
  draft: DraftInvoice | null;
}

/** Decides what a subscription that ends or is paused at `at` leaves to bill, as `billStop` would. */
export async function quotedStop(
  em: EntityManager,
  { at, graceHours, lines, ...of }: Parameters<typeof quotedAmounts>[1] & { at: Date; graceHours: number },
): Promise<QuotedStop> {
  const { atOnce, waiting } = partsOf(lines, graceHours);
  const amounts = await quotedAmounts(em, { ...of, lines: atOnce });
  if (graceHours === 0) return { ...amounts, draft: null };
  const estimate = { id: newId(), reason: of.reason, subscriptionId: null, period: null, lines: waiting };
  const decided = decideInvoice(estimate, unfunded(amounts.after), new Date(0));
  decided.invoice.finalizeAt = graceEnd(at, graceHours);
  const draft = draftView(decided);
  return { ...amounts, invoice: amounts.invoice ?? draft, draft, after: contextAfter(amounts.after, decided) };
}

/** One number for "the customer was shown exactly this": every line and every total. */
export function fingerprintOf(of: {
  /** The version of the plan that follows; null when none does. */
  planId: string | null;
  subscriptionVersion: number;
  effective: string;
  lines: readonly LineDraft[];
  amounts: Pick<QuotedAmounts, 'dueNowMinor' | 'creditMinor' | 'invoice' | 'unpaidInvoice'> &
    Partial<Pick<QuotedStop, 'draft'>>;
}): string {
  const { dueNowMinor, creditMinor, invoice, unpaidInvoice, draft } = of.amounts;
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
    dueNowMinor,
    creditMinor,
    invoice && shownOf(invoice),
    unpaidInvoice && [...shownOf(unpaidInvoice), unpaidInvoice.amountDueMinor],
    draft && shownOf(draft),
  ];
  return hashOf(shown);
}

/** What the customer sees of an invoice that is stored nowhere: every line and every total. */
export const shownOf = (invoice: DraftInvoice): unknown[] => [
  invoice.draftLines.map((line) => [line.description, line.amountMinor, line.discountMinor]),
  invoice.discounts,
  invoice.taxes,
  invoice.totalMinor,
];
