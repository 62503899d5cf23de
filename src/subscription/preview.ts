import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { featuresOf } from '../catalog/plans.js';
import { BillingError } from '../domain/errors.js';
import type { Lifecycle } from '../domain/lifecycle.js';
import { couponToTake } from '../invoice/applyCoupon.js';
import type { DraftInvoice } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { accountNow } from '../platform/clock.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { inputHashOf, quoteValidMs, sealQuote } from '../platform/quote.js';
import { quoteTopUp, type TopUpInput } from '../wallet/topUp.js';
import { type ApplyCouponInput, quoteCoupon } from './applyCouponAsShown.js';
import { type CancelSubscriptionInput, quoteCancel } from './cancelSubscription.js';
import { type ChangePlanInput, orderToChangeTo, quoteChange } from './changePlan.js';
import { type PauseSubscriptionInput, quotePause } from './pauseSubscription.js';
import type { QuotedAmounts, QuotedStop } from './quote.js';
import { quoteResume, type ResumeSubscriptionInput } from './resumeSubscription.js';
import { firstState } from './state.js';
import { orderFor, quoteSubscribe, type SubscribeInput } from './subscribe.js';
import { liveSubscription, ownSubscription } from './subscriptions.js';
import { type Upcoming, upcomingInvoice } from './upcomingInvoice.js';

/** The mutations that can be previewed, with their commands. */
interface Previewed {
  subscribe: SubscribeInput;
  changePlan: ChangePlanInput;
  cancelSubscription: CancelSubscriptionInput;
  pauseSubscription: PauseSubscriptionInput;
  resumeSubscription: ResumeSubscriptionInput;
  topUp: TopUpInput;
  applyCoupon: ApplyCouponInput;
}

/** Exactly one of them. */
export type PreviewInput = { [Operation in keyof Previewed]: Pick<Previewed, Operation> }[keyof Previewed];

export interface PreviewAnswer {
  token: string;
  validUntil: Date;
  currency: string;
  dueNowMinor: bigint;
  creditMinor: bigint;
  lines: LineDraft[];
  /** The invoice it would issue, with coupons, taxes and what else waits for it; null when there is nothing to invoice. */
  invoice: DraftInvoice | null;
  /** The unpaid invoice that billed the period, as it would be then; null when it stays as it is. */
  unpaidInvoice: DraftInvoice | null;
  /** What would wait as DRAFT for late usage, an estimate; null when nothing would. */
  draft: DraftInvoice | null;
  /** The invoice that would follow by itself; null when none does. */
  nextInvoice: DraftInvoice | null;
}

interface Quoted {
  lines: LineDraft[];
  amounts: Pick<QuotedAmounts, 'dueNowMinor' | 'creditMinor'> & Partial<QuotedStop>;
  fingerprint: string;
  /** The subscription as the mutation would leave it; undefined: it has nothing to do with one. */
  after: Lifecycle<Plan> | undefined;
  /** What becomes of the usage's windows at once; undefined: they stay as they are. */
  windows?: Upcoming['windows'];
  /** The invoice that follows, where it is not just what `after` comes to. */
  nextInvoice?: DraftInvoice | null;
}

interface Asked {
  em: Tx['em'];
  actor: Actor;
  account: Account;
  at: Date;
}

type Quotes = { [Operation in keyof Previewed]: (asked: Asked, command: Previewed[Operation]) => Promise<Quoted> };

/** Each decides as its mutation does. */
const quotes: Quotes = {
  subscribe: async ({ em, account, at }, command) => {
    const { plan, quantity } = await orderFor(em, account, command, 'subscribe');
    const live = await liveSubscription(em, account.id);
    if (live && live.status !== 'INCOMPLETE')
      throw new BillingError('CONFLICT', 'The account already has a subscription: preview a change instead');
    const quoted = await quoteSubscribe(em, { account, plan, quantity, at, replaces: live?.firstInvoiceId });
    return {
      ...quoted,
      after: firstState({ plan, quantity, at, timeZone: account.timeZone, ...quoted }),
      windows: { features: await featuresOf(em, plan.id), goOn: false, subscriptionId: null, at },
    };
  },
  changePlan: async ({ em, account, at }, command) => {
    const subscription = await ownSubscription(em, account.id, command.subscriptionId);
    const to = await orderToChangeTo(em, subscription, command, 'changePlan');
    const quoted = await quoteChange(em, { subscription, to, request: command, at });
    if (quoted.decision.effective !== 'now') return quoted;
    const features = await featuresOf(em, to.plan.id);
    return { ...quoted, windows: { features, goOn: true, subscriptionId: subscription.id, at } };
  },
  cancelSubscription: async ({ em, account, at }, command) => {
    const subscription = await ownSubscription(em, account.id, command.subscriptionId);
    if (subscription.status === 'CANCELED')
      throw new BillingError('ILLEGAL_STATE', 'The subscription is already canceled');
    return quoteCancel(em, { subscription, timing: command.timing, at });
  },
  pauseSubscription: async ({ em, account, at }, command) => {
    const subscription = await ownSubscription(em, account.id, command.subscriptionId);
    return quotePause(em, { subscription, request: command, at });
  },
  resumeSubscription: async ({ em, account, at }, command) => {
    const subscription = await ownSubscription(em, account.id, command.subscriptionId);
    const quoted = await quoteResume(em, { subscription, at });
    const features = await featuresOf(em, quoted.after.terms.id);
    return { ...quoted, windows: { features, goOn: false, subscriptionId: subscription.id, at } };
  },
  topUp: async ({ account }, command) => ({ ...quoteTopUp(command, account.currency), lines: [], after: undefined }),
  applyCoupon: async ({ em, actor, account, at }, { couponCode }) => {
    const coupon = await couponToTake(em, { account, actor, couponCode, at });
    const quoted = await quoteCoupon(em, { account, coupon });
    return { ...quoted, amounts: { dueNowMinor: 0n, creditMinor: 0n }, lines: [], after: undefined };
  },
};

/** What a change would cost, changing nothing. The token makes the change charge exactly this or answer STALE_PREVIEW. */
export async function preview(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  input: PreviewInput,
): Promise<PreviewAnswer> {
  const [[operation, command]] = Object.entries(input) as [[keyof Previewed, never]];
  requireScope(actor, operation === 'topUp' ? 'wallet:read' : 'subscriptions:read');
  const { accountId } = actor;
  const em = deps.db.orm.em.fork();
  const at = await accountNow(em, deps.clock, accountId);
  const account = await em.findOneOrFail(Account, { id: accountId });

  const quoted = await quotes[operation]({ em, actor, account, at }, command);
  const { lines, amounts, fingerprint, after, windows, nextInvoice = null } = quoted;
  return {
    token: await sealQuote(em, { operation, accountId, inputHash: inputHashOf(command), at, fingerprint }),
    validUntil: new Date(at.getTime() + quoteValidMs),
    currency: account.currency,
    lines,
    dueNowMinor: amounts.dueNowMinor,
    creditMinor: amounts.creditMinor,
    invoice: amounts.invoice ?? null,
    unpaidInvoice: amounts.unpaidInvoice ?? null,
    draft: amounts.draft ?? null,
    nextInvoice: after
      ? await upcomingInvoice(em, { account, state: after, windows, context: amounts.after })
      : nextInvoice,
  };
}
