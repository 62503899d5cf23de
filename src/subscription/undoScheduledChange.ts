import { BillingError } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { catchUp } from './renew.js';
import { reschedule } from './state.js';
import { type SubscriptionAnswer, subscriptionAnswer } from './subscribe.js';
import { checkVersion, emitSubscription, lockSubscription } from './subscriptions.js';

export interface UndoScheduledChangeInput {
  idempotencyKey?: string | undefined;
  subscriptionId: string;
  expectedVersion?: number | undefined;
}

/**
 * Takes back what was to happen later: a change of plan or quantity or a cancellation at the period's end, the end of a
 * pause. ILLEGAL_STATE when nothing is scheduled.
 */
export async function undoScheduledChange(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  input: UndoScheduledChangeInput,
): Promise<SubscriptionAnswer> {
  requireScope(actor, 'subscriptions:write');
  const { accountId } = actor;
  const { idempotencyKey, ...request } = input;
  await catchUp(deps, actor, input.subscriptionId);

  const { replayed, answer } = await transact(deps, accountId, async (tx) => {
    const subscription = await lockSubscription(tx, input.subscriptionId);
    const claimed = await claimKey(tx, {
      operation: 'undoScheduledChange',
      key: idempotencyKey,
      input: request,
      answer: { subscriptionId: subscription.id },
    });
    if (claimed.replayed) return claimed;
    checkVersion(subscription, input.expectedVersion);
    const { status, pendingPlanId, pendingQuantity, cancelAt, resumeAt } = subscription;
    if (status === 'CANCELED' || [pendingPlanId, pendingQuantity, cancelAt, resumeAt].every((what) => what == null)) {
      throw new BillingError('ILLEGAL_STATE', 'Nothing is scheduled for this subscription', {
        field: ['subscriptionId'],
      });
    }
    Object.assign(subscription, { pendingPlanId: null, pendingQuantity: null, cancelAt: null, resumeAt: null });
    reschedule(subscription);
    subscription.version += 1;
    await emitSubscription(tx, 'subscription.updated', subscription);
    return claimed;
  });
  return subscriptionAnswer(deps, { accountId, ...answer, invoiceId: undefined, replayed });
}
