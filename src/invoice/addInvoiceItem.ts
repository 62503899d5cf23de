import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { type ItemInput, keepItem } from './invoiceItems.js';

export interface AddInvoiceItemInput extends ItemInput {
  idempotencyKey?: string | undefined;
}

/** Lets something wait for the account's next invoice, whatever that is for. For operators. */
export async function addInvoiceItem(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...item }: AddInvoiceItemInput,
): Promise<{ invoiceItemId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const answer = { invoiceItemId: newId() };
    const claimed = await claimKey(tx, { operation: 'addInvoiceItem', key: idempotencyKey, input: item, answer });
    if (claimed.replayed) return { ...claimed.answer, replayed: true };
    const { currency } = await tx.em.findOneOrFail(
      Account,
      { id: accountId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    await keepItem(tx, { id: answer.invoiceItemId, currency, item });
    return { ...answer, replayed: false };
  });
}
