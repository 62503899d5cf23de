import { LockMode } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import { movements } from '../domain/ledger.js';
import { majorUnits } from '../domain/money.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { post } from '../wallet/ledger.js';
import { CreditNote } from './creditNote.entity.js';
import { presentCreditNotes } from './creditNote.present.js';
import { ownCreditNote } from './creditNotes.js';
import { Invoice } from './invoice.entity.js';
import { lockAccount } from './issueInvoice.js';

export interface VoidCreditNoteInput {
  idempotencyKey?: string | undefined;
  creditNoteId: string;
}

/**
 * Takes a credit note back; its number stays. For operators only. ILLEGAL_STATE unless all of it is still unused credit: what
 * lowered its invoice's debt, paid a later invoice, or went back to a card or the wallet has had its effect.
 */
export async function voidCreditNote(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: VoidCreditNoteInput,
): Promise<{ creditNoteId: string; replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const { id, invoiceId } = await ownCreditNote(tx.em, accountId, input.creditNoteId);
    const { replayed } = await claimKey(tx, {
      operation: 'voidCreditNote',
      key: idempotencyKey,
      input,
      answer: { creditNoteId: id },
    });
    if (replayed) return { creditNoteId: id, replayed };
    const lock = { lockMode: LockMode.PESSIMISTIC_WRITE } as const;
    const invoice = await tx.em.findOneOrFail(Invoice, { accountId, id: invoiceId }, lock);
    await lockAccount(tx); // no invoice is quoted with its credit meanwhile
    const note = await tx.em.findOneOrFail(CreditNote, { accountId, id }, lock);
    checkUnused(note);

    note.status = 'VOID';
    note.voidedAt = tx.now;
    note.balanceMinor = 0n;
    invoice.creditNotedMinor -= note.totalMinor;
    await post(tx, {
      type: 'credit_note_voided',
      currency: note.currency,
      referenceId: note.id,
      postings: movements.cancelCreditNote(note),
    });
    const [data] = await presentCreditNotes(tx.em, accountId, [note]);
    tx.emit({ type: 'credit_note.voided', data: data! });
    return { creditNoteId: id, replayed };
  });
}

function checkUnused({ number, status, currency, balanceMinor, totalMinor }: CreditNote): void {
  if (status === 'VOID') {
    throw new BillingError('ILLEGAL_STATE', `Credit note ${number} is VOID, expected ISSUED`, {
      field: ['creditNoteId'],
    });
  }
  if (balanceMinor === totalMinor) return;
  const [left, total] = [balanceMinor, totalMinor].map((minorUnits) => majorUnits({ minorUnits, currency }));
  throw new BillingError(
    'ILLEGAL_STATE',
    `Of credit note ${number}, ${left} of ${total} ${currency} is unused credit, expected all of it`,
    { field: ['creditNoteId'] },
  );
}
