import { BillingError } from '../domain/errors.js';
import { ended } from '../domain/lifecycle.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { lockFunds } from '../invoice/issueInvoice.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { usageSoFar } from '../usage/usageToBill.js';
import { lockOpenWindows } from '../usage/windows.js';
import { decideStop } from './decide.js';
import { endSubscription } from './endSubscription.js';
import { graceHoursOf } from './finalInvoice.js';
import { lockPeriodInvoices, paidFee } from './paidFee.js';
import { fingerprintOf, quotedStop } from './quote.js';
import { catchUp } from './renew.js';
import { refuseWhileCharging } from './standing.js';
import { readState, reschedule } from './state.js';
import { abandon, activateIfPaid, type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import type { Subscription } from './subscription.entity.js';
import { checkVersion, emitSubscription, lockSubscription } from './subscriptions.js';
import { endWaitingChange } from './waitingChange.js';

export interface CancelSubscriptionInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  timing: 'AUTO' | 'IMMEDIATE' | 'PERIOD_END';
  expectedVersion?: number | undefined;
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Cancels at the period's end (AUTO and the default) or at once, with credit for the unused days. Either way a final
 * invoice bills the usage in arrears; with a grace period it waits as DRAFT. A subscription that was never paid just ends.
 */
export async function cancelSubscription(
  deps: Needs,
  actor: Actor,
  input: CancelSubscriptionInput,
): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;
  await catchUp(deps, actor, input.subscriptionId);

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
    checkVersion(subscription, input.expectedVersion);
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

    if (input.timing === 'IMMEDIATE' || subscription.status === 'PAUSED') {
      await endWaitingChange(tx, subscription);
      await lockOpenWindows(tx, subscription.id); // what is quoted below is what the windows close with
      await lockPeriodInvoices(tx, subscription);
      await refuseWhileCharging(tx, subscription);
      await lockFunds(tx); // and what the invoice takes
    }
    const at = quote?.at ?? tx.now;

    // decide
    const { effective, paid, fingerprint } = await quoteCancel(tx.em, { subscription, timing: input.timing, at });
    checkQuote(quote, fingerprint);

    // write
    if (subscription.status === 'INCOMPLETE') {
      await abandon(tx, subscription);
      return nothingToPay;
    }
    if (effective === 'period_end') {
      subscription.cancelAt = subscription.periodEnd;
      subscription.pendingPlanId = null;
      subscription.pendingQuantity = null;
      subscription.version += 1;
      reschedule(subscription);
      await emitSubscription(tx, 'subscription.updated', subscription);
      return nothingToPay;
    }
    const paymentId = await endSubscription(tx, subscription, {
      at,
      paid,
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

/** What cancelling would credit, and what the usage so far adds. A pause has no period to wait for: it ends at once. */
export async function quoteCancel(
  em: Tx['em'],
  { subscription, timing, at }: { subscription: Subscription; timing: CancelSubscriptionInput['timing']; at: Date },
) {
  const { accountId } = subscription;
  const atOnce = timing === 'IMMEDIATE' || subscription.status === 'PAUSED';
  const now = atOnce && subscription.status !== 'INCOMPLETE';
  const state = await readState(em, subscription);
  const paid = now ? await paidFee(em, subscription) : undefined;
  const usage = now ? await usageSoFar(em, { subscriptionId: subscription.id, accountId, at }) : [];
  const graceHours = now ? await graceHoursOf(em, subscription) : 0;
  const waits = graceHours > 0;
  const { lines, takesBack } = now ? decideStop({ state, at, usage, paid, waits }) : { lines: [], takesBack: [] };
  const replaces = now ? subscription.changeInvoiceId : null;
  const reason = 'subscription_cancel';
  const amounts = await quotedStop(em, { accountId, lines, takesBack, reason, replaces, at, graceHours });
  const effective = now ? 'now' : 'period_end';
  return {
    effective,
    paid,
    lines,
    amounts,
    after: now || subscription.status === 'INCOMPLETE' ? ended(state, at) : { ...state, cancelAt: state.period.end },
    fingerprint: fingerprintOf({ planId: null, subscriptionVersion: subscription.version, effective, lines, amounts }),
  };
}
