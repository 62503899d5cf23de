import { LockMode } from '@mikro-orm/postgresql';
import { decideCreditNote } from '../domain/creditNote.js';
import { BillingError, invalid } from '../domain/errors.js';
import type { Money } from '../domain/money.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId, uuidOf } from '../platform/ids.js';
import { isPaymentUnderWay } from './collectInvoice.js';
import { creditableInvoice } from './creditableInvoice.js';
import type { CreditNote } from './creditNote.entity.js';
import { Invoice } from './invoice.entity.js';
import { linesOf, ownInvoice } from './invoices.js';
import { issueCreditNote } from './issueCreditNote.js';
import { refundCreditNote } from './refundCreditNote.js';

export interface CreateCreditNoteInput {
  idempotencyKey?: string | undefined;
  invoiceId: string;
  kind: CreditNote['kind'];
  reason: string;
  /** Undefined: everything that is left of the invoice. */
  lines?: readonly { invoiceLineId: string; amount: Money }[] | undefined;
}

const longestReason = 500;

/**
 * Takes back (part of) a finalised invoice, and sends what goes back to a card. For operators only. Throws what
 * `decideCreditNote` throws, and CONFLICT while a payment of the invoice is under way. A refund that fails is no error: its
 * amount stays with the customer as the note's credit, and the refund says why.
 */
export async function createCreditNote(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, ...input }: CreateCreditNoteInput,
): Promise<{ creditNoteId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  checkReason(input.reason);
  const { accountId } = actor;
  const { refundIds, replayed, answer } = await transact(deps, accountId, async (tx) => {
    const { id } = await ownInvoice(tx.em, accountId, input.invoiceId);
    const claimed = await claimKey(tx, {
      operation: 'createCreditNote',
      key: idempotencyKey,
      input,
      answer: { creditNoteId: newId() },
    });
    if (claimed.replayed) return { ...claimed, refundIds: [] };
    const invoice = await tx.em.findOneOrFail(
      Invoice,
      { accountId, id },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    if (await isPaymentUnderWay(tx, id)) {
      throw new BillingError('CONFLICT', `A payment of invoice ${invoice.number} is under way, expected none`, {
        field: ['invoiceId'],
        retryable: true,
      });
    }
    const { kind, reason } = input;
    const lines = await linesOf(tx.em, accountId, id);
    const decision = decideCreditNote({
      invoice: await creditableInvoice(tx.em, invoice, lines),
      kind,
      amounts: amountsOf(input, invoice),
    });
    const refundIds = await issueCreditNote(tx, { ...claimed.answer, kind, reason, invoice, lines, decision });
    return { ...claimed, refundIds };
  });
  for (const refundId of refundIds) await refundCreditNote(deps, { accountId, refundId });
  return { creditNoteId: answer.creditNoteId, replayed };
}

function checkReason(reason: string): void {
  const { length } = reason.trim();
  if (length === 0 || length > longestReason)
    throw invalid(`reason has ${length} characters, expected 1 to ${longestReason}`, 'reason');
}

function amountsOf({ lines }: CreateCreditNoteInput, { currency }: Invoice) {
  return (
    lines?.map(({ invoiceLineId, amount }, i) => {
      if (amount.currency !== currency)
        throw invalid(`The invoice is in ${currency}, found an amount in ${amount.currency}`, 'lines', i, 'amount');
      return { lineId: uuidOf('invoiceLine', invoiceLineId) ?? invoiceLineId, amountMinor: amount.minorUnits };
    }) ?? 'everything'
  );
}
