import { BillingError } from '../domain/errors.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { lockFunds } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { decideRenewal } from './decide.js';
import { fingerprintOf, quotedAmounts } from './quote.js';
import { catchUp } from './renew.js';
import { readState } from './state.js';
import { type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import type { Subscription } from './subscription.entity.js';
import { checkVersion, lockSubscription } from './subscriptions.js';
import { finishChange, issueChange, makeWayForChange } from './waitingChange.js';

export interface ResumeSubscriptionInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  expectedVersion?: number | undefined;
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Ends a pause: a new period begins now, and its fee is collected first. Paid, the subscription is active again; declined,
 * it stays paused and the invoice is void.
 */
export async function resumeSubscription(
  deps: Needs,
  actor: Actor,
  input: ResumeSubscriptionInput,
): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;
  await catchUp(deps, actor, input.subscriptionId);

  const claim = await transact(deps, accountId, async (tx) => {
    // read
    const { em } = tx;
    const subscription = await lockSubscription(tx, input.subscriptionId);
    const answer = { subscriptionId: subscription.id, invoiceId: newId() };
    const claimed = await claimKey(tx, {
      operation: 'resumeSubscription',
      key: idempotencyKey,
      input: request,
      answer,
    });
    if (claimed.replayed) return { ...claimed, paymentId: undefined };
    checkVersion(subscription, input.expectedVersion);
    await makeWayForChange(tx, subscription);
    const quote = await openQuote(em, previewToken, {
      operation: 'resumeSubscription',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });
    await lockFunds(tx); // what is quoted below is what the invoice takes

    // decide
    const { after, lines, amounts, fingerprint } = await quoteResume(em, { subscription, at: quote?.at ?? tx.now });
    checkQuote(quote, fingerprint);
    const collectFrom = await defaultPaymentMethod(em, accountId);
    if (amounts.dueNowMinor > 0n && !collectFrom) {
      throw new BillingError('ILLEGAL_STATE', 'The account has no payment method for the new period: add one first', {
        field: ['subscriptionId'],
      });
    }

    // write
    const paymentId = await issueChange(tx, subscription, {
      plan: after.terms,
      quantity: after.quantity,
      id: claimed.answer.invoiceId,
      reason: 'subscription_resume',
      period: after.period,
      lines,
      collectFrom,
    });
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  await finishChange(deps, { accountId, invoiceId }); // for a repeat as well, as in changePlan
  return subscriptionAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed });
}

/** What resuming would cost: the fee of the period that would begin at `at`, on the plan that was to take over next. */
export async function quoteResume(em: Tx['em'], { subscription, at }: { subscription: Subscription; at: Date }) {
  const { accountId, status, version } = subscription;
  if (status !== 'PAUSED') {
    throw new BillingError('ILLEGAL_STATE', `The subscription is ${status}, expected PAUSED`, {
      field: ['subscriptionId'],
    });
  }
  const state = await readState(em, subscription);
  const { state: after, lines } = decideRenewal({ state, step: { kind: 'resume', at }, usage: [] });
  const amounts = await quotedAmounts(em, {
    accountId,
    lines,
    reason: 'subscription_resume',
    replaces: subscription.changeInvoiceId,
  });
  const shown = { planId: after.terms.id, subscriptionVersion: version, effective: 'now' };
  return { after, lines, amounts, fingerprint: fingerprintOf({ ...shown, lines, amounts }) };
}
