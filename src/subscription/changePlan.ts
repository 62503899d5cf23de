import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { currentPlan, featuresOf, planById } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import type { Proration } from '../domain/proration.js';
import { collectInvoice, voidInvoice } from '../invoice/collectInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { issueInvoice } from '../invoice/issueInvoice.js';
import { Payment } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { changeWindowLimits } from '../usage/windows.js';
import { grantCredit } from '../wallet/drawDown.js';
import { decideChange } from './decide.js';
import { checkQuote, fingerprintOf, inputHashOf, openQuote, quotedAmounts } from './quote.js';
import { type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription, lockSubscription } from './subscriptions.js';

export interface ChangePlanInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  planCode: string;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  proration: Proration;
  expectedVersion?: number | undefined;
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Changes the plan. At the period's end: noted, and undone by changing back before; so is a cancellation at the period's
 * end, by changing to the plan the subscription is on. At once: one invoice for the
 * difference, and the new plan takes effect when it is paid; declined, the old plan stays and the invoice is void.
 */
export async function changePlan(deps: Needs, actor: Actor, input: ChangePlanInput): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;

  const claim = await transact(deps, accountId, async (tx) => {
    // read
    const { em } = tx;
    const subscription = await lockSubscription(tx, input.subscriptionId);
    const answer = { subscriptionId: subscription.id, invoiceId: newId() };
    const claimed = await claimKey(tx, { operation: 'changePlan', key: idempotencyKey, input: request, answer });
    const nothingToPay = { ...claimed, paymentId: undefined };
    if (claimed.replayed) return nothingToPay;
    await lockSubscription(tx, input.subscriptionId, input.expectedVersion);
    const plan = await planToChangeTo(em, subscription, input.planCode, 'planCode');
    await makeWayForChange(tx, subscription);
    const quote = await openQuote(em, previewToken, {
      operation: 'changePlan',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });

    // decide
    const { decision, amounts, fingerprint } = await quoteChange(tx.em, {
      subscription,
      plan,
      request,
      at: quote?.at ?? tx.now,
    });
    checkQuote(quote, fingerprint);

    // write
    if (decision.effective === 'period_end') {
      const undoes = plan.id === subscription.planId;
      subscription.pendingPlanId = undoes ? null : plan.id;
      if (undoes) subscription.cancelAt = null;
      subscription.version += 1;
      await emitSubscription(tx, 'subscription.updated', subscription);
      return nothingToPay;
    }
    if (decision.lines.length === 0) {
      await applyChange(tx, subscription, { plan, period: undefined });
      return nothingToPay;
    }
    const method = await defaultPaymentMethod(em, accountId);
    if (amounts.dueNowMinor > 0n && !method) {
      throw new BillingError('ILLEGAL_STATE', 'The account has no payment method for the difference: add one first', {
        field: ['planCode'],
      });
    }
    const { invoice, paymentId } = await issueInvoice(tx, {
      id: claimed.answer.invoiceId,
      reason: 'subscription_change',
      subscriptionId: subscription.id,
      period: decision.period,
      lines: decision.lines,
      issuedAt: tx.now,
      collectFrom: method,
    });
    subscription.changePlanId = plan.id;
    subscription.changeInvoiceId = invoice.id;
    if (invoice.status === 'PAID') await settleChange(tx, subscription, invoice);
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  if (!claim.replayed) {
    await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
    await finishChange(deps, { accountId, invoiceId });
  }
  return subscriptionAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed });
}

/** The plan on offer; for a subscription set to be canceled its own plan's code means the very version it is on. */
export async function planToChangeTo(
  em: Tx['em'],
  subscription: Subscription,
  planCode: string,
  ...field: string[]
): Promise<Plan> {
  const own = subscription.cancelAt && (await planById(em, subscription.planId));
  return own?.code === planCode ? own : currentPlan(em, planCode, ...field);
}

