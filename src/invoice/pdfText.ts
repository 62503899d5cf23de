import { currencyExponent, majorUnits } from '../domain/money.js';
import { lastDay } from '../domain/period.js';

/** A half-open period `[start, end)`. */
export interface InvoicePeriod {
  start: Date;
  end: Date;
}

/** All that an invoice's PDF shows. Amounts are minor units of `currency`; quantities and prices plain decimals. */
export interface InvoiceDocument {
  number: string | null;
  status: 'DRAFT' | 'OPEN' | 'PAID' | 'UNCOLLECTIBLE' | 'VOID';
  seller: { name: string; lines: string[] };
  customer: { name: string; lines: string[] };
  currency: string;
  timeZone: string;
  issuedAt: Date | null;
  dueAt: Date | null;
  period: InvoicePeriod | null;
  lines: {
    description: string;
    period: InvoicePeriod | null;
    quantity: string;
    unitAmount: string | null;
    amountMinor: bigint;
    proration: boolean;
  }[];
  subtotalMinor: bigint;
  /** What each coupon took off, by its name. */
  discounts: { name: string; amountMinor: bigint }[];
  taxes: { name: string; percent: string; inclusive: boolean; taxableMinor: bigint; amountMinor: bigint }[];
  taxExempt: boolean;
  totalMinor: bigint;
  /** What lines and tax sum below zero: it went to the wallet. */
  creditToWalletMinor: bigint;
  creditAppliedMinor: bigint;
  walletAppliedMinor: bigint;
  amountPaidMinor: bigint;
  amountDueMinor: bigint;
  /** Successful payments only, e.g. `Visa •••• 4242`. */
  payments: { at: Date; description: string; amountMinor: bigint }[];
}

export interface TableRow {
  description: string;
  /** The smaller line below the description: its period and whether it is prorated. */
  detail: string;
  quantity: string;
  unitAmount: string;
  amount: string;
}

