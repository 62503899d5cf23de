import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { featuresOf, planById } from '../catalog/plans.js';
import { BillingError } from '../domain/errors.js';
import { changed, resumed, sameRhythm } from '../domain/lifecycle.js';
import type { Period } from '../domain/period.js';
import { voidInvoice } from '../invoice/collectInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { type Issue, issueInvoice } from '../invoice/issueInvoice.js';
import { Payment } from '../payment/payment.entity.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { changeWindowLimits } from '../usage/windows.js';
import { grantCredit } from '../wallet/drawDown.js';
import { beginAgain } from './beginAgain.js';
import { fieldsOf, readState } from './state.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';
import { type TakeBack, takeBack } from './takeBack.js';

// What becomes of a change at once, or of the end of a pause: it waits for its payment, and takes effect or is dropped with it.

/**
 * Issues the invoice that a change waits for; one that is paid at once, from the wallet, lets it take effect at once. Returns
 * what to collect.
 */
export async function issueChange(
  tx: Tx,
  subscription: Subscription,
  {
    plan,
    quantity,
    takesBack = [],
    ...invoice
  }: { plan: Plan; quantity: number; takesBack?: TakeBack[] } & Omit<Issue, 'subscriptionId' | 'issuedAt'>,
): Promise<string | undefined> {
  const issued = await issueInvoice(tx, { ...invoice, subscriptionId: subscription.id, issuedAt: tx.now });
  subscription.changePlanId = plan.id;
  subscription.changeQuantity = quantity;
  subscription.changeInvoiceId = issued.invoice.id;
  subscription.changeTakesBack = takesBack;
  if (issued.invoice.status === 'PAID') await settleChange(tx, subscription, issued.invoice);
  return issued.paymentId;
}

/** A change whose payment waits for 3-D Secure gives way to a new one; one that is being charged does not. */
export async function makeWayForChange(tx: Tx, subscription: Subscription): Promise<void> {
  if (subscription.changeInvoiceId == null) return;
  const { accountId, em } = tx;
  const invoice = await em.findOneOrFail(
    Invoice,
    { accountId, id: subscription.changeInvoiceId },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  const charging = await em.count(Payment, { accountId, subjectId: invoice.id, status: 'PENDING' });
  if (charging > 0 || invoice.status === 'PAID') {
    throw new BillingError(
      'CONFLICT',
      'Another change of this subscription is being paid: try again when it has ended',
      {
        field: ['subscriptionId'],
        retryable: true,
      },
    );
  }
  await dropChange(tx, subscription, invoice);
}

/**
 * Before the period or the subscription ends: a change that waits for its payment is off, whatever is paid for it later
 * stays in the wallet. One that has been paid takes effect first.
 */
export async function endWaitingChange(tx: Tx, subscription: Subscription): Promise<void> {
  if (subscription.changeInvoiceId == null) return;
  const invoice = await tx.em.findOneOrFail(
    Invoice,
    { accountId: tx.accountId, id: subscription.changeInvoiceId },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  if (invoice.status === 'PAID') await settleChange(tx, subscription, invoice);
  else await dropChange(tx, subscription, invoice);
  await tx.em.flush();
}

async function dropChange(tx: Tx, subscription: Subscription, invoice: Invoice): Promise<void> {
  await voidInvoice(tx, invoice);
  forgetChange(subscription);
}

function forgetChange(subscription: Subscription): void {
  subscription.changeInvoiceId = null;
  subscription.changePlanId = null;
  subscription.changeQuantity = null;
  subscription.changeTakesBack = null;
}

/** Ends a change that waits for its payment, when this invoice is the one it waits for. Safe to repeat. */
export async function finishChange(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, invoiceId }: { accountId: string; invoiceId: string },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const subscription = await tx.em.findOne(
      Subscription,
      { accountId, changeInvoiceId: invoiceId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (!subscription) return;
    const invoice = await tx.em.findOneOrFail(
      Invoice,
      { accountId, id: invoiceId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    await settleChange(tx, subscription, invoice);
  });
}

/** Applies a change whose invoice is paid, drops one whose payment was declined; leaves one that is still being paid. */
async function settleChange(tx: Tx, subscription: Subscription, invoice: Invoice): Promise<void> {
  const { accountId, em } = tx;
  const open = await em.count(Payment, {
    accountId,
    subjectId: invoice.id,
    status: { $in: ['PENDING', 'REQUIRES_ACTION'] },
  });
  if (invoice.status === 'OPEN' && open > 0) return;
  const { changePlanId: planId, changeQuantity, changeTakesBack } = subscription;
  forgetChange(subscription);
  if (invoice.status !== 'PAID') return voidInvoice(tx, invoice); // declined: all stays as it was
  if (subscription.status === 'CANCELED' || planId == null) {
    // Paid for a change that can't take effect any more: the customer's, in the wallet, less what credit notes gave back.
    const amountMinor = invoice.totalMinor - invoice.creditNotedMinor;
    if (amountMinor > 0n) await grantCredit(tx, { amountMinor, referenceId: invoice.id });
    return;
  }
  const plan = await planById(em, planId);
  const quantity = changeQuantity ?? subscription.quantity;
  if (subscription.status === 'PAUSED') {
    subscription.pendingPlanId = plan.id;
    subscription.pendingQuantity = quantity;
    return beginAgain(tx, subscription, resumed(await readState(em, subscription), invoice.periodStart!));
  }
  await applyChange(tx, subscription, {
    plan,
    quantity,
    period: { start: invoice.periodStart!, end: invoice.periodEnd! },
  });
  await takeBack(tx, changeTakesBack ?? []);
}

/** The new plan from now on: the open windows keep their counts and take its limits. `period` is the invoice's. */
export async function applyChange(
  tx: Tx,
  subscription: Subscription,
  { plan, quantity, period }: { plan: Plan; quantity: number; period: Period | undefined },
): Promise<void> {
  const { em, accountId } = tx;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  const state = await readState(em, subscription);
  const restarts = !sameRhythm(state.terms, plan);
  const after = changed(state, { terms: plan, quantity, period: restarts ? period : undefined });
  Object.assign(subscription, fieldsOf(after));
  subscription.version += 1;
  await changeWindowLimits(tx, {
    subscriptionId: subscription.id,
    period: after.period,
    features: await featuresOf(em, plan.id),
    currency,
    timeZone,
    trial: after.status === 'TRIALING',
  });
  await emitSubscription(tx, 'subscription.updated', subscription);
}
