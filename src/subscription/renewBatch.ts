import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { Plan, type PlanFeature } from '../catalog/plan.entity.js';
import { featuresByPlanIds } from '../catalog/plans.js';
import { dueStep, type Lifecycle, type Step } from '../domain/lifecycle.js';
import { type BillingContext, billingContexts } from '../invoice/billingContext.js';
import { type DecidedInvoice, decideInvoice } from '../invoice/decideInvoice.js';
import { isPlain, issueInvoices } from '../invoice/issueInvoices.js';
import type { PaymentMethod } from '../payment/payment.entity.js';
import { defaultPaymentMethods } from '../payment/paymentMethods.js';
import { type ManyTx, transactMany } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import type { UsageWindow } from '../usage/usage.entity.js';
import { closeEach, endedLine, endWindows, openAllWindows, openWindowsOf } from '../usage/windows.js';
import { decideRenewal, minimumOf } from './decide.js';
import { retriedFirst } from './standing.js';
import { fieldsOf, stateOf } from './state.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';

// Renewals by the set: what `renew` does to one subscription in a transaction of its own is done to hundreds in one, by the
// same rules, with one statement where that has one for each.

/** A subscription by its key. */
export interface SubscriptionKey {
  accountId: string;
  subscriptionId: string;
}

/** A renewal that was done, and what to collect of it. */
export interface Renewed extends SubscriptionKey {
  currency: string;
  totalMinor: bigint;
  paymentId: string | undefined;
}

export interface BatchOutcome {
  renewed: Renewed[];
  /** Their step is another one, or needs more than a renewal by the set does: they are to be advanced one by one. */
  left: SubscriptionKey[];
}

/**
 * Renews these subscriptions, one of each account, in one transaction: those that are still due, that nobody else has
 * locked, and whose renewal is a plain one. What one account's data make fail takes all back.
 */
export function renewBatch(deps: Pick<Deps, 'db' | 'clock'>, keys: readonly SubscriptionKey[]): Promise<BatchOutcome> {
  const accountIds = keys.map(({ accountId }) => accountId);
  return transactMany(deps, accountIds, async (many) => {
    const subscriptions = await many.em.find(
      Subscription,
      { accountId: { $in: accountIds }, id: { $in: keys.map(({ subscriptionId }) => subscriptionId) } },
      { lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE, orderBy: { accountId: 'asc' } },
    );
    const due = subscriptions.filter(({ accountId, dueAt }) => dueAt != null && dueAt <= many.of(accountId).now);
    const renewals = await readRenewals(many.em, due, { lock: true });
    const retried = await retriedFirst(many.em, due);
    const plain = renewals.filter(
      (renewal) => !retried.has(renewal.subscription.id) && canRenewBySet(renewal, many.of(renewal.account.id).now),
    );
    const plainIds = new Set(plain.map((renewal) => renewal.subscription.id));
    return {
      renewed: plain.length === 0 ? [] : await renewAll(many, plain),
      left: due.filter(({ id }) => !plainIds.has(id)).map(keyOf),
    };
  });
}

/** What a renewal depends on. */
export interface Renewal {
  subscription: Subscription;
  account: Account;
  state: Lifecycle<Plan>;
  step: Step;
  windows: readonly UsageWindow[];
  context: BillingContext;
  collectFrom: PaymentMethod | null;
}

/**
 * Everything renewals depend on, a statement for each kind of it. Those whose next step isn't the end of a period are left
 * out. `lock`: in the order in which a single renewal locks, windows before accounts.
 */
export async function readRenewals(
  em: EntityManager,
  subscriptions: readonly Subscription[],
  { lock }: { lock: boolean },
): Promise<Renewal[]> {
  const accountIds = subscriptions.map(({ accountId }) => accountId);
  const planIds = subscriptions.flatMap(({ planId, pendingPlanId }) => [
    planId,
    ...(pendingPlanId ? [pendingPlanId] : []),
  ]);
  const plans = byId(await em.find(Plan, { id: { $in: [...new Set(planIds)] } }));
  const windows = await openWindowsOf(em, subscriptions, { lock });
  const accounts = byId(
    await em.find(
      Account,
      { id: { $in: accountIds } },
      { orderBy: { id: 'asc' }, ...(lock && { lockMode: LockMode.PESSIMISTIC_WRITE }) },
    ),
  );
  const contexts = await billingContexts(em, accountIds);
  const methods = await defaultPaymentMethods(em, accountIds);

  return subscriptions.flatMap((subscription) => {
    const { accountId, planId, pendingPlanId } = subscription;
    const account = accounts.get(accountId)!;
    const pending = pendingPlanId ? plans.get(pendingPlanId)! : null;
    const state = stateOf(subscription, { plan: plans.get(planId)!, pending, timeZone: account.timeZone });
    const step = dueStep(state);
    if (step?.kind !== 'renew' && step?.kind !== 'end_trial') return [];
    return {
      subscription,
      account,
      state,
      step,
      windows: windows.get(accountId) ?? [],
      context: contexts.get(accountId)!,
      collectFrom: methods.get(accountId) ?? null,
    };
  });
}

