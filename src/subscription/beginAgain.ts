import { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { featuresOf } from '../catalog/plans.js';
import type { Lifecycle } from '../domain/lifecycle.js';
import type { Tx } from '../platform/db.js';
import { closeWindows, openWindows, vacateStart } from '../usage/windows.js';
import { failsToPay } from './standing.js';
import { fieldsOf } from './state.js';
import type { Subscription } from './subscription.entity.js';
import { emitSubscription } from './subscriptions.js';

/** Ends a pause: `after` is the state with the new period, whose fee is paid or on its way. Grants what the plan grants. */
export async function beginAgain(tx: Tx, subscription: Subscription, after: Lifecycle<Plan>): Promise<void> {
  const { em, accountId } = tx;
  const { timeZone, currency } = await em.findOneOrFail(Account, { id: accountId });
  const { id: subscriptionId } = subscription;
  const { period } = after;
  await closeWindows(tx, { subscriptionId, at: period.start });
  await vacateStart(tx, { subscriptionId, at: period.start });
  Object.assign(subscription, fieldsOf(after));
  if (await failsToPay(em, subscription)) subscription.status = 'PAST_DUE'; // an invoice from before the pause
  subscription.version += 1;
  const features = await featuresOf(em, subscription.planId);
  await openWindows(tx, { subscriptionId, period, features, currency, timeZone });
  await emitSubscription(tx, 'subscription.resumed', subscription);
}
