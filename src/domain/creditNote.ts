import { BillingError, invalid } from './errors.js';
import { majorUnits } from './money.js';

/** What one rate added to an invoice, or to a credit note; of an inclusive one, what is contained in the prices. */
export interface TaxAmount {
  readonly inclusive: boolean;
  readonly taxableMinor: bigint;
  readonly amountMinor: bigint;
}

export interface LineCredit {
  readonly lineId: string;
  readonly amountMinor: bigint;
}

/** A credit note that is not void. Its taxes stand in the order of its invoice's. */
export interface EarlierNote {
  readonly lines: readonly LineCredit[];
  readonly taxes: readonly Pick<TaxAmount, 'taxableMinor' | 'amountMinor'>[];
  readonly totalMinor: bigint;
}

export interface CreditableInvoice {
  readonly number: string;
  readonly status: 'DRAFT' | 'OPEN' | 'PAID' | 'UNCOLLECTIBLE' | 'VOID';
  readonly currency: string;
  readonly totalMinor: bigint;
  readonly amountDueMinor: bigint;
  readonly taxes: readonly TaxAmount[];
  readonly lines: readonly { readonly id: string; readonly amountMinor: bigint; readonly discountMinor: bigint }[];
  readonly creditNotes: readonly EarlierNote[];
  /** Its payments by card, newest first, each with what of it has not been refunded. */
  readonly payments: readonly { readonly id: string; readonly refundableMinor: bigint }[];
  /** What the wallet paid of it and did not get back. */
  readonly walletReturnableMinor: bigint;
}

/** A credit note over part of an invoice, in minor units: what it takes back, and where that goes. */
export interface CreditNoteDecision {
  readonly lines: readonly LineCredit[];
  readonly subtotalMinor: bigint;
  readonly taxes: readonly Pick<TaxAmount, 'taxableMinor' | 'amountMinor'>[];
  readonly taxMinor: bigint;
  readonly totalMinor: bigint;
  /** The parts of the total. */
  readonly appliedToInvoiceMinor: bigint;
  readonly refunds: readonly { readonly paymentId: string; readonly amountMinor: bigint }[];
  readonly refundedMinor: bigint;
  readonly returnedToWalletMinor: bigint;
  readonly balanceMinor: bigint;
}

/**
 * Decides a credit note. Amounts are what its lines take back of the invoice's lines, after discounts and, where prices
 * contain tax, with it; `'everything'` is all that is left of the invoice. Tax follows in proportion, rate by rate, reckoned
 * over all notes of the invoice together: whoever credits the whole of it, in however many steps, gives back exactly its tax.
 *
 * The total first lowers what is still due. The rest of a REFUND goes back to what paid: to the cards, newest payment first,
 * then to the wallet, and what earlier credit had paid becomes credit again; the rest of a CREDIT is credit for later invoices.
 *
 * Throws ILLEGAL_STATE for an invoice that is no claim (DRAFT, VOID), has nothing left, or was not paid as far as a REFUND goes;
 * INVALID for an amount that is not positive or more than is left of its line or of the invoice.
 */
export function decideCreditNote({
  invoice,
  kind,
  amounts,
}: {
  invoice: CreditableInvoice;
  kind: 'CREDIT' | 'REFUND';
  amounts: readonly LineCredit[] | 'everything';
}): CreditNoteDecision {
  checkCreditable(invoice);
  const left = leftOf(invoice);
  const lines = amounts === 'everything' ? takeEverything(left) : checkedLines(amounts, left, invoice);
  const subtotalMinor = sum(lines);
  const taxes = taxesOf(invoice, left.creditedMinor + subtotalMinor);
  const taxMinor = sum(taxes);
  const totalMinor = subtotalMinor + sum(taxes.filter((_, i) => !invoice.taxes[i]!.inclusive));
  if (kind === 'REFUND') checkPaid(invoice, totalMinor);
  return { lines, subtotalMinor, taxes, taxMinor, totalMinor, ...partsOf(invoice, kind, totalMinor) };
}

function checkCreditable({ number, status, totalMinor, creditNotes }: CreditableInvoice): void {
  if (status === 'DRAFT' || status === 'VOID') {
    throw new BillingError('ILLEGAL_STATE', `Invoice ${number} is ${status}, expected OPEN, PAID or UNCOLLECTIBLE`, {
      field: ['invoiceId'],
    });
  }
  if (creditNotes.reduce((credited, note) => credited + note.totalMinor, 0n) >= totalMinor) {
    throw new BillingError('ILLEGAL_STATE', `Nothing is left of invoice ${number} to credit, expected some amount`, {
      field: ['invoiceId'],
    });
  }
}

/** What no note has taken yet: of each line, and of all of them together, where lines below zero count as well. */
interface Left {
  readonly creditedMinor: bigint;
  readonly minor: bigint;
  readonly byLine: ReadonlyMap<string, bigint>;
}