/** Neither a grace period nor a clock of its own, no change that waits for its payment, nothing but money to take. */
const canRenewBySet = ({ subscription, account, step, context }: Renewal, now: Date): boolean =>
  step.at <= now &&
  subscription.changeInvoiceId == null &&
  account.gracePeriodHours === 0 &&
  account.testClockAt == null &&
  isPlain(context);

/** A renewal as it comes out: the state after it, its invoice, and how the period's windows end. */
export interface DecidedRenewal extends Renewal {
  after: Lifecycle<Plan>;
  ending: Awaited<ReturnType<typeof endWindows>>;
  invoice: DecidedInvoice;
}

/** Changes nothing; asks the database only where a window ends before its time. */
export async function decideEach(
  em: EntityManager,
  renewals: readonly Renewal[],
  nowOf: (accountId: string) => Date,
): Promise<DecidedRenewal[]> {
  const decided: DecidedRenewal[] = [];
  for (const renewal of renewals) {
    const { state, step, subscription, context } = renewal;
    const ending = await endWindows(em, renewal.windows, step.at);
    const { state: after, lines } = decideRenewal({ state, step, usage: ending.flatMap(endedLine) });
    const draft = {
      id: newId(),
      reason: 'subscription_cycle' as const,
      subscriptionId: subscription.id,
      period: after.period,
      lines,
      minimumSpend: minimumOf(state),
    };
    const invoice = decideInvoice(draft, context, nowOf(subscription.accountId));
    decided.push({ ...renewal, after, ending, invoice });
  }
  return decided;
}

async function renewAll(many: ManyTx, renewals: readonly Renewal[]): Promise<Renewed[]> {
  const { em, of } = many;
  const decided = await decideEach(em, renewals, (accountId) => of(accountId).now);
  for (const { subscription, after, ending, step, invoice } of decided) {
    closeEach(of(subscription.accountId), ending, { at: step.at, invoiceId: invoice.invoice.id });
    Object.assign(subscription, fieldsOf(after));
    subscription.version += 1;
  }
  const issued = await issueInvoices(
    em,
    decided.map(({ account, invoice, step, collectFrom }) => ({
      tx: of(account.id),
      decided: invoice,
      issuedAt: step.at,
      collectFrom,
    })),
  );
  await openAllWindows(em, await openingOf(many, decided));
  for (const { subscription, state, after } of decided) {
    const tx = of(subscription.accountId);
    const changed = after.terms.id !== state.terms.id || after.quantity !== state.quantity;
    if (changed) await emitSubscription(tx, 'subscription.updated', subscription);
    await emitSubscription(tx, 'subscription.renewed', subscription);
  }
  return issued.map(({ invoice: { currency, totalMinor }, paymentId }, i) => ({
    ...keyOf(decided[i]!.subscription),
    currency,
    totalMinor,
    paymentId,
  }));
}

async function openingOf({ em, of }: ManyTx, decided: readonly DecidedRenewal[]) {
  const planIds = [...new Set(decided.map(({ after }) => after.terms.id))];
  const features = await featuresByPlanIds(em, '', planIds);
  const none: readonly PlanFeature[] = [];
  return decided.map(({ subscription, account: { id, currency, timeZone }, after }) => ({
    tx: of(id),
    terms: {
      subscriptionId: subscription.id,
      period: after.period,
      features: features.get(after.terms.id) ?? none,
      currency,
      timeZone,
    },
  }));
}

const keyOf = ({ accountId, id }: Subscription): SubscriptionKey => ({ accountId, subscriptionId: id });

const byId = <Row extends { id: string }>(rows: readonly Row[]): Map<string, Row> =>
  new Map(rows.map((row) => [row.id, row]));
