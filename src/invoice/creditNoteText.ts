import { Decimal } from '../domain/decimal.js';
import type { InvoiceText } from './pdfText.js';
import { formatDay, formatMoney } from './pdfText.js';

/** All that a credit note's PDF shows. Amounts are minor units of `currency`. */
export interface CreditNoteDocument {
  number: string;
  status: 'ISSUED' | 'VOID';
  /** The invoice it corrects. */
  invoice: { number: string; issuedAt: Date | null };
  reason: string;
  seller: { name: string; lines: string[] };
  customer: { name: string; lines: string[] };
  currency: string;
  timeZone: string;
  issuedAt: Date;
  voidedAt: Date | null;
  lines: { description: string; amountMinor: bigint }[];
  subtotalMinor: bigint;
  taxes: { name: string; percent: string; inclusive: boolean; amountMinor: bigint }[];
  totalMinor: bigint;
  appliedToInvoiceMinor: bigint;
  returnedToWalletMinor: bigint;
  /** Refunds that have not failed, e.g. `Visa •••• 4242`; `at` is null while one is on its way. */
  refunds: { at: Date | null; description: string; amountMinor: bigint }[];
}

/** What became of the total, one line each; the rest of it is credit. */
function listOutcomes(document: CreditNoteDocument): InvoiceText['payments'] {
  const { currency, timeZone, issuedAt, invoice, refunds } = document;
  const outcomes = [
    {
      at: issuedAt,
      description: `Deducted from invoice ${invoice.number}`,
      amountMinor: document.appliedToInvoiceMinor,
    },
    ...refunds.map(({ at, description, amountMinor }) =>
      at
        ? { at, description: `Refunded to ${description}`, amountMinor }
        : { at: issuedAt, description: `Refund to ${description}, under way`, amountMinor },
    ),
    { at: issuedAt, description: 'Returned to the wallet', amountMinor: document.returnedToWalletMinor },
  ];
  const creditedMinor = outcomes.reduce((rest, { amountMinor }) => rest - amountMinor, document.totalMinor);
  return [...outcomes, { at: issuedAt, description: 'Credit for later invoices', amountMinor: creditedMinor }]
    .filter(({ amountMinor }) => amountMinor > 0n)
    .map(({ at, description, amountMinor }) => ({
      date: formatDay(at, timeZone),
      description,
      amount: formatMoney(amountMinor, currency),
    }));
}

/** `19` for 19.000000000000 % */
const percentOf = (percent: string): string => new Decimal(percent).toFixed();

/** Puts a credit note into words. Pure; throws RangeError for a time zone that does not exist. */
export function describeCreditNote(document: CreditNoteDocument): InvoiceText {
  const { number, status, invoice, reason, currency, timeZone, issuedAt, voidedAt } = document;
  const total = formatMoney(document.totalMinor, currency);
  const isVoid = status === 'VOID';
  const facts = [
    { label: 'Number', value: number },
    { label: 'Date of issue', value: formatDay(issuedAt, timeZone) },
    { label: 'Corrects invoice', value: invoice.number },
    { label: 'Invoice date', value: invoice.issuedAt && formatDay(invoice.issuedAt, timeZone) },
    { label: 'Reason', value: reason },
    { label: 'Currency', value: currency },
  ];
  return {
    title: `Credit note ${number}`,
    status: isVoid ? 'Void' : 'Issued',
    facts: facts.flatMap(({ label, value }) => (value ? [{ label, value }] : [])),
    headline: isVoid ? 'Nothing credited' : `${total} credited on ${formatDay(issuedAt, timeZone)}`,
    note: isVoid && voidedAt ? `This credit note was voided on ${formatDay(voidedAt, timeZone)}.` : '',
    rows: document.lines.map(({ description, amountMinor }) => ({
      description,
      detail: '',
      quantity: '',
      unitAmount: '',
      amount: formatMoney(amountMinor, currency),
    })),
    totals: [
      { label: 'Subtotal', amount: formatMoney(document.subtotalMinor, currency), strong: false },
      ...document.taxes
        .filter(({ amountMinor }) => amountMinor > 0n)
        .map(({ name, percent, inclusive, amountMinor }) => ({
          label: `${name} ${percentOf(percent)} %${inclusive ? ' (included)' : ''}`,
          amount: formatMoney(amountMinor, currency),
          strong: false,
        })),
      { label: isVoid ? 'Total' : 'Total credited', amount: total, strong: true },
    ],
    payments: isVoid ? [] : listOutcomes(document),
    mark: '',
  };
}
