import { BillingError, notFound } from '../domain/errors.js';
import { ProviderUnavailable } from '../integrations/payments/provider.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { callProvider } from './callProvider.js';
import { presentPaymentMethod } from './payment.present.js';
import { lockActivePaymentMethods } from './paymentMethods.js';
import type { PaymentMethodIdInput } from './setDefaultPaymentMethod.js';

/**
 * Takes a card off the account. Refused (ILLEGAL_STATE) for the default while other cards are there, and while a payment
 * with it is under way: another default first, so that collection never stops by accident.
 */
export async function removePaymentMethod(
  deps: Pick<Deps, 'db' | 'clock' | 'payments'>,
  actor: Actor,
  { idempotencyKey, ...input }: PaymentMethodIdInput,
): Promise<{ paymentMethodId: string; replayed: boolean }> {
  requireScope(actor, 'payment_methods:write');
  const { accountId } = actor;
  const id = uuidOf('paymentMethod', input.paymentMethodId);
  if (id === undefined) throw notFound('payment method', input.paymentMethodId, 'paymentMethodId');

  const { replayed, methodRef } = await transact(deps, accountId, async (tx) => {
    const claim = await claimKey(tx, { operation: 'removePaymentMethod', key: idempotencyKey, input, answer: { id } });
    if (claim.replayed) return { replayed: true, methodRef: undefined };
    const methods = await lockActivePaymentMethods(tx.em, accountId);
    const method = methods.find((m) => m.id === id);
    if (!method) throw notFound('payment method', input.paymentMethodId, 'paymentMethodId');
    if (method.isDefault && methods.length > 1) {
      throw new BillingError(
        'ILLEGAL_STATE',
        'This is the default payment method: make another one the default first',
        {
          field: ['paymentMethodId'],
        },
      );
    }
    const pending = await rowsOf(
      tx.em,
      sql`select 1 from payment where account_id = ${accountId} and payment_method_id = ${id} and status in ('PENDING', 'REQUIRES_ACTION') limit 1`,
    );
    if (pending.length > 0) {
      throw new BillingError('ILLEGAL_STATE', 'A payment with this method is under way: try again when it has ended', {
        field: ['paymentMethodId'],
        retryable: true,
      });
    }
    method.status = 'REMOVED';
    method.isDefault = false;
    method.removedAt = tx.now;
    method.expiryNoticeAt = null;
    tx.emit({ type: 'payment_method.removed', data: presentPaymentMethod(method) });
    return { replayed: false, methodRef: method.methodRef ?? undefined };
  });

  if (methodRef !== undefined) {
    try {
      await callProvider(deps.payments.detachPaymentMethod({ methodRef }));
    } catch (error) {
      // It is gone from the account, which never uses it again; a card left at the provider costs nothing.
      if (!(error instanceof ProviderUnavailable)) throw error;
      deps.db.log.warn({ err: error, methodRef }, 'a removed payment method could not be detached at the provider');
    }
  }
  return { paymentMethodId: id, replayed };
}
