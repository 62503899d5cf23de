import { type CreateCreditNoteInput, createCreditNote } from '../../src/invoice/createCreditNote.js';
import { CreditNote } from '../../src/invoice/creditNote.entity.js';
import { type Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { Refund } from '../../src/payment/payment.entity.js';
import type { Deps } from '../../src/platform/deps.js';
import { publicId } from '../../src/platform/ids.js';
import { usd } from './billing.js';
import type { TestAccount, World } from './world.js';

/** In the order of their numbers. */
export const creditNotesOf = (world: World, { id }: TestAccount): Promise<CreditNote[]> =>
  world.deps.db.orm.em.fork().find(CreditNote, { accountId: id }, { orderBy: { number: 'asc' } });

export const refundsOf = (world: World, { id }: TestAccount): Promise<Refund[]> =>
  world.deps.db.orm.em.fork().find(Refund, { accountId: id }, { orderBy: { id: 'asc' } });

/** The public id of an invoice's first line. */
export async function firstLineOf(world: World, { accountId, id }: Invoice): Promise<string> {
  const line = await world.deps.db.orm.em.fork().findOneOrFail(InvoiceLine, { accountId, invoiceId: id, position: 0 });
  return publicId('invoiceLine', line.id);
}

/** Credits `amount` of an invoice's first line, or everything; returns the note as it is then. */
export async function credit(
  world: World,
  account: TestAccount,
  {
    invoice,
    amount,
    deps = world.deps,
    ...of
  }: { invoice: Invoice; amount?: string; deps?: Deps } & Partial<CreateCreditNoteInput>,
): Promise<CreditNote> {
  const { creditNoteId } = await createCreditNote(deps, account.actor, {
    invoiceId: publicId('invoice', invoice.id),
    kind: 'CREDIT',
    reason: 'Goodwill',
    ...(amount === undefined
      ? {}
      : { lines: [{ invoiceLineId: await firstLineOf(world, invoice), amount: usd(amount) }] }),
    ...of,
  });
  return world.deps.db.orm.em.fork().findOneOrFail(CreditNote, { accountId: account.id, id: creditNoteId });
}
