import { LockMode } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import { lastPaymentAttemptAt, nextPaymentAttemptAt } from '../domain/collection.js';
import { movements } from '../domain/ledger.js';
import type { ChargeOutcome } from '../integrations/payments/provider.js';
import { chargePayment, settlePayment } from '../payment/charge.js';
import { Payment } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { publicId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { type DueRow, finishDue, type SweepOf } from '../platform/sweeps.js';
import { creditWallet, returnToWallet } from '../wallet/creditWallet.js';
import { post } from '../wallet/ledger.js';
import { presentWallet } from '../wallet/wallet.present.js';
import { returnCredit } from './credit.js';
import { creditNotesByInvoiceIds } from './creditNotes.js';
import { dunnedReasons, Invoice, isDunned } from './invoice.entity.js';
import { presentInvoice } from './invoice.present.js';
import { linesOf } from './invoices.js';
import { intendInvoicePayment } from './issueInvoice.js';
import { giveBack } from './takings.js';

/** Charges an intended payment of an invoice and settles it; an unknown outcome is left to the sweep. */
export async function collectInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, paymentId }: { accountId: string; paymentId: string | undefined },
): Promise<void> {
  if (paymentId === undefined) return;
  const outcome = await chargePayment(deps, { accountId, paymentId });
  if (outcome) await settleInvoicePayment(deps, { accountId, paymentId, outcome });
}

/** Writes a payment's outcome on its invoice, once: PAID, or the next attempt, or UNCOLLECTIBLE when it gives up. */
export async function settleInvoicePayment(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, paymentId, outcome }: { accountId: string; paymentId: string; outcome: ChargeOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const { subjectId } = await tx.em.findOneOrFail(Payment, { accountId, id: paymentId });
    const invoice = await tx.em.findOneOrFail(
      Invoice,
      { accountId, id: subjectId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    const settled = await settlePayment(tx, { paymentId, outcome });
    if (!settled) return;
    const { payment, before } = settled;
    if (payment.status === 'SUCCEEDED')
      return isOwed(invoice) ? markPaid(tx, invoice, payment) : keepAsCredit(tx, payment, payment.amountMinor);
    if (invoice.status !== 'OPEN') return;
    if (payment.status === 'REQUIRES_ACTION') {
      await emit(tx, 'invoice.payment_action_required', invoice);
      // Nobody sits before a renewal: until the holder confirms, it counts as failed and waits for another card.
      return isDunned(invoice) ? markFailed(tx, invoice, 'authentication_required') : undefined;
    }
    if (before === 'REQUIRES_ACTION' && isDunned(invoice)) return; // counted as failed when the challenge began
    await markFailed(tx, invoice, payment.declineCode ?? 'card_declined');
  });
}

/** An invoice that was given up is still owed: money that comes late pays it. */
const isOwed = ({ status }: Invoice): boolean => status === 'OPEN' || status === 'UNCOLLECTIBLE';

async function markPaid(tx: Tx, invoice: Invoice, payment: Payment): Promise<void> {
  // A credit note may have lowered the debt while the payment waited for its holder; what is too much is his.
  const dueMinor = invoice.amountDueMinor < payment.amountMinor ? invoice.amountDueMinor : payment.amountMinor;
  await post(tx, {
    type: 'invoice_payment',
    currency: payment.currency,
    referenceId: payment.id,
    postings: movements.payByProvider(dueMinor),
  });
  invoice.amountPaidMinor += dueMinor;
  invoice.amountDueMinor -= dueMinor;
  invoice.status = 'PAID';
  invoice.paidAt = tx.now;
  invoice.nextPaymentAttemptAt = null;
  await emit(tx, 'invoice.paid', invoice);
  if (payment.amountMinor > dueMinor) await keepAsCredit(tx, payment, payment.amountMinor - dueMinor);
}

/** Money for an invoice that was voided or paid otherwise meanwhile has still moved: it is the customer's, in the wallet. */
async function keepAsCredit(tx: Tx, { id: referenceId }: Payment, amountMinor: bigint): Promise<void> {
  const { wallet, balanceMinor } = await creditWallet(tx, {
    type: 'top_up',
    postings: movements.topUp(amountMinor),
    grant: { kind: 'purchased', amountMinor, referenceId },
  });
  tx.emit({
    type: 'wallet.topped_up',
    data: { ...presentWallet({ wallet, balanceMinor }), payment_id: publicId('payment', referenceId) },
  });
}

