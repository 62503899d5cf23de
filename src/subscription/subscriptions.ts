import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { planById } from '../catalog/plans.js';
import { BillingError, notFound } from '../domain/errors.js';
import type { EventType } from '../domain/events.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import type { Tx } from '../platform/db.js';
import { uuidOf } from '../platform/ids.js';
import { Subscription } from './subscription.entity.js';
import { presentSubscription } from './subscription.present.js';

/** The account's live subscription (anything but CANCELED), if it has one. */
export const liveSubscription = (em: EntityManager, accountId: string): Promise<Subscription | null> =>
  em.findOne(Subscription, { accountId, status: { $ne: 'CANCELED' } }, { disableIdentityMap: true });

export const listSubscriptions = (em: EntityManager, accountId: string): Promise<Subscription[]> =>
  em.find(Subscription, { accountId }, { disableIdentityMap: true, orderBy: { id: 'desc' }, limit: 100 });

/** The account's subscription with this public id; NOT_FOUND for every other. */
export async function ownSubscription(em: EntityManager, accountId: string, id: string): Promise<Subscription> {
  const uuid = uuidOf('subscription', id);
  const subscription = uuid && (await em.findOne(Subscription, { accountId, id: uuid }, { disableIdentityMap: true }));
  if (!subscription) throw notFound('subscription', id, 'subscriptionId');
  return subscription;
}

/** The same, locked, for a change. */
export async function lockSubscription(tx: Tx, id: string): Promise<Subscription> {
  const uuid = uuidOf('subscription', id);
  const subscription =
    uuid &&
    (await tx.em.findOne(
      Subscription,
      { accountId: tx.accountId, id: uuid },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    ));
  if (!subscription) throw notFound('subscription', id, 'subscriptionId');
  return subscription;
}

/** STALE_VERSION when a subscription isn't at the version the caller has seen; undefined: any. */
export function checkVersion({ version }: Subscription, expectedVersion: number | undefined): void {
  if (expectedVersion === undefined || expectedVersion === version) return;
  throw new BillingError('STALE_VERSION', `The subscription is at version ${version}, expected ${expectedVersion}`, {
    field: ['expectedVersion'],
  });
}

export const subscriptionsByIds: BatchFunction<Subscription> = byIdsOf(Subscription);

/** Emits a subscription event with the whole object as it is now. */
export async function emitSubscription(tx: Tx, type: EventType, subscription: Subscription): Promise<void> {
  tx.emit({ type, data: await subscriptionData(tx.em, subscription) });
}

/** REST shape of a subscription, with what it needs of plan and account. */
export async function subscriptionData(em: EntityManager, subscription: Subscription): Promise<object> {
  const account = await em.findOneOrFail(Account, { id: subscription.accountId });
  const plan = await planById(em, subscription.planId);
  const pending = subscription.pendingPlanId ? await planById(em, subscription.pendingPlanId) : null;
  return presentSubscription({
    subscription,
    planCode: plan.code,
    pendingPlanCode: pending?.code ?? null,
    timeZone: account.timeZone,
  });
}
