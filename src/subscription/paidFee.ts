import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import type { BilledFee } from '../domain/giveBack.js';
import type { TaxTerms } from '../domain/tax.js';
import { ratesOf } from '../invoice/creditableInvoice.js';
import type { Invoice, InvoiceTax } from '../invoice/invoice.entity.js';
import type { Tx } from '../platform/db.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { Subscription } from './subscription.entity.js';

/** A line that billed (a part of) the current period in advance, up to its end. */
export interface PeriodFee extends BilledFee {
  lineId: string;
  invoiceId: string;
  /** PAID: what is given back is credit. Otherwise it lowers what is owed: a DRAFT's lines, or what is due of a final invoice. */
  status: 'PAID' | 'DRAFT' | 'OPEN' | 'UNCOLLECTIBLE';
  /** At which it was taxed; null on a DRAFT, which is taxed when it is final. */
  taxRates: readonly TaxTerms[] | null;
}

/** The newest first. */
export type PaidFee = readonly PeriodFee[];

interface Row {
  id: string;
  invoice_id: string;
  status: PeriodFee['status'];
  taxes: InvoiceTax[];
  period_start: string;
  period_end: string;
  amount: string;
  discount: string;
  noted: string;
  credited: { start: string; end: string; amount: string }[] | null;
}

/** What was billed in advance for the current period, paid or not, with what credit notes and earlier changes gave back of it. */
export async function paidFee(
  em: EntityManager,
  { accountId, id, periodStart, periodEnd }: Subscription,
): Promise<PaidFee> {
  await em.flush();
  const rows = await rowsOf(
    em,
    sql<Row>`
      select line.id, line.invoice_id, invoice.status, invoice.taxes, line.period_start, line.period_end,
        line.amount_minor::text as amount, line.discount_minor::text as discount,
        coalesce((select sum(noted.amount_minor) from credit_note_line noted
          join credit_note note on note.account_id = noted.account_id and note.id = noted.credit_note_id and note.status = 'ISSUED'
          where noted.account_id = line.account_id and noted.invoice_line_id = line.id), 0)::text as noted,
        (select json_agg(json_build_object('start', credit.period_start, 'end', credit.period_end, 'amount', (-credit.amount_minor)::text))
          from invoice_line credit join invoice given on given.account_id = credit.account_id and given.id = credit.invoice_id
          where credit.account_id = line.account_id and credit.credits_line_id = line.id and given.status <> 'VOID'
            and not (given.status = 'OPEN' and given.reason = 'subscription_change')) as credited
      from invoice join invoice_line line on line.account_id = invoice.account_id and line.invoice_id = invoice.id
      where invoice.account_id = ${accountId} and invoice.subscription_id = ${id}
        and invoice.status in ('PAID', 'DRAFT', 'OPEN', 'UNCOLLECTIBLE')
        and not (invoice.status = 'OPEN' and invoice.reason = 'subscription_change')
        and line.kind in ('fee', 'proration_charge') and line.amount_minor > 0
        and line.period_end = ${periodEnd} and line.period_start >= ${periodStart}
      order by invoice.created_at desc, invoice.id desc, line.position desc`,
  );
  return rows.map(feeOf);
}

const feeOf = (row: Row): PeriodFee => ({
  lineId: row.id,
  invoiceId: row.invoice_id,
  status: row.status,
  taxRates: row.status === 'DRAFT' ? null : termsOf(row),
  period: { start: instantOf(row.period_start), end: instantOf(row.period_end) },
  amountMinor: BigInt(row.amount),
  discountMinor: row.status === 'DRAFT' ? 0n : BigInt(row.discount),
  notedMinor: BigInt(row.noted),
  credited: (row.credited ?? []).map(({ start, end, amount }) => ({
    period: { start: instantOf(start), end: instantOf(end) },
    amountMinor: BigInt(amount),
  })),
});

const termsOf = (invoice: Pick<Invoice, 'taxes'>): TaxTerms[] =>
  ratesOf(invoice).map((rate) => ({ ...rate, percent: new Decimal(rate.percent) }));

/** Until the transaction ends nobody pays, finalises or credits what was billed for the current period. */
export async function lockPeriodInvoices(
  tx: Tx,
  { id, periodStart, periodEnd }: Pick<Subscription, 'id' | 'periodStart' | 'periodEnd'>,
): Promise<void> {
  await tx.em.flush();
  await rowsOf(
    tx.em,
    sql`select id from invoice where account_id = ${tx.accountId} and subscription_id = ${id} and status <> 'VOID'
        and exists (select 1 from invoice_line line where line.account_id = invoice.account_id and line.invoice_id = invoice.id
          and line.kind in ('fee', 'proration_charge') and line.period_end = ${periodEnd} and line.period_start >= ${periodStart})
        order by id for update`,
  );
}
