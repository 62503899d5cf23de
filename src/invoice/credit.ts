import { LockMode } from '@mikro-orm/postgresql';
import { movements } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { newId } from '../platform/ids.js';
import { post } from '../wallet/ledger.js';
import { CreditApplication, CreditNote } from './creditNote.entity.js';
import type { Invoice } from './invoice.entity.js';

/** Pays (part of) an invoice from the credit of the account's notes, oldest first: at most `amountMinor`. Returns what it took. */
export async function applyCredit(
  tx: Tx,
  { invoiceId, amountMinor }: { invoiceId: string; amountMinor: bigint },
): Promise<bigint> {
  const { em, accountId } = tx;
  await em.flush();
  const notes = await em.find(
    CreditNote,
    { accountId, balanceMinor: { $gt: 0n } },
    { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: 'asc' }, refresh: true },
  );
  let remaining = amountMinor;
  for (const note of notes) {
    const taken = note.balanceMinor < remaining ? note.balanceMinor : remaining;
    if (taken <= 0n) break;
    note.balanceMinor -= taken;
    remaining -= taken;
    em.create(CreditApplication, {
      accountId,
      id: newId(),
      creditNoteId: note.id,
      invoiceId,
      amountMinor: taken,
      createdAt: tx.now,
    });
  }
  const taken = amountMinor - remaining;
  if (taken > 0n) {
    await post(tx, {
      type: 'credit_applied',
      currency: notes[0]!.currency,
      referenceId: invoiceId,
      postings: movements.payByCredit(taken),
    });
  }
  return taken;
}

/** Gives the credit that paid an invoice back to the notes it came from, when the invoice is voided. */
export async function returnCredit(tx: Tx, invoiceId: string): Promise<void> {
  const { em, accountId } = tx;
  await em.flush();
  const applications = await em.find(CreditApplication, { accountId, invoiceId });
  if (applications.length === 0) return;
  const notes = await em.find(
    CreditNote,
    { accountId, id: { $in: applications.map(({ creditNoteId }) => creditNoteId) } },
    { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: 'asc' }, refresh: true },
  );
  let returned = 0n;
  for (const application of applications) {
    notes.find(({ id }) => id === application.creditNoteId)!.balanceMinor += application.amountMinor;
    returned += application.amountMinor;
    em.remove(application);
  }
  await post(tx, {
    type: 'credit_returned',
    currency: notes[0]!.currency,
    referenceId: invoiceId,
    postings: movements.returnCredit(returned),
  });
}

/**
 * What an invoice that is voided would give back to the account's credit. Of an invoice that is still due, its own notes have
 * only lowered the debt, so what remains of `creditAppliedMinor` came from earlier ones.
 */
export const returnableCredit = ({ creditAppliedMinor, creditNotedMinor }: Invoice): bigint =>
  creditAppliedMinor - creditNotedMinor;
