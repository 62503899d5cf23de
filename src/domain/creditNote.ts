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

export interface CreditableLine {
  readonly id: string;
  readonly amountMinor: bigint;
  readonly discountMinor: bigint;
  /** What other lines of the same invoice take back of it. */
  readonly takenBackMinor?: bigint;
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
  /** What it charges at its own rates: lines, and the taxes on them. What it credits at other rates has paid a part of that. */
  readonly taxes: readonly TaxAmount[];
  readonly lines: readonly CreditableLine[];
  readonly creditNotes: readonly EarlierNote[];
  /** What later invoices have given back of its lines. */
  readonly creditedLater?: readonly LineCredit[];
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
  restTo = kind === 'REFUND' ? 'what paid' : 'balance',
}: {
  invoice: CreditableInvoice;
  kind: 'CREDIT' | 'REFUND';
  amounts: readonly LineCredit[] | 'everything';
  /** Where goes what is more than is due; `'wallet'`: what the wallet had paid, and what is left after that is balance. */
  restTo?: 'what paid' | 'wallet' | 'balance';
}): CreditNoteDecision {
  checkCreditable(invoice);
  const left = leftOf(invoice);
  const lines = amounts === 'everything' ? takeEverything(invoice, left) : checkedLines(amounts, invoice, left);
  const note = noteOver(invoice, left, lines);
  if (kind === 'REFUND') checkPaid(invoice, note.totalMinor);
  return { ...note, ...partsOf(invoice, restTo, note.totalMinor) };
}

/** The most that a note could take of this line, in minor units; 0 for an invoice that has nothing left. */
export function mostOfLine(invoice: CreditableInvoice, lineId: string): bigint {
  const left = leftOf(invoice);
  const mostMinor = least(left.byLine.get(lineId) ?? 0n, mostMinorOf(invoice, left));
  return mostMinor > 0n ? mostMinor : 0n;
}

/** What the note takes back with its tax; never more than the invoice comes to, less what was given back of it. */
function noteOver(invoice: CreditableInvoice, left: Left, lines: readonly LineCredit[]) {
  const subtotalMinor = sum(lines);
  const taxes = taxesOf(invoice, left, subtotalMinor).map((tax) => ({ ...tax }));
  const onTop = taxes.filter((_, i) => !invoice.taxes[i]!.inclusive);
  // Tax was rounded on the charges alone: by that it may pass, by a cent, what credits at other rates have left to pay of them.
  let overMinor = subtotalMinor + sum(onTop) - left.totalMinor;
  for (const tax of overMinor > 0n ? onTop : []) {
    const lessMinor = least(tax.amountMinor, overMinor);
    tax.amountMinor -= lessMinor;
    overMinor -= lessMinor;
  }
  return { lines, subtotalMinor, taxes, taxMinor: sum(taxes), totalMinor: subtotalMinor + sum(onTop) };
}

function checkCreditable(invoice: CreditableInvoice): void {
  const { number, status } = invoice;
  if (status === 'DRAFT' || status === 'VOID') {
    throw new BillingError('ILLEGAL_STATE', `Invoice ${number} is ${status}, expected OPEN, PAID or UNCOLLECTIBLE`, {
      field: ['invoiceId'],
    });
  }
  if (leftOf(invoice).totalMinor <= 0n) {
    throw new BillingError('ILLEGAL_STATE', `Nothing is left of invoice ${number} to credit, expected some amount`, {
      field: ['invoiceId'],
    });
  }
}

/** What nothing has given back yet: of each line, and of all of them together, where lines below zero count as well. */
interface Left {
  /** Of its lines: what notes took back, and what later invoices did. */
  readonly notedMinor: bigint;
  readonly laterMinor: bigint;
  readonly minor: bigint;
  /** With its taxes, and less what the invoice itself credits at other rates. */
  readonly totalMinor: bigint;
  readonly byLine: ReadonlyMap<string, bigint>;
}

function leftOf(invoice: CreditableInvoice): Left {
  const { creditNotes, creditedLater = [], lines } = invoice;
  const credited = new Map<string, bigint>();
  for (const { lineId, amountMinor } of [...creditNotes.flatMap((note) => note.lines), ...creditedLater])
    credited.set(lineId, (credited.get(lineId) ?? 0n) + amountMinor);
  const notedMinor = creditNotes.reduce((all, note) => all + sum(note.lines), 0n);
  const laterMinor = sum(creditedLater);
  const byLine = lines.map(({ id, amountMinor, discountMinor, takenBackMinor = 0n }) => {
    const netMinor = amountMinor - discountMinor - takenBackMinor - (credited.get(id) ?? 0n);
    return [id, netMinor > 0n ? netMinor : 0n] as const;
  });
  const notedTotalMinor = creditNotes.reduce((all, note) => all + note.totalMinor, 0n);
  const laterTaxes = invoice.taxes.map((tax) => ({ amountMinor: shareOf(invoice, tax.amountMinor, laterMinor) }));
  return {
    notedMinor,
    laterMinor,
    minor: netOf(invoice) - notedMinor - laterMinor,
    totalMinor: invoice.totalMinor - notedTotalMinor - laterMinor - onTopMinor(invoice, laterTaxes),
    byLine: new Map(byLine),
  };
}

