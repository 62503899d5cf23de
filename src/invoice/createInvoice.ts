import { LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { BillingError } from '../domain/errors.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { collectInvoice } from './collectInvoice.js';
import { InvoiceItem } from './invoice.entity.js';
import { type ItemInput, keepItem } from './invoiceItems.js';
import { issueInvoice } from './issueInvoice.js';

export interface CreateInvoiceInput {
  idempotencyKey?: string | undefined;
  /** Beside what waits already. */
  items: readonly ItemInput[];
}

/**
 * Issues an invoice for what waits and the items given, now, and collects it as a renewal is collected: retried, then given
 * up. ILLEGAL_STATE when there is nothing to bill. For operators.
 */
export async function createInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, items }: CreateInvoiceInput,
): Promise<{ invoiceId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  const { accountId } = actor;
  const claim = await transact(deps, accountId, async (tx) => {
    const answer = { invoiceId: newId() };
    const claimed = await claimKey(tx, { operation: 'createInvoice', key: idempotencyKey, input: items, answer });
    if (claimed.replayed) return { ...claimed, paymentId: undefined };
    const account = await tx.em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    for (const [i, item] of items.entries())
      await keepItem(tx, { id: newId(), currency: account.currency, item, field: ['items', i] });
    if ((await tx.em.count(InvoiceItem, { accountId, invoiceId: null })) === 0)
      throw new BillingError('ILLEGAL_STATE', 'Nothing waits to be billed: give items', { field: ['items'] });

    const { paymentId } = await issueInvoice(tx, {
      id: answer.invoiceId,
      reason: 'one_off',
      subscriptionId: null,
      period: null,
      lines: [],
      issuedAt: tx.now,
      collectFrom: await defaultPaymentMethod(tx.em, accountId),
    });
    return { ...claimed, paymentId };
  });
  await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  return { ...claim.answer, replayed: claim.replayed };
}