/** What changing would cost; the change and its preview both decide here. */
export async function quoteChange(
  em: Tx['em'],
  {
    subscription,
    plan,
    request,
    at,
  }: { subscription: Subscription; plan: Plan; request: Pick<ChangePlanInput, 'timing' | 'proration'>; at: Date },
) {
  const { accountId } = subscription;
  const account = await em.findOneOrFail(Account, { id: accountId });
  if (subscription.status === 'INCOMPLETE' || subscription.status === 'CANCELED' || subscription.status === 'PAUSED') {
    throw new BillingError(
      'ILLEGAL_STATE',
      `The subscription is ${subscription.status}, expected TRIALING, ACTIVE or PAST_DUE`,
      {
        field: ['subscriptionId'],
      },
    );
  }
  if (plan.currency !== account.currency)
    throw invalid(`${plan.code} is priced in ${plan.currency}, the account is in ${account.currency}`, 'planCode');
  const from = await planById(em, subscription.planId);
  if (plan.id === from.id && subscription.pendingPlanId == null && subscription.cancelAt == null) {
    throw new BillingError('ILLEGAL_STATE', `The subscription is already on ${plan.code}`, { field: ['planCode'] });
  }
  const decision = decideChange({
    from,
    to: plan,
    period: { start: subscription.periodStart, end: subscription.periodEnd },
    trialing: subscription.status === 'TRIALING',
    at,
    timeZone: account.timeZone,
    // Back to the plan one is on: there is only the pending change or cancellation to undo.
    timing: plan.id === from.id ? 'PERIOD_END' : request.timing,
    proration: request.proration,
    paidMinor: await paidForPeriod(em, subscription),
  });
  if (decision.effective === 'period_end' && subscription.cancelAt && plan.id !== from.id) {
    throw new BillingError(
      'ILLEGAL_STATE',
      `The subscription ends with this period: there is no next one to change for. Change to ${from.code}, the plan it is on, to undo the cancellation`,
      { field: ['timing'] },
    );
  }
  const lines = decision.effective === 'now' ? decision.lines : [];
  const { currency } = account;
  const amounts = await quotedAmounts(em, { accountId, currency, lines, replaces: subscription.changeInvoiceId });
  const fingerprint = fingerprintOf({
    planId: plan.id,
    subscriptionVersion: subscription.version,
    effective: decision.effective,
    lines,
    amounts,
  });
  const newInterval = plan.interval !== from.interval || plan.intervalCount !== from.intervalCount;
  return { decision, newInterval, lines, amounts, fingerprint };
}

/** Fees paid for the current period, net of credits, in minor units: every paid line that runs to the period's end. */
export async function paidForPeriod(em: Tx['em'], subscription: Subscription): Promise<bigint> {
  const [row] = await rowsOf(
    em,
    sql<{ paid: string }>`
      select coalesce(sum(line.amount_minor), 0)::text as paid
      from invoice join invoice_line line on line.account_id = invoice.account_id and line.invoice_id = invoice.id
      where invoice.account_id = ${subscription.accountId} and invoice.subscription_id = ${subscription.id}
        and invoice.status = 'PAID' and line.period_end = ${subscription.periodEnd}`,
  );
  return BigInt(row!.paid);
}

/** A change whose payment waits for 3-D Secure gives way to a new one; one that is being charged does not. */
async function makeWayForChange(tx: Tx, subscription: Subscription): Promise<void> {
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
  subscription.changeInvoiceId = null;
  subscription.changePlanId = null;
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

async function settleChange(tx: Tx, subscription: Subscription, invoice: Invoice): Promise<void> {
  const { accountId, em } = tx;
  const open = await em.count(Payment, {
    accountId,
    subjectId: invoice.id,
    status: { $in: ['PENDING', 'REQUIRES_ACTION'] },
  });
  if (invoice.status === 'OPEN' && open > 0) return;
  const planId = subscription.changePlanId;
  subscription.changeInvoiceId = null;
  subscription.changePlanId = null;
  if (invoice.status !== 'PAID') return voidInvoice(tx, invoice); // declined: the old plan stays
  if (subscription.status === 'CANCELED' || planId == null) {
    // Paid for a change that can't take effect any more: the customer's, in the wallet.
    const amountMinor = invoice.amountPaidMinor + invoice.walletAppliedMinor;
    if (amountMinor > 0n) await grantCredit(tx, { amountMinor, referenceId: invoice.id });
    return;
  }
  await applyChange(tx, subscription, {
    plan: await planById(em, planId),
    period: { start: invoice.periodStart!, end: invoice.periodEnd! },
  });
}

/** The new plan from now on: the open windows keep their counts and take its limits. */
async function applyChange(
  tx: Tx,
  subscription: Subscription,
  { plan, period }: { plan: Plan; period: { start: Date; end: Date } | undefined },
): Promise<void> {
  const { em, accountId } = tx;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  const before = await planById(em, subscription.planId);
  subscription.planId = plan.id;
  subscription.pendingPlanId = null;
  subscription.version += 1;
  if (period && (plan.interval !== before.interval || plan.intervalCount !== before.intervalCount)) {
    // Another interval: a new period that starts with the change.
    subscription.anchor = period.start;
    subscription.periodStart = period.start;
    subscription.periodEnd = period.end;
    subscription.dueAt = period.end;
    if (subscription.cancelAt) subscription.cancelAt = period.end;
  }
  await changeWindowLimits(tx, {
    subscriptionId: subscription.id,
    period: { start: subscription.periodStart, end: subscription.periodEnd },
    features: await featuresOf(em, plan.id),
    currency,
    timeZone,
  });
  await emitSubscription(tx, 'subscription.updated', subscription);
}
