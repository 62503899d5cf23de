import { LockMode } from '@mikro-orm/postgresql';
import { movements } from '../domain/ledger.js';
import type { RefundOutcome } from '../integrations/payments/provider.js';
import { Refund } from '../payment/payment.entity.js';
import { type SettledRefund, sendRefund, settleRefund } from '../payment/refund.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { post } from '../wallet/ledger.js';
import { CreditNote } from './creditNote.entity.js';
import { presentNoteRefund } from './creditNote.present.js';

/** Sends an intended refund of a credit note and settles it; an unknown outcome is left to the sweep. */
export async function refundCreditNote(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, refundId }: { accountId: string; refundId: string },
): Promise<void> {
  const outcome = await sendRefund(deps, { accountId, refundId });
  if (outcome) await settleCreditNoteRefund(deps, { accountId, refundId, outcome });
}

/** Writes a refund's outcome on its credit note, once: money that could not go back to its card stays as credit of the note. */
export async function settleCreditNoteRefund(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, refundId, outcome }: { accountId: string; refundId: string; outcome: RefundOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const { subjectId } = await tx.em.findOneOrFail(Refund, { accountId, id: refundId });
    const note = await tx.em.findOneOrFail(
      CreditNote,
      { accountId, id: subjectId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    const settled = await settleRefund(tx, { refundId, outcome });
    if (!settled) return;
    const { refund } = settled;
    await book(tx, note, settled);
    tx.emit({
      type: refund.status === 'SUCCEEDED' ? 'refund.succeeded' : 'refund.failed',
      data: presentNoteRefund(refund),
    });
  });
}

async function book(tx: Tx, note: CreditNote, { refund, before }: SettledRefund): Promise<void> {
  const { amountMinor } = refund;
  const movement = { currency: refund.currency, referenceId: refund.id };
  if (refund.status === 'FAILED' && before === 'SUCCEEDED') {
    const fromCreditMinor = note.refundedMinor < amountMinor ? note.refundedMinor : amountMinor;
    note.refundedMinor -= fromCreditMinor;
    note.balanceMinor += fromCreditMinor;
    const postings = movements.returnRefund({ fromCreditMinor, givenMinor: amountMinor - fromCreditMinor });
    await post(tx, { ...movement, type: 'refund_returned', postings });
  } else if (refund.status === 'FAILED') {
    note.refundedMinor -= amountMinor;
    note.balanceMinor += amountMinor;
    await post(tx, { ...movement, type: 'refund_failed', postings: movements.failRefund(amountMinor) });
  } else if (before === 'PENDING') {
    await post(tx, { ...movement, type: 'refund', postings: movements.refund(amountMinor) });
  } else {
    const fromCreditMinor = note.balanceMinor < amountMinor ? note.balanceMinor : amountMinor;
    note.refundedMinor += fromCreditMinor;
    note.balanceMinor -= fromCreditMinor;
    const postings = movements.refundLate({ fromCreditMinor, givenMinor: amountMinor - fromCreditMinor });
    await post(tx, { ...movement, type: 'refund', postings });
  }
}
