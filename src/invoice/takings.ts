import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import { usesPeriods } from './billingContext.js';
import type { Invoice, InvoiceLine } from './invoice.entity.js';

// What an invoice takes from its account beside money: waiting items, and periods of coupons.

/** The items among these lines wait no longer. */
export async function takeItems(tx: Tx, invoice: Invoice, lines: readonly InvoiceLine[]): Promise<void> {
  const ids = lines.flatMap(({ itemId }) => (itemId == null ? [] : [itemId]));
  if (ids.length === 0) return;
  await rowsOf(
    tx.em,
    sql`update invoice_item set invoice_id = ${invoice.id} where account_id = ${tx.accountId} and id = any(${ids}::uuid[])`,
  );
}

/** A period's invoice uses up one period of each coupon that discounted it, or could have; the last one ends the coupon. */
export async function takeCouponPeriods(tx: Tx, invoice: Invoice): Promise<void> {
  const ids = invoice.discounts.map(({ appliedCouponId }) => appliedCouponId);
  if (ids.length === 0 || !usesPeriods(invoice)) return;
  await rowsOf(
    tx.em,
    sql`update applied_coupon set periods_left = periods_left - 1, ended_at = case when periods_left = 1 then ${tx.now}::timestamptz end
        where account_id = ${tx.accountId} and id = any(${ids}::uuid[]) and periods_left > 0`,
  );
}

/**
 * Gives back what a voided invoice took. Only a coupon that was used up begins to live again: one that was removed by hand
 * stays so, whatever is left of it.
 */
export async function giveBack(tx: Tx, invoice: Invoice): Promise<void> {
  const ids = usesPeriods(invoice) ? invoice.discounts.map(({ appliedCouponId }) => appliedCouponId) : [];
  if (ids.length > 0) {
    await rowsOf(
      tx.em,
      sql`update applied_coupon set periods_left = periods_left + 1, ended_at = case when periods_left > 0 then ended_at end
          where account_id = ${tx.accountId} and id = any(${ids}::uuid[]) and periods_left is not null`,
    );
  }
  await rowsOf(
    tx.em,
    sql`update invoice_item set invoice_id = null where account_id = ${tx.accountId} and invoice_id = ${invoice.id}`,
  );
}
