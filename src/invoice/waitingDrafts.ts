import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { type DiscountTerms, isDiscountable } from '../domain/discount.js';
import type { Tx } from '../platform/db.js';
import { usesPeriods } from './billingContext.js';
import { Invoice } from './invoice.entity.js';
import { linesByInvoiceIds, linesOf } from './invoices.js';
import { lockAccount, redecide } from './issueInvoice.js';
import { giveBackCouponPeriods } from './takings.js';

// What a coupon that is taken or removed does to the drafts that wait: they come before every invoice made from now on.

const inOrder = { orderBy: { createdAt: 'asc', id: 'asc' } } as const;

/** The account's drafts in the order they were drawn in, locked, as is the account: drafts first, as whoever draws one anew does. */
export async function lockDrafts(tx: Tx): Promise<Invoice[]> {
  const find = () =>
    tx.em.find(
      Invoice,
      { accountId: tx.accountId, status: 'DRAFT' },
      { ...inOrder, lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
  await find();
  await lockAccount(tx);
  return find(); // with one that was drawn while this waited for the account
}

/** Decides drafts anew over the lines they have, one after the other: the first takes the first period of a coupon. */
export async function redecideDrafts(tx: Tx, drafts: readonly Invoice[]): Promise<void> {
  for (const invoice of drafts) await redecide(tx, invoice, await linesOf(tx.em, tx.accountId, invoice.id));
}

/** Takes a coupon off drafts: what they have used up of it is given back. They are then to be decided anew. */
export async function takeCouponOff(tx: Tx, drafts: readonly Invoice[], appliedCouponId: string): Promise<void> {
  for (const invoice of drafts) {
    await giveBackCouponPeriods(tx, invoice, [appliedCouponId]);
    invoice.discounts = invoice.discounts.filter((discount) => discount.appliedCouponId !== appliedCouponId);
  }
}

/** How many drafts would use up a period of this coupon, if it were taken now. */
export async function draftsToDiscount(em: EntityManager, accountId: string, coupon: DiscountTerms): Promise<number> {
  const drafts = await em.find(Invoice, { accountId, status: 'DRAFT' }, { disableIdentityMap: true });
  const ids = drafts.filter(usesPeriods).map(({ id }) => id);
  const lines = await linesByInvoiceIds(em, accountId, ids);
  return ids.filter((id) => lines.get(id)?.some((line) => isDiscountable(coupon, line))).length;
}
