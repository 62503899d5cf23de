import type { Account } from '../account/account.entity.js';
import type { Coupon } from '../catalog/plan.entity.js';
import { Decimal } from '../domain/decimal.js';
import { type ApplyCouponInput as ApplyInput, applyCoupon, periodsOf } from '../invoice/applyCoupon.js';
import { type BillingContext, billingContext } from '../invoice/billingContext.js';
import { draftsToDiscount } from '../invoice/waitingDrafts.js';
import type { Actor } from '../platform/actor.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { hashOf } from '../platform/idempotency.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { shownOf } from './quote.js';
import { readState } from './state.js';
import { liveSubscription } from './subscriptions.js';
import { upcomingInvoice } from './upcomingInvoice.js';

export interface ApplyCouponInput extends ApplyInput {
  previewToken?: string | undefined;
}

/**
 * Takes a coupon. With the token of a preview: only while the next invoice with it is still the one that was shown, else
 * STALE_PREVIEW. Stands here, as only a subscription knows its next invoice.
 */
export const applyCouponAsShown = (
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { previewToken, ...input }: ApplyCouponInput,
): ReturnType<typeof applyCoupon> =>
  applyCoupon(deps, actor, input, async (tx, decided) => {
    const { accountId, em, now } = tx;
    const inputHash = inputHashOf(input);
    const quote = await openQuote(em, previewToken, { operation: 'applyCoupon', accountId, inputHash, now });
    if (quote) checkQuote(quote, (await quoteCoupon(em, decided)).fingerprint);
  });

/** The account's next invoice as the coupon would make it; the mutation with a token and its preview both decide here. */
export async function quoteCoupon(em: Tx['em'], { account, coupon }: { account: Account; coupon: Coupon }) {
  const subscription = await liveSubscription(em, account.id);
  const context = await withCoupon(em, await billingContext(em, account.id), coupon);
  const state = subscription && (await readState(em, subscription));
  const nextInvoice = state ? await upcomingInvoice(em, { account, state, context }) : null;
  const shown = [coupon.id, subscription?.id, subscription?.version, nextInvoice && shownOf(nextInvoice)];
  return { nextInvoice, fingerprint: hashOf(shown) };
}

/**
 * Among the coupons it comes last, as the newest does, with what drafts that wait leave of it. It has no id yet; its coupon's
 * stands for it.
 */
async function withCoupon(em: Tx['em'], context: BillingContext, coupon: Coupon): Promise<BillingContext> {
  const terms = {
    amountMinor: coupon.amountMinor ?? null,
    percent: coupon.percent == null ? null : new Decimal(coupon.percent),
    planCodes: coupon.planCodes,
    metricCodes: coupon.metricCodes,
  };
  const periods = periodsOf(coupon);
  const periodsLeft = periods && periods - (await draftsToDiscount(em, context.accountId, terms));
  if (periodsLeft !== null && periodsLeft <= 0) return context;
  const { id: appliedCouponId, code, name } = coupon;
  return { ...context, coupons: [...context.coupons, { appliedCouponId, code, name, ...terms, periodsLeft }] };
}
