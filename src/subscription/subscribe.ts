import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { currentPlan, featuresOf, planById } from '../catalog/plans.js';
import { BillingError, invalid } from '../domain/errors.js';
import { collectInvoice, voidInvoice } from '../invoice/collectInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { issueInvoice } from '../invoice/issueInvoice.js';
import { paymentError } from '../payment/charge.js';
import { Payment, PaymentMethod } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { resolvePaymentMethod } from '../payment/resolvePaymentMethod.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, inFlight, storedAnswer } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { openWindows } from '../usage/windows.js';
import { lockWallet } from '../wallet/wallets.js';
import { decideSubscribe } from './decide.js';
import { checkQuantity } from './lines.js';
import { fingerprintOf, quotedAmounts } from './quote.js';
import { reschedule } from './state.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription, liveSubscription } from './subscriptions.js';

export interface SubscribeInput {
  idempotencyKey?: string | undefined;
  planCode: string;
  /** Undefined: 1. */
  quantity?: number | undefined;
  /** Undefined: the default method. */
  paymentMethodId?: string | undefined;
  previewToken?: string | undefined;
}

export interface SubscriptionAnswer {
  subscriptionId: string;
  invoiceId: string | undefined;
  replayed: boolean;
  /** Declined or waiting for 3-D Secure: the change has not taken effect. */
  error: BillingError | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;
/** What an answer is made of. */
type Ids = Record<'subscriptionId' | 'invoiceId', string>;

/**
 * Subscribes the account to a plan: issues the first invoice, collects it, and activates. Declined: the subscription
 * stays INCOMPLETE, grants nothing, and becomes active if the invoice is paid within 24 h; subscribing again replaces it.
 * CONFLICT while another subscription is live. What is refused attaches no card: only a request that could succeed does.
 */
export async function subscribe(deps: Needs, actor: Actor, input: SubscribeInput): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;
  const before = deps.db.orm.em.fork();
  // Before the key is looked at: what the first request with this key made must not look like a conflict to its repeat.
  const live = await liveSubscription(before, accountId);
  const stored = await storedAnswer<Ids>(before, {
    accountId,
    operation: 'subscribe',
    key: idempotencyKey,
    input: request,
  });
  if (stored) return finishedAnswer(deps, { accountId, ...stored, replayed: true });
  await orderFor(before, await before.findOneOrFail(Account, { id: accountId }), input);
  if (live) {
    if (live.firstInvoiceId != null) await activatePaid(deps, { accountId, invoiceId: live.firstInvoiceId });
    if (!(await makesWay(before, live))) throw await alreadySubscribed(before, live);
  }
  const chosen =
    input.paymentMethodId === undefined
      ? undefined
      : await resolvePaymentMethod(deps, actor, { reference: input.paymentMethodId, idempotencyKey });

  const claim = await transact(deps, accountId, async (tx) => {
    // read
    const { em } = tx;
    const ids: Ids = { subscriptionId: newId(), invoiceId: newId() };
    const claimed = await claimKey(tx, { operation: 'subscribe', key: idempotencyKey, input: request, answer: ids });
    if (claimed.replayed) return { ...claimed, paymentId: undefined };
    const account = await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    const { plan, quantity } = await orderFor(em, account, input);
    await replaceIncomplete(tx);
    const quote = await openQuote(em, previewToken, {
      operation: 'subscribe',
      accountId,
      inputHash: inputHashOf(request),
      now: tx.now,
    });
    await lockWallet(tx); // with the account's row: what is quoted below is what the invoice takes

    // decide
    const at = quote?.at ?? tx.now;
    const { period, trial, lines, amounts, fingerprint } = await quoteSubscribe(em, { account, plan, quantity, at });
    checkQuote(quote, fingerprint);
    const method = chosen
      ? await em.findOne(PaymentMethod, { accountId, id: chosen })
      : await defaultPaymentMethod(em, accountId);
    if (amounts.dueNowMinor > 0n && !method) {
      throw new BillingError(
        'ILLEGAL_STATE',
        'The account has no payment method: add one, or name one in paymentMethodId',
        {
          field: ['paymentMethodId'],
        },
      );
    }

    // write
    const subscription = em.create(Subscription, {
      accountId,
      id: ids.subscriptionId,
      version: 1,
      status: 'INCOMPLETE',
      planId: plan.id,
      quantity,
      anchor: trial ? period.end : at,
      periodStart: period.start,
      periodEnd: period.end,
      trialEndsAt: trial ? period.end : null,
      firstInvoiceId: trial ? null : ids.invoiceId,
      createdAt: tx.now,
    });
    reschedule(subscription);
    if (trial) {
      await activate(tx, subscription);
      return { ...claimed, paymentId: undefined };
    }
    const { invoice, paymentId } = await issueInvoice(tx, {
      id: ids.invoiceId,
      reason: 'subscription_create',
      subscriptionId: subscription.id,
      period,
      lines,
      issuedAt: tx.now,
      collectFrom: method,
    });
    if (invoice.status === 'PAID') await activate(tx, subscription);
    return { ...claimed, paymentId };
  });

  const { subscriptionId, invoiceId } = claim.answer;
  await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  return finishedAnswer(deps, { accountId, subscriptionId, invoiceId, replayed: claim.replayed });
}

/** A repeat finishes as well: the process that took the money may have died before it activated what was paid. */
async function finishedAnswer(deps: Needs, of: Parameters<typeof subscriptionAnswer>[1] & Ids) {
  await activatePaid(deps, of);
  return subscriptionAnswer(deps, of);
}

