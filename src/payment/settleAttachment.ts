import { LockMode } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import { expiryNoticeAt } from '../domain/cardExpiry.js';
import type { AttachOutcome } from '../integrations/payments/provider.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { reconcileAfterMs } from './charge.js';
import { PaymentMethod } from './payment.entity.js';
import { presentPaymentMethod } from './payment.present.js';
import { lockAccount, lockActivePaymentMethods, makeDefault } from './paymentMethods.js';

/** The key a method is attached with, so that the provider's word about it finds the method. */
export const attachKey = (methodId: string): string => `pm-${methodId}`;
export const methodIdOfKey = (key: string): string | undefined => /^pm-([0-9a-f-]{36})$/.exec(key)?.[1];

/**
 * Writes what became of a method handed to the provider: the synchronous answer and every later one end here, once. Waiting
 * for its holder is not an end, and neither is FAILED when the holder has confirmed after all.
 */
export async function settleAttachment(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, methodId, outcome }: { accountId: string; methodId: string; outcome: AttachOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    await lockAccount(tx.em, accountId); // two first cards at once: one default
    const method = await tx.em.findOne(
      PaymentMethod,
      { accountId, id: methodId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    const settles = method?.status === 'PENDING' || (method?.status === 'FAILED' && outcome.status === 'attached');
    if (!settles) return;
    if (outcome.status === 'requires_action') {
      method.setupRef = outcome.setupRef;
      method.clientSecret = outcome.clientSecret;
      method.reconcileAt ??= new Date(tx.now.getTime() + reconcileAfterMs);
      return;
    }
    method.clientSecret = null;
    method.reconcileAt = null;
    if (outcome.status !== 'attached') {
      method.status = 'FAILED';
      method.declineCode = outcome.status === 'declined' ? outcome.declineCode : null;
      method.failureMessage = outcome.message;
      return;
    }
    const { timeZone } = await accountById(tx.em, accountId);
    Object.assign(method, outcome.card, {
      status: 'ACTIVE',
      expiryNoticeAt: expiryNoticeAt({ ...outcome.card, timeZone }),
      methodRef: outcome.methodRef,
      declineCode: null,
      failureMessage: null,
    });
    const active = await lockActivePaymentMethods(tx.em, accountId);
    if (method.wantsDefault || active.length === 1) {
      await makeDefault(tx.em, accountId, methodId);
      await tx.em.refresh(method);
    }
    tx.emit({ type: 'payment_method.added', data: presentPaymentMethod(method) });
  });
}
