import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { featuresOf } from '../catalog/plans.js';
import { afterStep, dueStep, type Lifecycle, type Step } from '../domain/lifecycle.js';
import { collectDueInvoice, collectInvoice } from '../invoice/collectInvoice.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { draftInvoice, type InvoiceDraft, type IssuedInvoice, issueInvoice } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import type { Actor } from '../platform/actor.js';
import { accountNow } from '../platform/clock.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { closeWindows, openWindows } from '../usage/windows.js';
import { beginAgain } from './beginAgain.js';
import { decideRenewal, minimumOf } from './decide.js';
import { endSubscription } from './endSubscription.js';
import { graceEnd } from './finalInvoice.js';
import { followInvoice } from './followInvoice.js';
import type { Renewed, SubscriptionKey } from './renewBatch.js';
import { fieldsOf, readState, reschedule } from './state.js';
import { abandon, activateIfPaid } from './subscribe.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription, ownSubscription } from './subscriptions.js';
import { endWaitingChange } from './waitingChange.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Before a change by hand: what was due before it happens first, at its own time, and no sweep has to have come by. The
 * change then finds the period it belongs to.
 */
export async function catchUp(deps: Needs, { accountId }: Actor, publicId: string): Promise<void> {
  const em = deps.db.orm.em.fork();
  const { id, dueAt } = await ownSubscription(em, accountId, publicId);
  if (dueAt && dueAt <= (await accountNow(em, deps.clock, accountId)))
    await advanceSubscription(deps, { accountId, subscriptionId: id });
}

/**
 * Does what is due on one subscription, in order and each at its own time: after a long standstill every missed period is
 * invoiced by itself. Two schedulers can't renew twice: the second waits for the row lock and finds nothing due. Returns the
 * renewals among what it did.
 */
export async function advanceSubscription(
  deps: Needs,
  { accountId, subscriptionId }: SubscriptionKey,
): Promise<Renewed[]> {
  const renewed: Renewed[] = [];
  for (;;) {
    await retryFirst(deps, { accountId, subscriptionId });
    const done = await transact(deps, accountId, async (tx) => {
      const subscription = await tx.em.findOneOrFail(
        Subscription,
        { accountId, id: subscriptionId },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      );
      if (!subscription.dueAt || subscription.dueAt > tx.now) return undefined;
      if (subscription.status !== 'INCOMPLETE') await endWaitingChange(tx, subscription);
      const state = await readState(tx.em, subscription);
      const step = dueStep(state);
      if (!step || step.at > tx.now) {
        reschedule(subscription); // the change began a new period
        return { paymentId: undefined };
      }
      return take(tx, subscription, { state, step });
    });
    if (!done) return renewed;
    const { paymentId, invoice } = done;
    if (invoice) {
      const { currency, totalMinor } = invoice;
      renewed.push({ accountId, subscriptionId, currency, totalMinor, paymentId });
    }
    await collectInvoice(deps, { accountId, paymentId });
  }
}

/**
 * A payment that is to be tried again when the period ends, or before, goes first: given up, there may be no next period.
 * Without an answer of the provider the renewal doesn't wait for it.
 */
async function retryFirst(deps: Needs, { accountId, subscriptionId }: SubscriptionKey): Promise<void> {
  const em = deps.db.orm.em.fork();
  const due = await rowsOf(
    em,
    sql<{ id: string }>`
      select invoice.id from subscription join invoice on invoice.account_id = subscription.account_id
        and invoice.subscription_id = subscription.id
      where subscription.account_id = ${accountId} and subscription.id = ${subscriptionId}
        and subscription.due_at <= ${await accountNow(em, deps.clock, accountId)}
        and invoice.reason = 'subscription_cycle' and invoice.status = 'OPEN'
        and invoice.next_payment_attempt_at <= subscription.due_at
      order by invoice.next_payment_attempt_at, invoice.id`,
  );
  for (const { id } of due) {
    await collectDueInvoice(deps, { accountId, id });
    await followInvoice(deps, { accountId, invoiceId: id });
  }
}