async function markFailed(tx: Tx, invoice: Invoice, declineCode: string): Promise<void> {
  invoice.failedAttempts += 1;
  const firstAttemptAt = invoice.firstAttemptAt ?? tx.now;
  const { retryAfterDays } = await accountById(tx.em, tx.accountId);
  // Only time uses the schedule up, not attempts by hand or with a new card: as Stripe counts `attempt_count`.
  const daysSince = (tx.now.getTime() - firstAttemptAt.getTime()) / 86_400_000;
  const attempts = 1 + retryAfterDays.filter((days) => days <= daysSince).length;
  const next = nextPaymentAttemptAt({ attempts, firstAttemptAt, declineCode, retryAfterDays });
  const lastAttemptAt = lastPaymentAttemptAt(firstAttemptAt, retryAfterDays);
  const givesUp = isDunned(invoice) && ('exhausted' in next || tx.now >= lastAttemptAt);
  // A hard decline waits for another card, and is tried a last time when the schedule ends.
  invoice.nextPaymentAttemptAt = !isDunned(invoice) || givesUp ? null : 'at' in next ? next.at : lastAttemptAt;
  await emit(tx, 'invoice.failed', invoice, { decline_code: declineCode });
  if (givesUp) {
    invoice.status = 'UNCOLLECTIBLE';
    await emit(tx, 'invoice.uncollectible', invoice);
  }
}

async function emit(
  tx: Tx,
  type:
    | 'invoice.paid'
    | 'invoice.failed'
    | 'invoice.uncollectible'
    | 'invoice.voided'
    | 'invoice.payment_action_required',
  invoice: Invoice,
  more: object = {},
): Promise<void> {
  tx.emit({ type, data: { ...presentInvoice(invoice, await linesOf(tx.em, tx.accountId, invoice.id)), ...more } });
}

/**
 * Takes an unpaid invoice back: what its credit notes have left of its postings is reversed; what earlier credit and the
 * wallet had paid, coupons and items are there again.
 */
export async function voidInvoice(tx: Tx, invoice: Invoice): Promise<void> {
  if (invoice.status !== 'OPEN') return;
  const { currency } = invoice;
  const notes = (await creditNotesByInvoiceIds(tx.em, tx.accountId, [invoice.id])).get(invoice.id) ?? [];
  const notedTaxMinor = notes.reduce((sum, { status, taxMinor }) => (status === 'VOID' ? sum : sum + taxMinor), 0n);
  const amounts = {
    totalMinor: invoice.totalMinor - invoice.creditNotedMinor,
    taxMinor: invoice.taxMinor - notedTaxMinor,
  };
  await post(tx, {
    type: 'invoice_voided',
    currency,
    referenceId: invoice.id,
    postings: movements.cancelInvoice(amounts),
  });
  await returnCredit(tx, invoice.id);
  if (invoice.walletAppliedMinor > 0n) {
    await returnToWallet(tx, {
      type: 'wallet_payment_returned',
      referenceId: invoice.id,
      postings: movements.returnToWallet(invoice.walletAppliedMinor),
      invoiceId: invoice.id,
      amountMinor: invoice.walletAppliedMinor,
    });
  }
  await giveBack(tx, invoice);
  invoice.status = 'VOID';
  invoice.amountDueMinor = 0n;
  invoice.nextPaymentAttemptAt = null;
  await emit(tx, 'invoice.voided', invoice);
}

/** Is a charge of this invoice without an answer? Holds while the caller holds the invoice's row lock. */
export const isPaymentUnderWay = async (tx: Tx, invoiceId: string): Promise<boolean> =>
  (await tx.em.count(Payment, { accountId: tx.accountId, subjectId: invoiceId, status: 'PENDING' })) > 0;

/** Sweep: tries invoices again whose next attempt is due. */
export async function collectDueInvoices(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(deps, ['invoice', 'next_payment_attempt_at'], of, (invoice) => collectDueInvoice(deps, invoice));
}

/** Tries one invoice again if its next attempt is due. */
export async function collectDueInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, id }: Pick<DueRow, 'accountId' | 'id'>,
): Promise<void> {
  const paymentId = await transact(deps, accountId, async (tx) => {
    const invoice = await tx.em.findOneOrFail(Invoice, { accountId, id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (invoice.status !== 'OPEN' || !invoice.nextPaymentAttemptAt || invoice.nextPaymentAttemptAt > tx.now)
      return undefined;
    if (await isPaymentUnderWay(tx, id)) {
      invoice.nextPaymentAttemptAt = null; // its outcome says when to try again
      return undefined;
    }
    const method = await defaultPaymentMethod(tx.em, accountId);
    if (method) return intendInvoicePayment(tx, invoice, method);
    await markFailed(tx, invoice, 'no_payment_method');
    return undefined;
  });
  await collectInvoice(deps, { accountId, paymentId });
}

/** Reaction to a new default payment method: what is open is tried at once, whatever the schedule says. */
export async function retryOpenInvoices(deps: Pick<Deps, 'db' | 'clock'>, accountId: string): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    // Locked first: the second statement then sees the payments of whoever held the rows, and none can begin meanwhile.
    const open = await rowsOf(
      tx.em,
      sql<{ id: string }>`
        select id from invoice where account_id = ${accountId} and status = 'OPEN'
          and reason = any(${dunnedReasons}::text[]) order by id for update`,
    );
    await rowsOf(
      tx.em,
      sql`update invoice set next_payment_attempt_at = ${tx.now}
          where account_id = ${accountId} and id = any(${open.map(({ id }) => id)}::uuid[])
            and not exists (select 1 from payment where payment.account_id = ${accountId} and payment.subject_id = invoice.id
              and payment.status = 'PENDING')`,
    );
  });
}
