import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import { couponsUsed, periodReasons } from './billingContext.js';
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

/**
 * A period's invoice uses up one period of each coupon that discounts it, or could. A draft takes it as soon as it is drawn,
 * so that invoices after it see what is left. The last one ends the coupon, when no draft could still give one back.
 */
export async function takeCouponPeriods(tx: Tx, invoice: Invoice): Promise<void> {
  const ids = couponsUsed(invoice);
  if (ids.length === 0) return;
  await tx.em.flush();
  await rowsOf(
    tx.em,
    sql`update applied_coupon set periods_left = periods_left - 1, ended_at = case
          when periods_left = 1 and ${invoice.status !== 'DRAFT'} and not exists (
            select 1 from invoice draft where draft.account_id = ${tx.accountId} and draft.status = 'DRAFT' and draft.id <> ${invoice.id}
              and draft.reason = any(${periodReasons}::text[])
              and draft.discounts @> jsonb_build_array(jsonb_build_object('appliedCouponId', applied_coupon.id)))
          then ${tx.now}::timestamptz end
        where account_id = ${tx.accountId} and id = any(${ids}::uuid[]) and periods_left > 0`,
  );
}

/**
 * Gives back what an invoice has used up of coupons; of those named, or of all. Only a coupon that was used up begins to live
 * again: one that was removed by hand stays so, whatever is left of it.
 */
export async function giveBackCouponPeriods(
  tx: Tx,
  invoice: Invoice,
  ids: readonly string[] = couponsUsed(invoice),
): Promise<void> {
  const used = couponsUsed(invoice).filter((id) => ids.includes(id));
  if (used.length === 0) return;
  await rowsOf(
    tx.em,
    sql`update applied_coupon set periods_left = periods_left + 1, ended_at = case when periods_left > 0 then ended_at end
        where account_id = ${tx.accountId} and id = any(${used}::uuid[]) and periods_left is not null`,
  );
}

/** Gives back what a voided invoice took. */
export async function giveBack(tx: Tx, invoice: Invoice): Promise<void> {
  await giveBackCouponPeriods(tx, invoice);
  await rowsOf(
    tx.em,
    sql`update invoice_item set invoice_id = null where account_id = ${tx.accountId} and invoice_id = ${invoice.id}`,
  );
}
