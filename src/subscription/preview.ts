import { Account } from '../account/account.entity.js';
import { currentPlan, featuresOf } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import type { DraftInvoice } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { type CancelSubscriptionInput, quoteCancel } from './cancelSubscription.js';
import { type ChangePlanInput, planToChangeTo, quoteChange } from './changePlan.js';
import { decideSubscribe } from './decide.js';
import {
  fingerprintOf,
  inputHashOf,
  type QuotedAmounts,
  type QuotedOperation,
  quotedAmounts,
  quoteValidMs,
  sealQuote,
} from './quote.js';
import type { SubscribeInput } from './subscribe.js';
import { liveSubscription, ownSubscription } from './subscriptions.js';
import { upcomingInvoice } from './upcomingInvoice.js';

export type PreviewInput =
  | { subscribe: SubscribeInput }
  | { changePlan: ChangePlanInput }
  | { cancelSubscription: CancelSubscriptionInput };

export interface PreviewAnswer {
  token: string;
  validUntil: Date;
  currency: string;
  dueNowMinor: bigint;
  creditMinor: bigint;
  lines: LineDraft[];
  /** The invoice it would issue, with coupons, taxes and what else waits for it; null when there is nothing to invoice. */
  invoice: DraftInvoice | null;
  /** The renewal that would follow; null when none does. */
  nextInvoice: DraftInvoice | null;
}

/** What a change would cost, changing nothing. The token makes the change charge exactly this or answer STALE_PREVIEW. */
export async function preview(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  input: PreviewInput,
): Promise<PreviewAnswer> {
  requireScope(actor, 'subscriptions:read');
  const { accountId } = actor;
  const em = deps.db.orm.em.fork();
  const at = deps.clock.now();
  const account = await em.findOneOrFail(Account, { id: accountId });

  const seal = async (
    operation: QuotedOperation,
    {
      idempotencyKey: _key,
      previewToken: _token,
      ...request
    }: SubscribeInput | ChangePlanInput | CancelSubscriptionInput,
    quoted: { lines: LineDraft[]; amounts: QuotedAmounts; fingerprint: string },
    next: Omit<Parameters<typeof upcomingInvoice>[1], 'account'> | null,
  ): Promise<PreviewAnswer> => ({
    token: await sealQuote(em, {
      operation,
      accountId,
      inputHash: inputHashOf(request),
      at,
      fingerprint: quoted.fingerprint,
    }),
    validUntil: new Date(at.getTime() + quoteValidMs),
    currency: account.currency,
    lines: quoted.lines,
    dueNowMinor: quoted.amounts.dueNowMinor,
    creditMinor: quoted.amounts.creditMinor,
    invoice: quoted.amounts.invoice,
    nextInvoice: next && (await upcomingInvoice(em, { account, context: quoted.amounts.after, ...next })),
  });

  if ('subscribe' in input) {
    const { timeZone, currency } = account;
    const plan = await currentPlan(em, input.subscribe.planCode, 'subscribe', 'planCode');
    if (plan.currency !== currency)
      throw invalid(
        `${plan.code} is priced in ${plan.currency}, the account is in ${currency}`,
        'subscribe',
        'planCode',
      );
    const live = await liveSubscription(em, accountId);
    if (live && live.status !== 'INCOMPLETE')
      throw new BillingError('CONFLICT', 'The account already has a subscription: preview a change instead');
    const { lines, period, trial } = decideSubscribe({ plan, at, timeZone });
    const amounts = await quotedAmounts(em, {
      accountId,
      currency,
      lines,
      replaces: live?.firstInvoiceId,
      reason: 'subscription_create',
    });
    const fingerprint = fingerprintOf({ planId: plan.id, subscriptionVersion: 0, effective: 'now', lines, amounts });
    return seal(
      'subscribe',
      input.subscribe,
      { lines, amounts, fingerprint },
      { plan, anchor: trial ? period.end : at, period },
    );
  }
  if ('changePlan' in input) {
    const subscription = await ownSubscription(em, accountId, input.changePlan.subscriptionId);
    const plan = await planToChangeTo(em, subscription, input.changePlan.planCode, 'changePlan', 'planCode');
    const quoted = await quoteChange(em, { subscription, plan, request: input.changePlan, at });
    const { decision, newInterval } = quoted;
    const current = { start: subscription.periodStart, end: subscription.periodEnd };
    if (decision.effective === 'period_end') {
      // Another interval counts its periods from where it takes over.
      return seal('changePlan', input.changePlan, quoted, {
        plan,
        anchor: newInterval ? current.end : subscription.anchor,
        period: current,
      });
    }
    const restarts = newInterval && subscription.status !== 'TRIALING';
    const period = restarts ? decision.period : current;
    return seal('changePlan', input.changePlan, quoted, {
      plan: subscription.cancelAt ? null : plan, // set to be canceled, it stays so
      anchor: newInterval ? (restarts ? period.start : period.end) : subscription.anchor,
      period,
      features: await featuresOf(em, plan.id),
    });
  }
  const subscription = await ownSubscription(em, accountId, input.cancelSubscription.subscriptionId);
  if (subscription.status === 'CANCELED')
    throw new BillingError('ILLEGAL_STATE', 'The subscription is already canceled');
  const quoted = await quoteCancel(em, { subscription, timing: input.cancelSubscription.timing, at });
  const ending = input.cancelSubscription.timing !== 'IMMEDIATE' && subscription.status !== 'INCOMPLETE';
  const period = { start: subscription.periodStart, end: subscription.periodEnd };
  return seal(
    'cancelSubscription',
    input.cancelSubscription,
    quoted,
    ending ? { plan: null, anchor: subscription.anchor, period } : null,
  );
}
