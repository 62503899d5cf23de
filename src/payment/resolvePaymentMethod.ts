import { createHash } from 'node:crypto';
import type { Actor } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { uuidOf } from '../platform/ids.js';
import { addPaymentMethod } from './addPaymentMethod.js';
import { ownPaymentMethod } from './paymentMethods.js';

/**
 * The method a caller names when paying: one of the account's (`pm_01j…`), or a provider's reusable one (`pm_card_visa`),
 * which is attached on first sight. With an idempotency key a repeat finds the card it attached before.
 */
export async function resolvePaymentMethod(
  deps: Pick<Deps, 'db' | 'clock' | 'payments'>,
  actor: Actor,
  { reference, idempotencyKey }: { reference: string; idempotencyKey: string | undefined },
): Promise<string> {
  if (uuidOf('paymentMethod', reference) !== undefined || !/^(pm_card|tok)_/.test(reference)) {
    return (await ownPaymentMethod(deps.db.orm.em.fork(), actor.accountId, reference)).id;
  }
  const added = await addPaymentMethod(deps, actor, {
    idempotencyKey:
      idempotencyKey === undefined ? undefined : `method:${createHash('sha256').update(idempotencyKey).digest('hex')}`,
    type: 'card',
    token: reference,
    makeDefault: false,
  });
  return added.paymentMethodId;
}