function leftOf(invoice: CreditableInvoice): Left {
  const credited = new Map<string, bigint>();
  for (const { lineId, amountMinor } of invoice.creditNotes.flatMap((note) => note.lines))
    credited.set(lineId, (credited.get(lineId) ?? 0n) + amountMinor);
  const creditedMinor = [...credited.values()].reduce((all, amountMinor) => all + amountMinor, 0n);
  const byLine = invoice.lines.map(({ id, amountMinor, discountMinor }) => {
    const netMinor = amountMinor - discountMinor - (credited.get(id) ?? 0n);
    return [id, netMinor > 0n ? netMinor : 0n] as const;
  });
  return { creditedMinor, minor: netOf(invoice) - creditedMinor, byLine: new Map(byLine) };
}

/** What the lines come to after discounts: the total without the taxes that came on top. */
const netOf = ({ totalMinor, taxes }: CreditableInvoice): bigint =>
  totalMinor - sum(taxes.filter((tax) => !tax.inclusive));

/** Line after line, until the invoice is used up: a line below zero has taken its part of the others. */
function takeEverything(left: Left): LineCredit[] {
  let remaining = left.minor;
  return [...left.byLine].flatMap(([lineId, ofLine]) => {
    const amountMinor = least(ofLine, remaining);
    remaining -= amountMinor;
    return amountMinor > 0n ? [{ lineId, amountMinor }] : [];
  });
}

function checkedLines(amounts: readonly LineCredit[], left: Left, { number, currency }: CreditableInvoice) {
  const shown = (minorUnits: bigint) => `${majorUnits({ minorUnits, currency })} ${currency}`;
  if (amounts.length === 0) throw invalid('lines is empty, expected at least one line, or none to credit all', 'lines');
  const seen = new Set<string>();
  for (const [i, { lineId, amountMinor }] of amounts.entries()) {
    const ofLine = left.byLine.get(lineId);
    if (ofLine === undefined) {
      throw invalid(`The line is not one of invoice ${number}, expected one of its lines`, 'lines', i, 'invoiceLineId');
    }
    if (seen.has(lineId)) throw invalid('The line stands twice, expected once', 'lines', i, 'invoiceLineId');
    seen.add(lineId);
    if (amountMinor <= 0n || amountMinor > ofLine) {
      const expected =
        ofLine > 0n
          ? `more than 0 and at most ${shown(ofLine)}, what is left of the line`
          : 'none: nothing is left of the line';
      throw invalid(`amount is ${shown(amountMinor)}, expected ${expected}`, 'lines', i, 'amount');
    }
  }
  if (sum(amounts) > left.minor) {
    throw invalid(
      `The lines sum to ${shown(sum(amounts))}, expected at most ${shown(left.minor)}, what is left of invoice ${number}`,
      'lines',
    );
  }
  return amounts;
}

/** Of each rate: its share of all that is then credited, less what earlier notes gave back. */
function taxesOf(invoice: CreditableInvoice, creditedMinor: bigint): CreditNoteDecision['taxes'] {
  const netMinor = netOf(invoice);
  return invoice.taxes.map((tax, i) => {
    const rest = (of: 'taxableMinor' | 'amountMinor'): bigint => {
      const given = invoice.creditNotes.reduce((all, note) => all + (note.taxes[i]?.[of] ?? 0n), 0n);
      const share = (2n * tax[of] * creditedMinor + netMinor) / (2n * netMinor); // HALF_UP
      // Below zero only after a note was voided, when those that stay were the ones that rounded up.
      return share > given ? share - given : 0n;
    };
    return { taxableMinor: rest('taxableMinor'), amountMinor: rest('amountMinor') };
  });
}

function checkPaid(invoice: CreditableInvoice, totalMinor: bigint): void {
  const { number, currency } = invoice;
  const creditedMinor = invoice.creditNotes.reduce((credited, note) => credited + note.totalMinor, 0n);
  const paidMinor = invoice.totalMinor - creditedMinor - invoice.amountDueMinor;
  if (totalMinor <= paidMinor) return;
  const [found, most] = [totalMinor, paidMinor].map((minorUnits) => majorUnits({ minorUnits, currency }));
  throw new BillingError(
    'ILLEGAL_STATE',
    `A refund of ${found} ${currency} is more than what was paid of invoice ${number}: expected at most ${most} ${currency}, or the kind CREDIT`,
    { field: ['kind'] },
  );
}

function partsOf(invoice: CreditableInvoice, kind: 'CREDIT' | 'REFUND', totalMinor: bigint) {
  const appliedToInvoiceMinor = least(invoice.amountDueMinor, totalMinor);
  let remaining = totalMinor - appliedToInvoiceMinor;
  const take = (upToMinor: bigint): bigint => {
    const taken = least(upToMinor, remaining);
    remaining -= taken;
    return taken;
  };
  const refunds = (kind === 'REFUND' ? invoice.payments : [])
    .map(({ id, refundableMinor }) => ({ paymentId: id, amountMinor: take(refundableMinor) }))
    .filter(({ amountMinor }) => amountMinor > 0n);
  const returnedToWalletMinor = kind === 'REFUND' ? take(invoice.walletReturnableMinor) : 0n;
  return {
    appliedToInvoiceMinor,
    refunds,
    refundedMinor: sum(refunds),
    returnedToWalletMinor,
    balanceMinor: remaining,
  };
}

const sum = (parts: readonly { readonly amountMinor: bigint }[]): bigint =>
  parts.reduce((all, { amountMinor }) => all + amountMinor, 0n);

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
