import { BillingError } from '../domain/errors.js';
import { collectInvoice } from '../invoice/collectInvoice.js';
import { ownInvoice } from '../invoice/invoices.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { finalizeDraft } from './finalizeDrafts.js';

export interface FinalizeInvoiceInput {
  idempotencyKey?: string | undefined;
  invoiceId: string;
}

/** Ends the grace period of a DRAFT now, and collects the invoice; one without a line is void. ILLEGAL_STATE when it is final. For operators. */
export async function finalizeInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, ...input }: FinalizeInvoiceInput,
): Promise<{ invoiceId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  const { accountId } = actor;
  const claim = await transact(deps, accountId, async (tx) => {
    const { id, number, status } = await ownInvoice(tx.em, accountId, input.invoiceId);
    const answer = { invoiceId: id };
    const claimed = await claimKey(tx, { operation: 'finalizeInvoice', key: idempotencyKey, input, answer });
    if (claimed.replayed) return { ...claimed, paymentId: undefined };
    if (status !== 'DRAFT') {
      throw new BillingError('ILLEGAL_STATE', `Invoice ${number ?? input.invoiceId} is ${status}, expected DRAFT`, {
        field: ['invoiceId'],
      });
    }
    return { ...claimed, paymentId: await finalizeDraft(tx, id) };
  });
  await collectInvoice(deps, { accountId, paymentId: claim.paymentId });
  return { ...claim.answer, replayed: claim.replayed };
}
