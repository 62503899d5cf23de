import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { currencyExponent, type Money, roundMinor } from '../domain/money.js';
import type { Tx } from '../platform/db.js';
import { InvoiceItem } from './invoice.entity.js';

/** Something to bill once: an amount, or a quantity (1 unless said) at a unit price in major units. */
export interface ItemInput {
  description: string;
  amount?: Money | undefined;
  quantity?: Decimal | undefined;
  unitAmount?: Decimal | undefined;
}

/** Either way from zero: a hundred of them, and as much usage, still fit into 8 bytes. */
const mostMinor = 1_000_000_000_000n;
const mostWaiting = 100;

/** The account's items that wait for its next invoice, oldest first. */
export const waitingItems = (em: EntityManager, accountId: string): Promise<InvoiceItem[]> =>
  em.find(InvoiceItem, { accountId, invoiceId: null }, { disableIdentityMap: true, orderBy: { id: 'asc' } });

/**
 * Checks an item and lets it wait. Its amount may be below zero, down to −1,000,000,000,000 minor units: it then lowers the
 * invoice, and what goes below zero becomes granted credit. The caller has locked the account.
 */
export async function keepItem(
  tx: Tx,
  { id, currency, item, field = [] }: { id: string; currency: string; item: ItemInput; field?: (string | number)[] },
): Promise<InvoiceItem> {
  const description = item.description.trim();
  if (description.length === 0 || description.length > 500)
    throw invalid(`A description has 1 to 500 characters, found ${description.length}`, ...field, 'description');
  if (item.amount && item.amount.currency !== currency)
    throw invalid(`The amount is in ${item.amount.currency}, the account is in ${currency}`, ...field, 'amount');
  const amountMinor = amountOf(item, currency, field);
  if (amountMinor === 0n) throw invalid('Expected an amount other than 0', ...field, 'amount');
  if (amountMinor > mostMinor || amountMinor < -mostMinor)
    throw invalid(`Expected at most ${mostMinor} minor units either way, found ${amountMinor}`, ...field, 'amount');
  if ((await tx.em.count(InvoiceItem, { accountId: tx.accountId, invoiceId: null })) >= mostWaiting)
    throw invalid(`At most ${mostWaiting} items wait at a time: invoice them first`, ...field);

  const kept = tx.em.create(InvoiceItem, {
    accountId: tx.accountId,
    id,
    description,
    quantity: (item.quantity ?? new Decimal(1)).toFixed(),
    unitAmount: item.unitAmount?.toFixed() ?? null,
    amountMinor,
    createdAt: tx.now,
    invoiceId: null,
  });
  await tx.em.flush();
  return kept;
}

function amountOf(
  { amount, quantity, unitAmount }: ItemInput,
  currency: string,
  field: readonly (string | number)[],
): bigint {
  if ((amount === undefined) === (unitAmount === undefined))
    throw invalid('Expected either an amount, or a unitAmount with its quantity', ...field, 'amount');
  if (amount) {
    if (quantity) throw invalid('A quantity belongs to a unitAmount, not to an amount', ...field, 'quantity');
    return amount.minorUnits;
  }
  const minorPrice = unitAmount!.times(new Decimal(10).pow(currencyExponent(currency)));
  return roundMinor(minorPrice.times(quantity ?? 1));
}
