import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { currentPlan, planById } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import { changed } from '../domain/lifecycle.js';
import type { Proration } from '../domain/proration.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { lockFunds } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { lockOpenWindows } from '../usage/windows.js';
import { decideChange } from './decide.js';
import { checkQuantity } from './lines.js';
import { lockPeriodInvoices, paidFee } from './paidFee.js';
import { fingerprintOf, quotedAmounts } from './quote.js';
import { catchUp } from './renew.js';
import { refuseUnpaid, refuseWhileCharging } from './standing.js';
import { fieldsOf, readState } from './state.js';
import { type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import type { Subscription } from './subscription.entity.js';
import { checkVersion, emitSubscription, lockSubscription } from './subscriptions.js';
import { takeBack } from './takeBack.js';
import { applyChange, finishChange, issueChange, makeWayForChange } from './waitingChange.js';

export interface ChangePlanInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  planCode: string;
  /** Undefined: as it is. */
  quantity?: number | undefined;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  proration: Proration;
  expectedVersion?: number | undefined;
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Changes plan or quantity. At the period's end: noted, and undone by changing back before; so is a cancellation at the period's
 * end, by changing to the plan the subscription is on. At once: one invoice for the
 * difference, and the new plan takes effect when it is paid; declined, the old plan stays and the invoice is void.
 */
export async function changePlan(deps: Needs, actor: Actor, input: ChangePlanInput): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;
  await catchUp(deps, actor, input.subscriptionId);

  const claim = await transact(deps, accountId, async (tx) => {
    // read
    const { em } = tx;
    const subscription = await lockSubscription(tx, input.subscriptionId);
    const answer = { subscriptionId: subscription.id, invoiceId: newId() };
    const claimed = await claimKey(tx, { operation: 'changePlan', key: idempotencyKey, input: request, answer });
    const nothingToPay = { ...claimed, paymentId: undefined };
    if (claimed.replayed) return nothingToPay;
    checkVersion(subscription, input.expectedVersion);
    const to = await orderToChangeTo(em, subscription, input);
    await makeWayForChange(tx, subscription);
    await lockOpenWindows(tx, subscription.id); // before invoices, as whoever counts usage on a DRAFT does
    await lockPeriodInvoices(tx, subscription);
    const quote = await openQuote(em, previewToken, {
      operation: 'changePlan',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });
    await lockFunds(tx); // what is quoted below is what the invoice takes

    // decide
    const { decision, after, amounts, fingerprint } = await quoteChange(em, {
      subscription,
      to,
      request,
      at: quote?.at ?? tx.now,
    });
    checkQuote(quote, fingerprint);

    // write
    if (decision.effective === 'period_end') {
      Object.assign(subscription, fieldsOf(after));
      subscription.version += 1;
      await emitSubscription(tx, 'subscription.updated', subscription);
      return nothingToPay;
    }
    await refuseWhileCharging(tx, subscription);
    if (decision.lines.length === 0) {
      await applyChange(tx, subscription, { ...to, period: undefined });
      await takeBack(tx, decision.takesBack);
      return nothingToPay;
    }
    const method = await defaultPaymentMethod(em, accountId);
    if (amounts.dueNowMinor > 0n && !method) {
      throw new BillingError('ILLEGAL_STATE', 'The account has no payment method for the difference: add one first', {
        field: ['planCode'],
      });
    }
    const paymentId = await issueChange(tx, subscription, {
      ...to,
      id: claimed.answer.invoiceId,
      reason: 'subscription_change',
      period: decision.period,
      lines: decision.lines,
      takesBack: decision.takesBack,
      collectFrom: method,
    });
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  // For a repeat as well: the process that took the money may have died before the change took effect.
  await finishChange(deps, { accountId, invoiceId });
  return subscriptionAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed });
}

/**
 * The plan on offer and how many of it. The own plan's code means the very version one is on, where there is something
 * else to change: the quantity, or a cancellation to undo.
 */
