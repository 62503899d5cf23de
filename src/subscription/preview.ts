import { Account } from '../account/account.entity.js';
import { currentPlan } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import type { DraftInvoice } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { type CancelSubscriptionInput, quoteCancel } from './cancelSubscription.js';
import { type ChangePlanInput, quoteChange } from './changePlan.js';
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
    ...quoted.amounts,
    nextInvoice: next && (await upcomingInvoice(em, { account, ...next })),
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
    const amounts = await quotedAmounts(em, { accountId, currency, lines, replaces: live?.firstInvoiceId });
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
    const plan = await currentPlan(em, input.changePlan.planCode, 'changePlan', 'planCode');
    const quoted = await quoteChange(em, { subscription, plan, request: input.changePlan, at });
    const { decision } = quoted;
    const restarts = decision.effective === 'now' && decision.period.end.getTime() !== subscription.periodEnd.getTime();
    const period = restarts ? decision.period : { start: subscription.periodStart, end: subscription.periodEnd };
    return seal('changePlan', input.changePlan, quoted, {
      plan,
      anchor: restarts ? period.start : subscription.anchor,
      period,
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
