import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import type { DiscountTerms } from '../domain/discount.js';
import type { TaxTerms } from '../domain/tax.js';
import { rowsOf, sql } from '../platform/sql.js';
import { returnableCredit } from './credit.js';
import type { Invoice, InvoiceItem } from './invoice.entity.js';

/** A coupon that the account has taken, with what deciding an invoice needs of it. */
export interface LiveCoupon extends DiscountTerms {
  readonly appliedCouponId: string;
  readonly code: string;
  readonly name: string;
  /** Periods' invoices it still discounts; null: without end. */
  readonly periodsLeft: number | null;
}

/** Something that waits to be billed on the account's next invoice. */
export type WaitingItem = Pick<InvoiceItem, 'id' | 'description' | 'quantity' | 'unitAmount' | 'amountMinor'>;

/** All that an invoice depends on beside its own lines. */
export interface BillingContext {
  readonly accountId: string;
  /** Account name and time zone at finalisation: the document doesn't change when the account does. */
  readonly customerName: string;
  readonly timeZone: string;
  readonly currency: string;
  readonly taxExempt: boolean;
  readonly taxRates: readonly TaxTerms[];
  /** In the order in which they were taken. */
  readonly coupons: readonly LiveCoupon[];
  readonly items: readonly WaitingItem[];
  /** Balance of earlier credit notes, and of the wallet without what is held. */
  readonly creditMinor: bigint;
  readonly walletMinor: bigint;
}

interface Row {
  id: string;
  name: string;
  time_zone: string;
  currency: string;
  tax_exempt: boolean;
  tax_rates: { name: string; percent: string; inclusive: boolean }[] | null;
  coupons: CouponRow[] | null;
  items:
    | { id: string; description: string; quantity: string; unit_amount: string | null; amount_minor: string }[]
    | null;
  credit_minor: string | null;
  wallet_minor: string | null;
}

interface CouponRow {
  id: string;
  code: string;
  name: string;
  amount_minor: string | null;
  percent: string | null;
  plan_codes: string[];
  metric_codes: string[];
  periods_left: number | null;
}

/**
 * What invoices of these accounts depend on, all of them in one statement. Live are coupons of which something is left;
 * `withCoupons` counts those that are used up among them, not those that were removed by hand. Whoever will write what follows from it locks the accounts' rows first.
 */
export async function billingContexts(
  em: EntityManager,
  accountIds: readonly string[],
  { withCoupons = [] }: { withCoupons?: readonly string[] } = {},
): Promise<Map<string, BillingContext>> {
  const rows = await rowsOf(
    em,
    sql<Row>`
      select account.id, account.name, account.time_zone, account.currency, account.tax_exempt,
        (select json_agg(json_build_object('name', rate.name, 'percent', rate.percent::text, 'inclusive', rate.inclusive) order by rate.position)
          from tax_rate rate where rate.account_id = account.id and rate.archived_at is null) as tax_rates,
        (select json_agg(json_build_object('id', applied.id, 'code', coupon.code, 'name', coupon.name,
            'amount_minor', coupon.amount_minor::text, 'percent', coupon.percent::text, 'plan_codes', coupon.plan_codes,
            'metric_codes', coupon.metric_codes, 'periods_left', applied.periods_left) order by applied.id)
          from applied_coupon applied join coupon on coupon.id = applied.coupon_id
          where applied.account_id = account.id and (applied.ended_at is null and coalesce(applied.periods_left, 1) > 0
            or applied.periods_left = 0 and applied.id = any(${withCoupons}::uuid[]))) as coupons,
        (select json_agg(json_build_object('id', item.id, 'description', item.description, 'quantity', item.quantity::text,
            'unit_amount', item.unit_amount::text, 'amount_minor', item.amount_minor::text) order by item.id)
          from invoice_item item where item.account_id = account.id and item.invoice_id is null) as items,
        (select sum(note.balance_minor)::text from credit_note note
          where note.account_id = account.id and note.balance_minor > 0 and note.status = 'ISSUED') as credit_minor,
        (select sum(credit.remaining_minor - credit.held_minor)::text from wallet_grant credit
          where credit.account_id = account.id and credit.remaining_minor > 0) as wallet_minor
      from account where account.id = any(${accountIds}::uuid[])`,
  );
  return new Map(rows.map((row) => [row.id, contextOf(row)]));
}

export async function billingContext(em: EntityManager, accountId: string): Promise<BillingContext> {
  return (await billingContexts(em, [accountId])).get(accountId)!;
}

/** The context as it will be when this unpaid invoice of the account has been voided: what it took is there again. */
export async function contextWithout(em: EntityManager, invoice: Invoice): Promise<BillingContext> {
  const { accountId } = invoice;
  const used = couponsUsed(invoice);
  const context = (await billingContexts(em, [accountId], { withCoupons: used })).get(accountId)!;
  const items = await rowsOf(
    em,
    sql<{ id: string; description: string; quantity: string; unit_amount: string | null; amount_minor: string }>`
      select id, description, quantity, unit_amount, amount_minor from invoice_item
      where account_id = ${accountId} and invoice_id = ${invoice.id} order by id`,
  );
  return {
    ...context,
    coupons: context.coupons.map((coupon) =>
      used.includes(coupon.appliedCouponId) && coupon.periodsLeft !== null
        ? { ...coupon, periodsLeft: coupon.periodsLeft + 1 }
        : coupon,
    ),
    items: [...items.map(itemOf), ...context.items],
    creditMinor: context.creditMinor + returnableCredit(invoice),
    walletMinor: context.walletMinor + invoice.walletAppliedMinor,
  };
}

/** Invoices for a period use up one of a coupon's; those for a change or the end don't. */
export const periodReasons: readonly Invoice['reason'][] = [
  'subscription_create',
  'subscription_cycle',
  'subscription_resume',
];
export const usesPeriods = ({ reason }: Pick<Invoice, 'reason'>): boolean => periodReasons.includes(reason);

/** The coupons of which an invoice uses up a period. */
export const couponsUsed = (invoice: Pick<Invoice, 'reason' | 'discounts'>): string[] =>
  usesPeriods(invoice) ? invoice.discounts.map(({ appliedCouponId }) => appliedCouponId) : [];

const contextOf = (row: Row): BillingContext => ({
  accountId: row.id,
  customerName: row.name,
  timeZone: row.time_zone,
  currency: row.currency,
  taxExempt: row.tax_exempt,
  taxRates: (row.tax_rates ?? []).map((rate) => ({ ...rate, percent: new Decimal(rate.percent) })),
  coupons: (row.coupons ?? []).map((coupon) => ({
    appliedCouponId: coupon.id,
    code: coupon.code,
    name: coupon.name,
    amountMinor: coupon.amount_minor === null ? null : BigInt(coupon.amount_minor),
    percent: coupon.percent === null ? null : new Decimal(coupon.percent),
    planCodes: coupon.plan_codes,
    metricCodes: coupon.metric_codes,
    periodsLeft: coupon.periods_left,
  })),
  items: (row.items ?? []).map(itemOf),
  creditMinor: BigInt(row.credit_minor ?? 0),
  walletMinor: BigInt(row.wallet_minor ?? 0),
});

const itemOf = (row: NonNullable<Row['items']>[number]): WaitingItem => ({
  id: row.id,
  description: row.description,
  quantity: row.quantity,
  unitAmount: row.unit_amount,
  amountMinor: BigInt(row.amount_minor),
});