export async function orderToChangeTo(
  em: Tx['em'],
  subscription: Subscription,
  { planCode, quantity = subscription.quantity }: Pick<ChangePlanInput, 'planCode' | 'quantity'>,
  ...field: string[]
): Promise<{ plan: Plan; quantity: number }> {
  const keeps = subscription.cancelAt != null || quantity !== subscription.quantity;
  const own = keeps ? await planById(em, subscription.planId) : undefined;
  const plan = own?.code === planCode ? own : await currentPlan(em, planCode, ...field, 'planCode');
  checkQuantity(plan, quantity, ...field);
  return { plan, quantity };
}

/** What changing would cost; the change and its preview both decide here. */
export async function quoteChange(
  em: Tx['em'],
  {
    subscription,
    to,
    request,
    at,
  }: {
    subscription: Subscription;
    to: { plan: Plan; quantity: number };
    request: Pick<ChangePlanInput, 'timing' | 'proration'>;
    at: Date;
  },
) {
  const { accountId } = subscription;
  const { currency } = await em.findOneOrFail(Account, { id: accountId });
  if (subscription.status === 'INCOMPLETE' || subscription.status === 'CANCELED' || subscription.status === 'PAUSED') {
    throw new BillingError(
      'ILLEGAL_STATE',
      `The subscription is ${subscription.status}, expected TRIALING, ACTIVE or PAST_DUE`,
      {
        field: ['subscriptionId'],
      },
    );
  }
  const { plan, quantity } = to;
  if (plan.currency !== currency)
    throw invalid(`${plan.code} is priced in ${plan.currency}, the account is in ${currency}`, 'planCode');
  const state = await readState(em, subscription);
  const from = { plan: state.terms, quantity: state.quantity };
  const undoes = plan.id === from.plan.id && quantity === from.quantity;
  const scheduled = state.pendingTerms !== null || state.pendingQuantity !== null || state.cancelAt !== null;
  if (undoes && !scheduled) {
    const times = quantity === 1 ? '' : `${quantity} × `;
    throw new BillingError('ILLEGAL_STATE', `The subscription is already on ${times}${plan.code}`, {
      field: ['planCode'],
    });
  }
  const decision = decideChange({
    from,
    to,
    period: state.period,
    trialing: state.status === 'TRIALING',
    at,
    timeZone: state.timeZone,
    // Back to what one is on: there is only the pending change or cancellation to undo.
    timing: undoes ? 'PERIOD_END' : request.timing,
    proration: request.proration,
    paid: await paidFee(em, subscription),
  });
  if (decision.effective === 'period_end' && state.cancelAt && !undoes) {
    throw new BillingError(
      'ILLEGAL_STATE',
      `The subscription ends with this period: there is no next one to change for. Change to ${from.plan.code}, the plan it is on, to undo the cancellation`,
      { field: ['timing'] },
    );
  }
  const { lines, takesBack } = decision.effective === 'now' ? decision : { lines: [], takesBack: [] };
  if (lines.length + takesBack.length > 0) await refuseUnpaid(em, subscription, at);
  const amounts = await quotedAmounts(em, {
    accountId,
    lines,
    takesBack,
    reason: 'subscription_change',
    replaces: subscription.changeInvoiceId,
  });
  const fingerprint = fingerprintOf({
    planId: plan.id,
    subscriptionVersion: subscription.version,
    effective: decision.effective,
    lines,
    amounts,
  });
  const after =
    decision.effective === 'now'
      ? changed(state, { terms: plan, quantity, period: decision.restarts ? decision.period : undefined })
      : {
          ...state,
          pendingTerms: plan.id === from.plan.id ? null : plan,
          pendingQuantity: quantity === from.quantity ? null : quantity,
          cancelAt: undoes ? null : state.cancelAt,
        };
  return { decision, after, lines, amounts, fingerprint };
}
