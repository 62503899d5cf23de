import { Account } from '../account/account.entity.js';
import { featuresOf } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import { paused } from '../domain/lifecycle.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { lockFunds } from '../invoice/issueInvoice.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { usageSoFar } from '../usage/usageToBill.js';
import { lockOpenWindows, openWindows, vacateStart } from '../usage/windows.js';
import { decideStop } from './decide.js';
import { billStop, graceHoursOf } from './finalInvoice.js';
import { lockPeriodInvoices, type PaidFee, paidFee } from './paidFee.js';
import { fingerprintOf, quotedStop } from './quote.js';
import { catchUp } from './renew.js';
import { refuseWhileCharging } from './standing.js';
import { fieldsOf, readState } from './state.js';
import { type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import type { Subscription } from './subscription.entity.js';
import { checkVersion, emitSubscription, lockSubscription } from './subscriptions.js';
import { endWaitingChange } from './waitingChange.js';

export interface PauseSubscriptionInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  /** When it goes on by itself; undefined: when it is resumed by hand. */
  resumeAt?: Date | undefined;
  expectedVersion?: number | undefined;
  previewToken?: string | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** Until when a pause's windows refuse usage: nobody knows when it ends. */
const openEnd = new Date('9999-12-31T00:00:00Z');

/**
 * Stops a subscription at once: the usage so far is billed, the unused days go to the wallet (the day of the pause counts
 * as used). While it is paused there is no fee, no usage is accepted, and nothing renews.
 */
export async function pauseSubscription(
  deps: Needs,
  actor: Actor,
  input: PauseSubscriptionInput,
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
      operation: 'pauseSubscription',
      key: idempotencyKey,
      input: request,
      answer,
    });
    if (claimed.replayed) return { ...claimed, paymentId: undefined };
    checkVersion(subscription, input.expectedVersion);
    const quote = await openQuote(tx.em, previewToken, {
      operation: 'pauseSubscription',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });
    await endWaitingChange(tx, subscription);
    await lockOpenWindows(tx, subscription.id); // what is quoted below is what the windows close with
    await lockPeriodInvoices(tx, subscription);
    await refuseWhileCharging(tx, subscription);
    await lockFunds(tx); // and what the invoice takes
    const at = quote?.at ?? tx.now;

    // decide
    const { paid, fingerprint } = await quotePause(tx.em, { subscription, request, at });
    checkQuote(quote, fingerprint);

    // write
    const { invoiceId } = claimed.answer;
    const paymentId = await stopForPause(tx, subscription, { at, resumeAt: input.resumeAt ?? null, paid, invoiceId });
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  if (!claim.replayed) await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  // Paused is paused, whatever became of the payment for the usage: dunning sees to that.
  return {
    ...(await subscriptionAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed })),
    error: undefined,
  };
}

/** What pausing would credit, and what the usage so far adds. */
export async function quotePause(
  em: Tx['em'],
  {
    subscription,
    request: { resumeAt },
    at,
  }: { subscription: Subscription; request: Pick<PauseSubscriptionInput, 'resumeAt'>; at: Date },
) {
  const { accountId, id: subscriptionId, status } = subscription;
  if (status !== 'ACTIVE' && status !== 'PAST_DUE') {
    throw new BillingError('ILLEGAL_STATE', `The subscription is ${status}, expected ACTIVE or PAST_DUE`, {
      field: ['subscriptionId'],
    });
  }
  if (subscription.cancelAt != null) {
    throw new BillingError('ILLEGAL_STATE', 'The subscription ends with this period: undo the cancellation first', {
      field: ['subscriptionId'],
    });
  }
  if (resumeAt !== undefined && resumeAt <= at)
    throw invalid(`resumeAt is ${resumeAt.toISOString()}, expected a time after ${at.toISOString()}`, 'resumeAt');
  if (resumeAt !== undefined && resumeAt >= openEnd)
    throw invalid(`resumeAt is ${resumeAt.toISOString()}, expected a time before ${openEnd.toISOString()}`, 'resumeAt');
  const state = await readState(em, subscription);
  const paid = await paidFee(em, subscription);
  const usage = await usageSoFar(em, { subscriptionId, accountId, at });
  const graceHours = await graceHoursOf(em, subscription);
  const { lines, takesBack } = decideStop({ state, at, usage, paid, waits: graceHours > 0 });
  const amounts = await quotedStop(em, {
    accountId,
    lines,
    takesBack,
    reason: 'subscription_pause',
    replaces: subscription.changeInvoiceId,
    at,
    graceHours,
  });
  const shown = { planId: subscription.planId, subscriptionVersion: subscription.version, effective: 'now' };
  return {
    paid,
    lines,
    amounts,
    after: paused(state, { at, resumeAt: resumeAt ?? null }),
    fingerprint: fingerprintOf({ ...shown, lines, amounts }),
  };
}

/** Pauses at `at`: windows close and are billed, others that refuse all usage take their place. Returns what to collect. */
export async function stopForPause(
  tx: Tx,
  subscription: Subscription,
  { at, resumeAt, paid, invoiceId }: { at: Date; resumeAt: Date | null; paid: PaidFee | undefined; invoiceId: string },
): Promise<string | undefined> {
  const { em, accountId } = tx;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  const { id: subscriptionId } = subscription;
  const state = await readState(em, subscription);
  const paymentId = await billStop(tx, subscription, { at, paid, invoiceId, reason: 'subscription_pause' });
  Object.assign(subscription, fieldsOf(paused(state, { at, resumeAt })));
  subscription.version += 1;
  await vacateStart(tx, { subscriptionId, at });
  await openWindows(tx, {
    subscriptionId,
    period: { start: at, end: openEnd },
    features: await featuresOf(em, subscription.planId),
    currency,
    timeZone,
    blocked: true,
  });
  await emitSubscription(tx, 'subscription.paused', subscription);
  return paymentId;
}
