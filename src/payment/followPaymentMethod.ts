import { accountById } from '../account/createAccount.js';
import { expiryNoticeAt } from '../domain/cardExpiry.js';
import type { CardDetails } from '../integrations/payments/provider.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { presentPaymentMethod } from './payment.present.js';
import { lockActivePaymentMethods, makeDefault } from './paymentMethods.js';

/**
 * Makes a card of the account what the provider says it is: renewed by its issuer, or gone (`card` undefined). When the
 * default is gone the newest of the others takes its place, so that collection goes on.
 */
export async function followPaymentMethod(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, methodRef, card }: { accountId: string; methodRef: string; card: CardDetails | undefined },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const methods = await lockActivePaymentMethods(tx.em, accountId);
    const method = methods.find((of) => of.methodRef === methodRef);
    if (!method) return;
    if (card) {
      const isSame = (Object.keys(card) as (keyof CardDetails)[]).every((key) => method[key] === card[key]);
      if (isSame) return;
      const { timeZone } = await accountById(tx.em, accountId);
      Object.assign(method, card, { expiryNoticeAt: expiryNoticeAt({ ...card, timeZone }) });
      tx.emit({ type: 'payment_method.updated', data: presentPaymentMethod(method) });
      return;
    }
    const heir = method.isDefault ? methods.filter((of) => of !== method).at(-1) : undefined;
    method.status = 'REMOVED';
    method.isDefault = false;
    method.removedAt = tx.now;
    tx.emit({ type: 'payment_method.removed', data: presentPaymentMethod(method) });
    if (!heir) return;
    await makeDefault(tx.em, accountId, heir.id);
    await tx.em.refresh(heir);
    tx.emit({ type: 'payment_method.updated', data: presentPaymentMethod(heir) });
  });
}