/** The words and numbers of the PDF, in reading order, before any decision about where they stand. */
export interface InvoiceText {
  title: string;
  status: string;
  facts: { label: string; value: string }[];
  headline: string;
  /** A sentence below the headline; empty when the headline says it all. */
  note: string;
  rows: TableRow[];
  /** A long label wraps: its amount stands beside the first line. */
  totals: { label: string; amount: string; strong: boolean }[];
  payments: { date: string; description: string; amount: string }[];
  /** The word that lies across every page of what is no invoice yet; empty on all others. */
  mark: string;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const dayOf = (instant: Date, timeZone: string): Temporal.PlainDate =>
  Temporal.Instant.fromEpochMilliseconds(instant.getTime()).toZonedDateTimeISO(timeZone).toPlainDate();

// Our own month names: ICU's differ between versions ("Sep", "Sept"), and a PDF must not change with the runtime.
const dayAndMonth = (day: Temporal.PlainDate): string => `${day.day} ${months[day.month - 1]}`;
const fullDate = (day: Temporal.PlainDate): string => `${dayAndMonth(day)} ${day.year}`;

/** An instant as a day in an IANA time zone: `1 Nov 2026`. */
export const formatDay = (instant: Date, timeZone: string): string => fullDate(dayOf(instant, timeZone));

/**
 * A half-open period as inclusive days: `1 Nov – 30 Nov 2026`, `1 Dec 2026 – 31 Jan 2027`, `1 Nov 2026` for one day.
 * The last day is that of `lastDay`, so that paper and API agree: the day on which a period ends belongs to the next one.
 */
export function formatPeriod(period: InvoicePeriod, timeZone: string): string {
  const first = dayOf(period.start, timeZone);
  const last = Temporal.PlainDate.from(lastDay(period, timeZone));
  if (first.equals(last)) return fullDate(last);
  return `${first.year === last.year ? dayAndMonth(first) : fullDate(first)} – ${fullDate(last)}`;
}

// ECMA-402 formats a decimal string exactly, without a detour over a float; TypeScript wants to see it as a number.
const exactly = (decimal: string): Intl.StringNumericLiteral => decimal as Intl.StringNumericLiteral;

// Unit prices and quantities have up to twelve decimals; all of them are shown (`$0.00025`).
const decimalsMax = 12;

/**
 * An amount in major units with at least the decimals of ISO 4217: left to itself, Intl rounds IDR and HUF to whole
 * ones, as CLDR likes prices written.
 */
function formatMajor(amount: string, currency: string, maximumFractionDigits: number): string {
  const digits = { minimumFractionDigits: currencyExponent(currency), maximumFractionDigits };
  return new Intl.NumberFormat('en-US', { style: 'currency', currency, ...digits }).format(exactly(amount));
}

/** Minor units as people read them: `$1,234.50`, `¥1,500`, `-KWD 1.234` (with a no-break space). */
export const formatMoney = (minorUnits: bigint, currency: string): string =>
  formatMajor(majorUnits({ minorUnits, currency }), currency, currencyExponent(currency));

const formatQuantity = (quantity: string): string =>
  new Intl.NumberFormat('en-US', { maximumFractionDigits: decimalsMax }).format(exactly(quantity));

const statusLabels: Record<InvoiceDocument['status'], string> = {
  DRAFT: 'Draft',
  OPEN: 'Open',
  PAID: 'Paid',
  UNCOLLECTIBLE: 'Uncollectible',
  VOID: 'Void',
};

/** What the reader has to do about this invoice, in a few words. */
function describeDebt(document: InvoiceDocument): { headline: string; note: string } {
  const { status, currency, timeZone, dueAt, payments } = document;
  const due = formatMoney(document.amountDueMinor, currency);
  if (status === 'DRAFT') return { headline: due, note: 'Draft: amounts may still change, nothing is payable yet.' };
  if (status === 'VOID') return { headline: 'Nothing to pay', note: 'This invoice is void.' };
  if (status === 'UNCOLLECTIBLE') return { headline: `${due} outstanding`, note: '' };
  if (status === 'OPEN') return { headline: `${due} due ${dueAt ? formatDay(dueAt, timeZone) : 'now'}`, note: '' };
  // An invoice that credits and the wallet cover entirely is paid without a payment.
  if (payments.length === 0) return { headline: 'Paid in full', note: '' };
  const lastPaymentAt = new Date(Math.max(...payments.map(({ at }) => at.getTime())));
  const paid = formatMoney(document.amountPaidMinor, currency);
  return { headline: `${paid} paid on ${formatDay(lastPaymentAt, timeZone)}`, note: '' };
}

/** `VAT 19 % on $30.00`; a tax that prices contain is told, not added. */
function describeTax(tax: InvoiceDocument['taxes'][number], currency: string): string {
  const rate = `${tax.name} ${formatQuantity(tax.percent)} %`;
  return `${tax.inclusive ? 'contains ' : ''}${rate} on ${formatMoney(tax.taxableMinor, currency)}`;
}

interface Total {
  label: string;
  minor: bigint;
  always?: true;
  strong?: true;
}

/**
 * The totals from subtotal to amount due. Reductions are shown negative; those of zero are left out. Subtotal, total, each
 * tax and amount due always stand.
 */
function listTotals(document: InvoiceDocument): InvoiceText['totals'] {
  const taxOf = (tax: InvoiceDocument['taxes'][number]): Total => ({
    label: describeTax(tax, document.currency),
    minor: tax.amountMinor,
    always: true,
  });
  const entries: Total[] = [
    { label: 'Subtotal', minor: document.subtotalMinor, always: true },
    ...document.discounts.map(({ name, amountMinor }) => ({ label: name, minor: -amountMinor })),
    ...document.taxes.filter(({ inclusive }) => !inclusive).map(taxOf),
    { label: 'Credited to wallet', minor: document.creditToWalletMinor },
    { label: 'Total', minor: document.totalMinor, always: true, strong: true },
    ...document.taxes.filter(({ inclusive }) => inclusive).map(taxOf),
    { label: 'Credit applied', minor: -document.creditAppliedMinor },
    { label: 'Wallet applied', minor: -document.walletAppliedMinor },
    { label: 'Amount paid', minor: -document.amountPaidMinor },
    { label: 'Amount due', minor: document.amountDueMinor, always: true, strong: true },
  ];
  return entries
    .filter(({ minor, always }) => always || minor !== 0n)
    .map(({ label, minor, strong }) => ({
      label,
      amount: formatMoney(minor, document.currency),
      strong: strong === true,
    }));
}

/** Puts an invoice into words. Pure; throws RangeError for a time zone that does not exist. */
export function describeInvoice(document: InvoiceDocument): InvoiceText {
  const { number, currency, timeZone, issuedAt, dueAt, period } = document;
  const facts = [
    { label: 'Invoice number', value: number },
    { label: 'Date of issue', value: issuedAt && formatDay(issuedAt, timeZone) },
    { label: 'Date due', value: dueAt && formatDay(dueAt, timeZone) },
    { label: 'Billing period', value: period && formatPeriod(period, timeZone) },
    { label: 'Currency', value: currency },
    { label: 'Tax', value: document.taxExempt ? 'Exempt: no tax is charged' : null },
  ];
  return {
    title: `${document.status === 'DRAFT' ? 'Draft invoice' : 'Invoice'}${number ? ` ${number}` : ''}`,
    status: statusLabels[document.status],
    facts: facts.flatMap(({ label, value }) => (value ? [{ label, value }] : [])),
    ...describeDebt(document),
    rows: document.lines.map((line) => ({
      description: line.description,
      detail: [line.period ? formatPeriod(line.period, timeZone) : '', line.proration ? 'prorated' : '']
        .filter((part) => part !== '')
        .join(' · '),
      quantity: formatQuantity(line.quantity),
      unitAmount: line.unitAmount === null ? '' : formatMajor(line.unitAmount, currency, decimalsMax),
      amount: formatMoney(line.amountMinor, currency),
    })),
    totals: listTotals(document),
    payments: document.payments.map(({ at, description, amountMinor }) => ({
      date: formatDay(at, timeZone),
      description,
      amount: formatMoney(amountMinor, currency),
    })),
    mark: document.status === 'DRAFT' ? 'DRAFT' : '',
  };
}
