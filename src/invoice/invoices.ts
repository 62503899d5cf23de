import type { EntityManager } from '@mikro-orm/postgresql';
import { notFound } from '../domain/errors.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { uuidOf } from '../platform/ids.js';
import { Invoice, InvoiceLine } from './invoice.entity.js';

const plain = { disableIdentityMap: true } as const;

/** The account's invoices, newest first. */
export function listInvoices(
  em: EntityManager,
  accountId: string,
  { status, ...args }: PageArgs & { status?: readonly Invoice['status'][] | null | undefined },
): Promise<Connection<Invoice>> {
  return page<Invoice>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        Invoice,
        { accountId, ...(status ? { status: { $in: [...status] } } : {}), ...(after ? { id: { $lt: after } } : {}) },
        { ...plain, orderBy: { id: 'desc' }, limit },
      ),
  });
}

/** The account's invoice with this public id; NOT_FOUND for every other. */
export async function ownInvoice(em: EntityManager, accountId: string, id: string): Promise<Invoice> {
  const uuid = uuidOf('invoice', id);
  const invoice = uuid && (await em.findOne(Invoice, { accountId, id: uuid }));
  if (!invoice) throw notFound('invoice', id, 'invoiceId');
  return invoice;
}

export const linesOf = (em: EntityManager, accountId: string, invoiceId: string): Promise<InvoiceLine[]> =>
  em.find(InvoiceLine, { accountId, invoiceId }, { orderBy: { position: 'asc' } });

export const invoicesByIds: BatchFunction<Invoice> = byIdsOf(Invoice);

export const linesByIds: BatchFunction<InvoiceLine> = byIdsOf(InvoiceLine);

export const linesByInvoiceIds: BatchFunction<InvoiceLine[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(InvoiceLine, { accountId, invoiceId: { $in: [...ids] } }, { ...plain, orderBy: { position: 'asc' } }),
    (line) => line.invoiceId,
  );
