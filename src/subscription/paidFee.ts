import type { EntityManager } from '@mikro-orm/postgresql';
import { type Fraction, type Spread, whole } from '../domain/proration.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { PaidFee } from './decide.js';
import type { Subscription } from './subscription.entity.js';

/** What was paid in advance for the current period, as far as it can be given back. */
export async function paidFee(em: EntityManager, subscription: Subscription): Promise<PaidFee> {
  return { paid: await paidForPeriod(em, subscription), netShare: await netShare(em, subscription) };
}

/**
 * Fees paid for the current period, and what was credited of them, net of discounts and credit notes: every such line of a
 * paid invoice that lies in the period and runs to its end. A renewal that waits as DRAFT counts as paid: it will be billed,
 * whatever becomes of the period. A credit beside a whole fee is for the period that the fee's took the place of.
 */
async function paidForPeriod(em: EntityManager, subscription: Subscription): Promise<Spread[]> {
  const rows = await rowsOf(
    em,
    sql<{ period_start: string; period_end: string; net: string }>`
      select line.period_start, line.period_end, (line.amount_minor - line.discount_minor - coalesce((
          select sum(credited.amount_minor) from credit_note_line credited
          join credit_note note on note.account_id = credited.account_id and note.id = credited.credit_note_id and note.status = 'ISSUED'
          where credited.account_id = line.account_id and credited.invoice_line_id = line.id), 0))::text as net
      from invoice join invoice_line line on line.account_id = invoice.account_id and line.invoice_id = invoice.id
      where invoice.account_id = ${subscription.accountId} and invoice.subscription_id = ${subscription.id}
        and invoice.status in ('PAID', 'DRAFT') and line.period_end = ${subscription.periodEnd}
        and line.period_start >= ${subscription.periodStart}
        and (line.kind in ('fee', 'proration_charge') or line.kind = 'proration_credit' and not exists (
          select 1 from invoice_line fee
          where fee.account_id = line.account_id and fee.invoice_id = line.invoice_id and fee.kind = 'fee'))`,
  );
  return rows.map((row) => ({
    period: { start: instantOf(row.period_start), end: instantOf(row.period_end) },
    amountMinor: BigInt(row.net),
  }));
}

/** What discounts left of the last charge, paid or about to be billed, that runs to the period's end. Nothing was charged: all of it. */
async function netShare(em: EntityManager, subscription: Subscription): Promise<Fraction> {
  const [charge] = await rowsOf(
    em,
    sql<{ amount: string; discount: string }>`
      select line.amount_minor::text as amount, line.discount_minor::text as discount
      from invoice join invoice_line line on line.account_id = invoice.account_id and line.invoice_id = invoice.id
      where invoice.account_id = ${subscription.accountId} and invoice.subscription_id = ${subscription.id}
        and invoice.status in ('PAID', 'DRAFT') and line.period_end = ${subscription.periodEnd}
        and line.kind in ('fee', 'proration_charge') and line.amount_minor > 0
      order by invoice.created_at desc, invoice.id desc, line.position desc limit 1`,
  );
  if (!charge) return whole;
  const amount = BigInt(charge.amount);
  return { numerator: amount - BigInt(charge.discount), denominator: amount };
}