interface Taken {
  state: Lifecycle<Plan>;
  step: Step;
}

/** What a step leaves to do after the commit, and the invoice of the period that it began. */
interface Done {
  paymentId: string | undefined;
  invoice?: Invoice;
}

/** Takes one step that is due. */
async function take(tx: Tx, subscription: Subscription, { state, step }: Taken): Promise<Done> {
  switch (step.kind) {
    case 'expire':
      if (!(await activateIfPaid(tx, subscription))) await abandon(tx, subscription);
      return { paymentId: undefined };
    case 'trial_notice':
      Object.assign(subscription, fieldsOf(afterStep(state, step)));
      await emitSubscription(tx, 'subscription.trial_ending', subscription);
      return { paymentId: undefined };
    case 'end':
      return {
        paymentId: await endSubscription(tx, subscription, { at: step.at, paid: undefined, invoiceId: newId() }),
      };
    case 'renew':
    case 'end_trial':
      return renew(tx, subscription, { state, step });
    case 'resume':
      return resume(tx, subscription, { state, step });
  }
}

/** Usage of the period that ends, in arrears, and the fee of the one that starts, in advance, on one invoice. */
async function renew(tx: Tx, subscription: Subscription, { state, step }: Taken): Promise<Done> {
  const { em, accountId } = tx;
  const { timeZone, currency, gracePeriodHours } = await em.findOneOrFail(Account, { id: accountId });
  const { id: subscriptionId } = subscription;
  const invoiceId = newId();
  const waits = gracePeriodHours > 0;
  const usage = await closeWindows(tx, {
    subscriptionId,
    at: step.at,
    invoiceId,
    draftInvoiceId: waits ? invoiceId : undefined,
  });
  const { state: after, lines } = decideRenewal({ state, step, usage, waits });
  Object.assign(subscription, fieldsOf(after));
  subscription.version += 1;
  const issue = { id: invoiceId, lines, minimumSpend: minimumOf(state), at: step.at, graceHours: gracePeriodHours };
  const issued = await issueRenewal(tx, subscription, issue);
  const features = await featuresOf(em, after.terms.id);
  await openWindows(tx, { subscriptionId, period: after.period, features, currency, timeZone });
  const changed = after.terms.id !== state.terms.id || after.quantity !== state.quantity;
  if (changed) await emitSubscription(tx, 'subscription.updated', subscription);
  await emitSubscription(tx, 'subscription.renewed', subscription);
  return issued;
}

/** The end of a pause that was set for this time: nobody waits for the payment, so it is dunned as a renewal's is. */
async function resume(tx: Tx, subscription: Subscription, { state, step }: Taken): Promise<Done> {
  const { state: after, lines } = decideRenewal({ state, step, usage: [] });
  await beginAgain(tx, subscription, after);
  return issueRenewal(tx, subscription, { id: newId(), lines, at: step.at, graceHours: 0 });
}

/** The invoice of the period that the subscription is in now; with a grace period it waits for late usage. */
async function issueRenewal(
  tx: Tx,
  subscription: Subscription,
  {
    at,
    graceHours,
    ...invoice
  }: Pick<InvoiceDraft, 'id' | 'lines' | 'minimumSpend'> & { at: Date; graceHours: number },
): Promise<IssuedInvoice> {
  const draft = {
    ...invoice,
    reason: 'subscription_cycle' as const,
    subscriptionId: subscription.id,
    period: { start: subscription.periodStart, end: subscription.periodEnd },
  };
  return graceHours > 0
    ? draftInvoice(tx, { ...draft, finalizeAt: graceEnd(at, graceHours) })
    : issueInvoice(tx, {
        ...draft,
        issuedAt: at,
        collectFrom: await defaultPaymentMethod(tx.em, tx.accountId),
      });
}
