import { Account } from '../account/account.entity.js';
import { planById } from '../catalog/plans.js';
import { BillingError } from '../domain/errors.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { issueInvoice, type LineDraft } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { closeWindows, lockOpenWindows, usageSoFar } from '../usage/windows.js';
import { paidForPeriod } from './changePlan.js';
import { decideCancel } from './decide.js';
import { checkQuote, fingerprintOf, inputHashOf, openQuote, quotedAmounts } from './quote.js';
import { abandon, activateIfPaid, type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import type { Subscription } from './subscription.entity.js';
import { emitSubscription, lockSubscription } from './subscriptions.js';
import { endWaitingChange } from './waitingChange.js';

export interface CancelSubscriptionInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Cancels at the period's end (AUTO and the default) or at once, with credit for the unused days. Either way a final
 * invoice bills the usage in arrears. A subscription that was never paid just ends.
 */
export async function cancelSubscription(
  deps: Needs,
  actor: Actor,
  input: CancelSubscriptionInput,
): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;

  const claim = await transact(deps, accountId, async (tx) => {
    // read
    const subscription = await lockSubscription(tx, input.subscriptionId);
    const answer = { subscriptionId: subscription.id, invoiceId: newId() };
    const claimed = await claimKey(tx, {
      operation: 'cancelSubscription',
      key: idempotencyKey,
      input: request,
      answer,
    });
    const nothingToPay = { ...claimed, paymentId: undefined };
    if (claimed.replayed) return nothingToPay;
    if (subscription.status === 'INCOMPLETE') await activateIfPaid(tx, subscription); // paid: then there is one to cancel
    if (subscription.status === 'CANCELED') {
      throw new BillingError('ILLEGAL_STATE', 'The subscription is already canceled', { field: ['subscriptionId'] });
    }
    const quote = await openQuote(tx.em, previewToken, {
      operation: 'cancelSubscription',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });

    if (input.timing === 'IMMEDIATE') {
      await endWaitingChange(tx, subscription);
      await lockOpenWindows(tx, subscription.id); // what is quoted below is what the windows close with
    }
    const at = quote?.at ?? tx.now;

    // decide
    const { credit, fingerprint } = await quoteCancel(tx.em, { subscription, timing: input.timing, at });
    checkQuote(quote, fingerprint);

    // write
    if (subscription.status === 'INCOMPLETE') {
      await abandon(tx, subscription);
      return nothingToPay;
    }
    if (input.timing !== 'IMMEDIATE') {
      subscription.cancelAt = subscription.periodEnd;
      subscription.pendingPlanId = null;
      subscription.version += 1;
      await emitSubscription(tx, 'subscription.updated', subscription);
      return nothingToPay;
    }
    const paymentId = await endSubscription(tx, subscription, {
      at,
      credit,
      invoiceId: claimed.answer.invoiceId,
    });
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  if (!claim.replayed) await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  // Canceled is canceled, whatever became of the final payment: dunning sees to that.
  return {
    ...(await subscriptionAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed })),
    error: undefined,
  };
}

/** What cancelling would credit, and what the usage so far adds. */
export async function quoteCancel(
  em: Tx['em'],
  { subscription, timing, at }: { subscription: Subscription; timing: CancelSubscriptionInput['timing']; at: Date },
) {
  const { accountId } = subscription;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  const now = timing === 'IMMEDIATE' && subscription.status !== 'INCOMPLETE';
  const credit = now
    ? decideCancel({
        plan: await planById(em, subscription.planId),
        period: { start: subscription.periodStart, end: subscription.periodEnd },
        trialing: subscription.status === 'TRIALING',
        at,
        timeZone,
        paidMinor: await paidForPeriod(em, subscription),
      })
    : [];
  const lines = now ? [...credit, ...(await usageSoFar(em, { subscriptionId: subscription.id, accountId, at }))] : [];
  const replaces = now ? subscription.changeInvoiceId : null;
  const amounts = await quotedAmounts(em, { accountId, currency, lines, replaces });
  const effective = now ? 'now' : 'period_end';
  return {
    credit,
    lines,
    amounts,
    currency,
    fingerprint: fingerprintOf({ planId: null, subscriptionVersion: subscription.version, effective, lines, amounts }),
  };
}

/** Ends a subscription at `at`: windows close, the final invoice bills what they hold less the credit. Returns what to collect. */
export async function endSubscription(
  tx: Tx,
  subscription: Subscription,
  { at, credit, invoiceId }: { at: Date; credit: readonly LineDraft[]; invoiceId: string },
): Promise<string | undefined> {
  const period = { start: subscription.periodStart, end: at < subscription.periodEnd ? at : subscription.periodEnd };
  const usage = await closeWindows(tx, { subscriptionId: subscription.id, at });
  const lines = [...credit, ...usage];
  let paymentId: string | undefined;
  if (lines.length > 0) {
    const collectFrom = await defaultPaymentMethod(tx.em, tx.accountId);
    ({ paymentId } = await issueInvoice(tx, {
      id: invoiceId,
      reason: 'subscription_cancel',
      subscriptionId: subscription.id,
      period,
      lines,
      issuedAt: at,
      collectFrom,
    }));
  }
  subscription.status = 'CANCELED';
  subscription.canceledAt = at;
  subscription.cancelAt ??= at;
  subscription.pendingPlanId = null;
  subscription.dueAt = null;
  subscription.version += 1;
  await emitSubscription(tx, 'subscription.canceled', subscription);
  return paymentId;
}
