import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { presentPaymentMethod } from './payment.present.js';
import { makeDefault, ownPaymentMethod } from './paymentMethods.js';

export interface PaymentMethodIdInput {
  idempotencyKey?: string | undefined;
  paymentMethodId: string;
}

/** Makes a card the one that invoices and recharges are collected from. */
export async function setDefaultPaymentMethod(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: PaymentMethodIdInput,
): Promise<{ paymentMethodId: string; replayed: boolean }> {
  requireScope(actor, 'payment_methods:write');
  return transact(deps, actor.accountId, async (tx) => {
    const method = await ownPaymentMethod(tx.em, actor.accountId, input.paymentMethodId);
    const claim = await claimKey(tx, {
      operation: 'setDefaultPaymentMethod',
      key: idempotencyKey,
      input,
      answer: { id: method.id },
    });
    if (!claim.replayed && !method.isDefault) {
      await makeDefault(tx.em, actor.accountId, method.id);
      tx.emit({ type: 'payment_method.updated', data: { ...presentPaymentMethod(method), is_default: true } });
    }
    return { paymentMethodId: claim.answer.id, replayed: claim.replayed };
  });
}
