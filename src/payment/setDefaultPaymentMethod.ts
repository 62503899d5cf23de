import { notFound } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { presentPaymentMethod } from './payment.present.js';
import { lockActivePaymentMethods, makeDefault } from './paymentMethods.js';

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
  const id = uuidOf('paymentMethod', input.paymentMethodId);
  if (id === undefined) throw notFound('payment method', input.paymentMethodId, 'paymentMethodId');
  return transact(deps, actor.accountId, async (tx) => {
    const claim = await claimKey(tx, {
      operation: 'setDefaultPaymentMethod',
      key: idempotencyKey,
      input,
      answer: { id },
    });
    if (claim.replayed) return { paymentMethodId: claim.answer.id, replayed: true };
    const method = (await lockActivePaymentMethods(tx.em, actor.accountId)).find((m) => m.id === id);
    if (!method) throw notFound('payment method', input.paymentMethodId, 'paymentMethodId');
    if (!method.isDefault) {
      await makeDefault(tx.em, actor.accountId, method.id);
      tx.emit({ type: 'payment_method.updated', data: { ...presentPaymentMethod(method), is_default: true } });
    }
    return { paymentMethodId: id, replayed: false };
  });
}
