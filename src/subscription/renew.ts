import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { featuresOf, planById } from '../catalog/plans.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { draftInvoice, issueInvoice } from '../invoice/issueInvoice.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { sweepNow } from '../platform/clock.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach, type SweepOf, sweptRows } from '../platform/sweeps.js';
import { closeWindows, openWindows } from '../usage/windows.js';
import { endSubscription } from './cancelSubscription.js';
import { feeLine, nextPeriod } from './decide.js';
import { abandon, activateIfPaid } from './subscribe.js';
import { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';
import { endWaitingChange } from './waitingChange.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** Sweep: renews, ends, activates or abandons every subscription whose time has come. */
export async function advanceDueSubscriptions(deps: Needs, of: SweepOf = {}): Promise<number> {
  const em = deps.db.orm.em.fork();
  const now = await sweepNow(em, deps.clock, of.accountId);
  const due = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select account_id, id from subscription
      where due_at <= ${now} and ${sweptRows('subscription', of)} order by due_at limit 100`,
  );
  return finishEach(deps.log, due, ({ account_id, id }) =>
    advanceSubscription(deps, { accountId: account_id, subscriptionId: id }),
  );
}

/**
 * Does what is due on one subscription, in order and each at its own time: after a long standstill every missed period is
 * invoiced by itself. Two schedulers can't renew twice: the second waits for the row lock and finds nothing due.
 */
export async function advanceSubscription(
  deps: Needs,
  { accountId, subscriptionId }: { accountId: string; subscriptionId: string },
): Promise<void> {
  for (;;) {
    const step = await transact(deps, accountId, async (tx) => {
      const subscription = await tx.em.findOneOrFail(
        Subscription,
        { accountId, id: subscriptionId },
        { lockMode: LockMode.PESSIMISTIC_WRITE },
      );
      if (!subscription.dueAt || subscription.dueAt > tx.now) return undefined;
      if (subscription.status === 'INCOMPLETE') {
        if (!(await activateIfPaid(tx, subscription))) await abandon(tx, subscription);
        return { paymentId: undefined };
      }
      await endWaitingChange(tx, subscription);
      if (subscription.dueAt > tx.now) return { paymentId: undefined }; // the change began a new period
      const at = subscription.periodEnd;
      if (subscription.cancelAt && subscription.cancelAt <= at) {
        return { paymentId: await endSubscription(tx, subscription, { at, credit: [], invoiceId: newId() }) };
      }
      return { paymentId: await renew(tx, subscription, at) };
    });
    if (!step) return;
    await collectInvoice(deps, { accountId, paymentId: step.paymentId });
  }
}

/** Usage of the period that ends, in arrears, and the fee of the one that starts, in advance, on one invoice. */
async function renew(tx: Tx, subscription: Subscription, at: Date): Promise<string | undefined> {
  const { em, accountId } = tx;
  const { timeZone, currency, gracePeriodHours } = await em.findOneOrFail(Account, { id: accountId });
  const before = await planById(em, subscription.planId);
  const plan = subscription.pendingPlanId ? await planById(em, subscription.pendingPlanId) : before;
  const invoiceId = newId();
  const usage = await closeWindows(tx, {
    subscriptionId: subscription.id,
    at,
    draftInvoiceId: gracePeriodHours > 0 ? invoiceId : undefined,
  });

  // A trial's end and a new interval start a new count of periods.
  const newAnchor =
    subscription.status === 'TRIALING' ||
    plan.interval !== before.interval ||
    plan.intervalCount !== before.intervalCount;
  if (newAnchor) subscription.anchor = at;
  if (subscription.status === 'TRIALING') subscription.status = 'ACTIVE';
  const period = nextPeriod({
    plan,
    anchor: subscription.anchor,
    period: { start: subscription.periodStart, end: at },
    timeZone,
  });
  subscription.planId = plan.id;
  subscription.pendingPlanId = null;
  subscription.periodStart = period.start;
  subscription.periodEnd = period.end;
  subscription.dueAt = period.end;
  subscription.version += 1;

  const draft = {
    id: invoiceId,
    reason: 'subscription_cycle' as const,
    subscriptionId: subscription.id,
    period,
    lines: [...usage, feeLine(plan, period)],
  };
  // With a grace period the invoice waits for late usage.
  const { paymentId } =
    gracePeriodHours > 0
      ? await draftInvoice(tx, { ...draft, finalizeAt: new Date(at.getTime() + gracePeriodHours * 3_600_000) })
      : await issueInvoice(tx, { ...draft, issuedAt: at, collectFrom: await defaultPaymentMethod(em, accountId) });
  await openWindows(tx, {
    subscriptionId: subscription.id,
    period,
    features: await featuresOf(em, plan.id),
    currency,
    timeZone,
  });
  if (plan.id !== before.id) await emitSubscription(tx, 'subscription.updated', subscription);
  await emitSubscription(tx, 'subscription.renewed', subscription);
  return paymentId;
}
