import type { EntityManager } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { draftInvoice, issueInvoice, type LineDraft } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { closeWindows, mayCostLate } from '../usage/windows.js';
import { decideStop, minimumOf } from './decide.js';
import type { PaidFee } from './paidFee.js';
import { readState } from './state.js';
import type { Subscription } from './subscription.entity.js';
import { takeBack } from './takeBack.js';

// What a subscription leaves to bill when it ends or is paused. In an account with a grace period the arrears wait as DRAFT for
// late usage; what is given back doesn't wait for them.

/** Hours for which the arrears wait; 0: they are billed at once, as without a charge no late usage could change them. */
export async function graceHoursOf(em: EntityManager, { accountId, id }: Subscription): Promise<number> {
  const { gracePeriodHours } = await em.findOneOrFail(Account, { id: accountId });
  const waits = gracePeriodHours > 0 && (await mayCostLate(em, { accountId, subscriptionId: id }));
  return waits ? gracePeriodHours : 0;
}

export const graceEnd = (at: Date, graceHours: number): Date => new Date(at.getTime() + graceHours * 3_600_000);

/** Which of the lines are billed at once, and which wait. */
export function partsOf(
  lines: readonly LineDraft[],
  graceHours: number,
): { atOnce: readonly LineDraft[]; waiting: readonly LineDraft[] } {
  if (graceHours === 0) return { atOnce: lines, waiting: [] };
  const isCredit = ({ kind }: LineDraft) => kind === 'proration_credit';
  return { atOnce: lines.filter(isCredit), waiting: lines.filter((line) => !isCredit(line)) };
}

/**
 * Closes the windows at `at` and bills what they hold, less what is given back of the fee (`paid`; undefined: nothing). The
 * first invoice that this makes, if any, bears `invoiceId`. Returns what to collect.
 */
export async function billStop(
  tx: Tx,
  subscription: Subscription,
  {
    at,
    paid,
    invoiceId,
    reason,
  }: { at: Date; paid: PaidFee | undefined; invoiceId: string; reason: Invoice['reason'] },
): Promise<string | undefined> {
  const { em, accountId } = tx;
  const { id: subscriptionId } = subscription;
  const state = await readState(em, subscription);
  const { start, end } = state.period;
  const graceHours = await graceHoursOf(em, subscription);
  const waits = graceHours > 0;
  const stopWith = (usage: readonly LineDraft[]) => decideStop({ state, at, usage, paid, waits });
  const credits = partsOf(stopWith([]).lines, graceHours).atOnce.length > 0;
  const draftId = credits ? newId() : invoiceId;
  const closing = waits ? { invoiceId: draftId, draftInvoiceId: draftId } : { invoiceId };
  const usage = await closeWindows(tx, { subscriptionId, at, ...closing });
  const { lines, takesBack } = stopWith(usage);
  await takeBack(tx, takesBack);
  const { atOnce, waiting } = partsOf(lines, graceHours);
  const invoice = { reason, subscriptionId, period: { start, end: at < end ? at : end } };
  const minimumSpend = minimumOf(state, at);
  let paymentId: string | undefined;
  if (atOnce.length > 0) {
    const collectFrom = await defaultPaymentMethod(em, accountId);
    const bills = waits ? undefined : minimumSpend;
    const issue = { ...invoice, id: invoiceId, lines: atOnce, minimumSpend: bills, issuedAt: at, collectFrom };
    ({ paymentId } = await issueInvoice(tx, issue));
  }
  if (waits)
    await draftInvoice(tx, {
      ...invoice,
      id: draftId,
      lines: waiting,
      minimumSpend,
      finalizeAt: graceEnd(at, graceHours),
    });
  return paymentId;
}