/** What the lines come to after discounts. */
const netOf = ({ lines }: CreditableInvoice): bigint =>
  lines.reduce((all, { amountMinor, discountMinor }) => all + amountMinor - discountMinor, 0n);

/** Line after line, until the invoice is used up: a line below zero has taken its part of the others. */
function takeEverything(invoice: CreditableInvoice, left: Left): LineCredit[] {
  let remaining = mostMinorOf(invoice, left);
  return [...left.byLine].flatMap(([lineId, ofLine]) => {
    const amountMinor = least(ofLine, remaining);
    remaining -= amountMinor;
    return amountMinor > 0n ? [{ lineId, amountMinor }] : [];
  });
}

/**
 * The most that a note can take of all lines together: the least amount that comes, with its tax, to all that is left. Where
 * credits at other rates have paid a part, that is less than the lines have left.
 */
function mostMinorOf(invoice: CreditableInvoice, left: Left): bigint {
  if (netOf(invoice) + onTopMinor(invoice, invoice.taxes) === invoice.totalMinor) return left.minor;
  const isAll = (minor: bigint) => minor + onTopMinor(invoice, taxesOf(invoice, left, minor)) >= left.totalMinor;
  let [from, to] = [0n, left.minor];
  while (from < to) {
    const middle = (from + to) / 2n;
    if (isAll(middle)) to = middle;
    else from = middle + 1n;
  }
  return to;
}

/** Of taxes in the order of the invoice's: those that come on top of the prices. */
const onTopMinor = (invoice: CreditableInvoice, taxes: readonly Pick<TaxAmount, 'amountMinor'>[]): bigint =>
  sum(taxes.filter((_, i) => !invoice.taxes[i]!.inclusive));

function checkedLines(amounts: readonly LineCredit[], invoice: CreditableInvoice, left: Left) {
  const { number, currency } = invoice;
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
  const mostMinor = mostMinorOf(invoice, left);
  if (sum(amounts) > mostMinor) {
    throw invalid(
      `The lines sum to ${shown(sum(amounts))}, expected at most ${shown(mostMinor)}, what is left of invoice ${number}`,
      'lines',
    );
  }
  return amounts;
}

/** Of each rate: its share of all that is then given back, less what notes and later invoices gave back before. */
function taxesOf(invoice: CreditableInvoice, left: Left, subtotalMinor: bigint): CreditNoteDecision['taxes'] {
  return invoice.taxes.map((tax, i) => {
    const rest = (of: 'taxableMinor' | 'amountMinor'): bigint => {
      const noted = invoice.creditNotes.reduce((all, note) => all + (note.taxes[i]?.[of] ?? 0n), 0n);
      const given = noted + shareOf(invoice, tax[of], left.laterMinor);
      const share = shareOf(invoice, tax[of], left.notedMinor + left.laterMinor + subtotalMinor);
      // Below zero only after a note was voided, when those that stay were the ones that rounded up.
      return share > given ? share - given : 0n;
    };
    return { taxableMinor: rest('taxableMinor'), amountMinor: rest('amountMinor') };
  });
}

/** HALF_UP. */
function shareOf(invoice: CreditableInvoice, wholeMinor: bigint, partMinor: bigint): bigint {
  const netMinor = netOf(invoice);
  return netMinor <= 0n ? 0n : (2n * wholeMinor * partMinor + netMinor) / (2n * netMinor);
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

function partsOf(invoice: CreditableInvoice, restTo: 'what paid' | 'wallet' | 'balance', totalMinor: bigint) {
  const appliedToInvoiceMinor = least(invoice.amountDueMinor, totalMinor);
  let remaining = totalMinor - appliedToInvoiceMinor;
  const take = (upToMinor: bigint): bigint => {
    const taken = least(upToMinor, remaining);
    remaining -= taken;
    return taken;
  };
  const refunds = (restTo === 'what paid' ? invoice.payments : [])
    .map(({ id, refundableMinor }) => ({ paymentId: id, amountMinor: take(refundableMinor) }))
    .filter(({ amountMinor }) => amountMinor > 0n);
  const returnedToWalletMinor = restTo === 'balance' ? 0n : take(invoice.walletReturnableMinor);
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
