import type { EntityManager } from '@mikro-orm/postgresql';
import { type Fraction, whole } from '../domain/proration.js';
import { rowsOf, sql } from '../platform/sql.js';
import { paidForPeriod } from './changePlan.js';
import type { PaidFee } from './decide.js';
import type { Subscription } from './subscription.entity.js';

/** What was paid in advance for the current period, as far as it can be given back. */
export async function paidFee(em: EntityManager, subscription: Subscription): Promise<PaidFee> {
  return { paidMinor: await paidForPeriod(em, subscription), netShare: await netShare(em, subscription) };
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
