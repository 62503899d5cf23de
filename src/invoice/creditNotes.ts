import type { EntityManager } from '@mikro-orm/postgresql';
import { notFound } from '../domain/errors.js';
import { Refund } from '../payment/payment.entity.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { CreditNote, CreditNoteLine } from './creditNote.entity.js';

const plain = { disableIdentityMap: true } as const;

/** The account's credit notes, newest first. */
export function listCreditNotes(em: EntityManager, accountId: string, args: PageArgs): Promise<Connection<CreditNote>> {
  return page<CreditNote>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        CreditNote,
        { accountId, ...(after ? { id: { $lt: after } } : {}) },
        { ...plain, orderBy: { id: 'desc' }, limit },
      ),
  });
}

/** The account's credit note with this public id; NOT_FOUND for every other. */
export async function ownCreditNote(em: EntityManager, accountId: string, id: string): Promise<CreditNote> {
  const uuid = uuidOf('creditNote', id);
  const note = uuid && (await em.findOne(CreditNote, { accountId, id: uuid }, plain));
  if (!note) throw notFound('credit note', id, 'creditNoteId');
  return note;
}

export const creditNotesByIds: BatchFunction<CreditNote> = byIdsOf(CreditNote);

/** In the order of their numbers. */
export const creditNotesByInvoiceIds: BatchFunction<CreditNote[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(CreditNote, { accountId, invoiceId: { $in: [...ids] } }, { ...plain, orderBy: { id: 'asc' } }),
    (note) => note.invoiceId,
  );

export const linesByCreditNoteIds: BatchFunction<CreditNoteLine[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(
      CreditNoteLine,
      { accountId, creditNoteId: { $in: [...ids] } },
      { ...plain, orderBy: { position: 'asc' } },
    ),
    (line) => line.creditNoteId,
  );

export const refundsByCreditNoteIds: BatchFunction<Refund[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(Refund, { accountId, subjectId: { $in: [...ids] } }, { ...plain, orderBy: { id: 'asc' } }),
    (refund) => refund.subjectId,
  );

/** What credit notes that are not void have taken back of these invoice lines, in minor units. */
export async function creditedByLines(
  em: EntityManager,
  accountId: string,
  lineIds: readonly string[],
): Promise<Map<string, bigint>> {
  const rows = await rowsOf(
    em,
    sql<{ id: string; credited: string }>`
      select line.invoice_line_id as id, sum(line.amount_minor)::text as credited
      from credit_note_line line
      join credit_note note on note.account_id = line.account_id and note.id = line.credit_note_id
      where line.account_id = ${accountId} and line.invoice_line_id = any(${lineIds}::uuid[]) and note.status = 'ISSUED'
      group by line.invoice_line_id`,
  );
  return new Map(rows.map((row) => [row.id, BigInt(row.credited)]));
}