/** The plan on offer, which must be in the account's currency, and how many of it. */
export async function orderFor(
  em: Tx['em'],
  { currency }: Pick<Account, 'currency'>,
  { planCode, quantity = 1 }: Pick<SubscribeInput, 'planCode' | 'quantity'>,
  ...field: string[]
): Promise<{ plan: Plan; quantity: number }> {
  const plan = await currentPlan(em, planCode, ...field, 'planCode');
  if (plan.currency !== currency)
    throw invalid(`${plan.code} is priced in ${plan.currency}, the account is in ${currency}`, ...field, 'planCode');
  checkQuantity(plan, quantity, ...field);
  return { plan, quantity };
}

/** What subscribing would cost; the mutation and its preview both decide here. */
export async function quoteSubscribe(
  em: Tx['em'],
  {
    account: { id: accountId, timeZone },
    plan,
    quantity,
    at,
    replaces,
  }: { account: Account; plan: Plan; quantity: number; at: Date; replaces?: string | null | undefined },
) {
  const decision = decideSubscribe({ plan, quantity, at, timeZone });
  const { lines } = decision;
  const amounts = await quotedAmounts(em, { accountId, lines, reason: 'subscription_create', replaces });
  const fingerprint = fingerprintOf({ planId: plan.id, subscriptionVersion: 0, effective: 'now', lines, amounts });
  return { ...decision, amounts, fingerprint };
}

/** An INCOMPLETE subscription makes way for a new try; any other live one is a CONFLICT. */
async function replaceIncomplete(tx: Tx): Promise<void> {
  const { em, accountId } = tx;
  const live = await em.findOne(
    Subscription,
    { accountId, status: { $ne: 'CANCELED' } },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  if (!live) return;
  await lockFirstInvoice(tx, live); // stays paid or unpaid, as it is now
  if (!(await makesWay(em, live))) throw await alreadySubscribed(em, live);
  await abandon(tx, live);
}

/** Nothing has been paid for it, and no payment is under way. */
async function makesWay(em: Tx['em'], { accountId, status, firstInvoiceId }: Subscription): Promise<boolean> {
  if (status !== 'INCOMPLETE') return false;
  if (firstInvoiceId == null) return true;
  const paid = await em.count(Invoice, { accountId, id: firstInvoiceId, status: 'PAID' });
  const underWay = await em.count(Payment, { accountId, subjectId: firstInvoiceId, status: 'PENDING' });
  return paid + underWay === 0;
}

async function alreadySubscribed(em: Tx['em'], { planId, status }: Subscription): Promise<BillingError> {
  const { code } = await planById(em, planId);
  const message = `The account already has a subscription to ${code} (${status}): change or cancel it instead`;
  return new BillingError('CONFLICT', message, { field: ['planCode'] });
}

const lockFirstInvoice = async ({ em, accountId }: Tx, { firstInvoiceId }: Subscription): Promise<Invoice | null> =>
  firstInvoiceId == null
    ? null
    : em.findOne(Invoice, { accountId, id: firstInvoiceId }, { lockMode: LockMode.PESSIMISTIC_WRITE });

/**
 * Activates an INCOMPLETE subscription whose first invoice is paid and answers whether it did: whoever would abandon one
 * asks here first, as the reaction to the payment may still be on its way. Unpaid, the invoice stays so (it is locked).
 */
export async function activateIfPaid(tx: Tx, subscription: Subscription): Promise<boolean> {
  const invoice = await lockFirstInvoice(tx, subscription);
  if (invoice?.status !== 'PAID') return false;
  await activate(tx, subscription);
  await tx.em.flush();
  return true;
}

/** Ends an INCOMPLETE subscription that isn't paid: its invoice is voided, nothing was ever granted. */
export async function abandon(tx: Tx, subscription: Subscription): Promise<void> {
  const invoice = await lockFirstInvoice(tx, subscription);
  if (invoice) await voidInvoice(tx, invoice);
  subscription.status = 'CANCELED';
  subscription.canceledAt = tx.now;
  subscription.version += 1;
  reschedule(subscription);
  await tx.em.flush();
}

/** Grants what the plan grants, from the start of the first period. */
async function activate(tx: Tx, subscription: Subscription): Promise<void> {
  const { em, accountId } = tx;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  subscription.status = subscription.trialEndsAt ? 'TRIALING' : 'ACTIVE';
  reschedule(subscription);
  const period = { start: subscription.periodStart, end: subscription.periodEnd };
  const features = await featuresOf(em, subscription.planId);
  const trial = subscription.status === 'TRIALING';
  await openWindows(tx, { subscriptionId: subscription.id, period, features, currency, timeZone, trial });
  await emitSubscription(tx, 'subscription.created', subscription);
}

/** Activates the subscription whose first invoice this is, once it is paid; does nothing for any other invoice. */
export async function activatePaid(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, invoiceId }: { accountId: string; invoiceId: string },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const subscription = await tx.em.findOne(
      Subscription,
      { accountId, firstInvoiceId: invoiceId, status: 'INCOMPLETE' },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (subscription) await activateIfPaid(tx, subscription);
  });
}

/** What the caller of a change is told, built from the rows it made; a repeat with the same key builds the same. */
export async function subscriptionAnswer(
  deps: Pick<Deps, 'db'>,
  {
    accountId,
    subscriptionId,
    invoiceId,
    replayed,
  }: { accountId: string; subscriptionId: string; invoiceId: string | undefined; replayed: boolean },
): Promise<SubscriptionAnswer> {
  const em = deps.db.orm.em.fork();
  const invoice = invoiceId === undefined ? null : await em.findOne(Invoice, { accountId, id: invoiceId });
  const [payment] = invoice
    ? await em.find(Payment, { accountId, subjectId: invoice.id }, { orderBy: { id: 'asc' }, limit: 1 })
    : [];
  if (replayed && payment?.status === 'PENDING') throw inFlight();
  return { subscriptionId, invoiceId: invoice?.id, replayed, error: payment && paymentError(payment) };
}
