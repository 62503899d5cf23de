import { BillingError, notFound } from '../domain/errors.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import { InvoiceItem } from './invoice.entity.js';
import { lockAccount } from './issueInvoice.js';

export interface RemoveInvoiceItemInput {
  idempotencyKey?: string | undefined;
  invoiceItemId: string;
}

/** Takes an item back while it waits; ILLEGAL_STATE when an invoice bills it. For operators. */
export async function removeInvoiceItem(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: RemoveInvoiceItemInput,
): Promise<{ replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const claimed = await claimKey(tx, { operation: 'removeInvoiceItem', key: idempotencyKey, input, answer: {} });
    if (claimed.replayed) return { replayed: true };
    await lockAccount(tx); // no invoice is taking it meanwhile
    const id = uuidOf('invoiceItem', input.invoiceItemId);
    const item = id && (await tx.em.findOne(InvoiceItem, { accountId, id }));
    if (!item) throw notFound('invoice item', input.invoiceItemId, 'invoiceItemId');
    if (item.invoiceId)
      throw new BillingError('ILLEGAL_STATE', 'An invoice bills the item already', { field: ['invoiceItemId'] });
    tx.em.remove(item);
    return { replayed: false };
  });
}
