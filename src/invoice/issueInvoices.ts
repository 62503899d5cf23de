import type { EntityManager } from '@mikro-orm/postgresql';
import { movements } from '../domain/ledger.js';
import type { PaymentMethod } from '../payment/payment.entity.js';
import type { Tx } from '../platform/db.js';
import { insertAll } from '../platform/insertAll.js';
import { drawDownAll } from '../wallet/drawDown.js';
import { postAll } from '../wallet/ledger.js';
import type { BillingContext } from './billingContext.js';
import type { DecidedInvoice } from './decideInvoice.js';
import { Invoice, InvoiceLine } from './invoice.entity.js';
import { announceFinal, type IssuedInvoice, nextNumbers, open } from './issueInvoice.js';

/** An invoice that was decided, of one account in a transaction over many. */
export interface DecidedIssue {
  tx: Tx;
  decided: DecidedInvoice;
  issuedAt: Date;
  collectFrom: PaymentMethod | null;
}

/**
 * Does an invoice of this account take no more than lines, taxes, discounts without end, and the wallet? Then it can be
 * issued by the set. Waiting items, coupons that run out and credit of notes have rows of their own to be taken from.
 */
export const isPlain = ({ items, coupons, creditMinor }: BillingContext): boolean =>
  items.length === 0 && creditMinor === 0n && coupons.every(({ periodsLeft }) => periodsLeft === null);

/**
 * Finalises one plain invoice for each of many accounts, as `issueInvoice` does one: the same numbers, postings and events,
 * each written by one statement. The caller has locked the accounts' rows before it decided.
 */
export async function issueInvoices(em: EntityManager, issues: readonly DecidedIssue[]): Promise<IssuedInvoice[]> {
  const numbers = await nextNumbers(
    em,
    issues.map(({ tx }) => tx.accountId),
  );
  const issued = issues.map(({ tx, decided, issuedAt, collectFrom }) => {
    const { invoice, lines } = decided;
    open(invoice, { number: numbers.get(tx.accountId)!, issuedAt });
    return { tx, invoice, lines, collectFrom, toDrawMinor: decided.bill.walletAppliedMinor };
  });

  const owing = issued.filter(({ invoice }) => invoice.totalMinor > 0n);
  await postAll(
    em,
    owing.map(({ tx, invoice: { id, currency, totalMinor, taxMinor } }) => {
      const postings = movements.issueInvoice({ totalMinor, taxMinor });
      return { tx, movement: { type: 'invoice_issued', currency, referenceId: id, postings } };
    }),
  );
  // Whose wallet was empty when the invoice was decided is not looked at again: what came since pays the next one.
  const drawing = owing.filter(({ toDrawMinor }) => toDrawMinor > 0n);
  const drawn = await drawDownAll(
    em,
    drawing.map(({ tx, invoice }) => ({ tx, draw: { amountMinor: invoice.totalMinor, invoiceId: invoice.id } })),
  );

  const announced: IssuedInvoice[] = [];
  for (const { tx, invoice, lines, collectFrom } of issued) {
    invoice.walletAppliedMinor = drawn.get(tx.accountId) ?? 0n;
    invoice.amountDueMinor = invoice.totalMinor - invoice.walletAppliedMinor;
    announced.push(await announceFinal(tx, { invoice, lines }, collectFrom));
  }
  await insertAll(
    em,
    Invoice,
    issued.map(({ invoice }) => invoice),
  );
  await insertAll(
    em,
    InvoiceLine,
    issued.flatMap(({ lines }) => lines),
  );
  return announced;
}
