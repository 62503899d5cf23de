import type { GrantKind } from './grants.js';

/**
 * What an account's ledger keeps balances of. `wallet` is prepaid credit the customer may spend; `receivable` goes
 * below zero by what the customer owes; `revenue` and `tax` are what was invoiced; `provider_clearing` goes below zero
 * by what the card processor collected for us; `granted_credit` below zero by what we gave away; `customer_credit` is what
 * credit notes left for later invoices, `refunds_payable` what is on its way back to a card.
 */
export type LedgerAccountKind =
  | 'wallet'
  | 'receivable'
  | 'revenue'
  | 'provider_clearing'
  | 'granted_credit'
  | 'tax'
  | 'customer_credit'
  | 'refunds_payable';

/** One leg of a movement. Positive credits the ledger account (its balance grows), negative debits it. */
export interface Posting {
  readonly account: LedgerAccountKind;
  readonly amountMinor: bigint;
}

/** Throws an `Error`, as a broken invariant must not be booked, unless there are two postings or more that sum to zero. */
export function assertBalanced(postings: readonly Posting[], currency: string): void {
  const listed = () => postings.map(({ account, amountMinor }) => `${account} ${amountMinor}`).join(', ');
  if (postings.length < 2) throw new Error(`A ledger movement in ${currency} needs two postings, found [${listed()}]`);
  if (postings.some(({ amountMinor }) => amountMinor === 0n)) {
    throw new Error(`A ledger movement in ${currency} has a posting of zero: [${listed()}]`);
  }
  const sum = postings.reduce((total, { amountMinor }) => total + amountMinor, 0n);
  if (sum !== 0n) throw new Error(`A ledger movement in ${currency} sums to ${sum}, expected 0: [${listed()}]`);
}

/** Moves a positive amount; any other is a caller that forgot to ask whether there is something to move. */
function move({ from, to, amountMinor }: { from: LedgerAccountKind; to: LedgerAccountKind; amountMinor: bigint }) {
  if (amountMinor <= 0n)
    throw new Error(`A movement from ${from} to ${to} needs a positive amount, found ${amountMinor}`);
  const postings: Posting[] = [
    { account: to, amountMinor },
    { account: from, amountMinor: -amountMinor },
  ];
  return postings;
}

/** What a credit note takes back of an invoice, and where it goes; see decideCreditNote. */
interface CreditNoteAmounts {
  totalMinor: bigint;
  taxMinor: bigint;
  appliedToInvoiceMinor: bigint;
  refundedMinor: bigint;
  returnedToWalletMinor: bigint;
  balanceMinor: bigint;
}

interface LateRefund {
  fromCreditMinor: bigint;
  givenMinor: bigint;
  credit?: 'customer_credit' | 'wallet';
}

interface InvoiceAmounts {
  totalMinor: bigint;
  taxMinor: bigint;
}

/**
 * `sign` 1n books the invoice, -1n takes it back. One that credits at other rates than it charges can have a tax below zero, or
 * above its total.
 */
function invoicePostings({ totalMinor, taxMinor }: InvoiceAmounts, sign: 1n | -1n): Posting[] {
  const postings: Posting[] = [
    { account: 'receivable', amountMinor: -totalMinor * sign },
    { account: 'revenue', amountMinor: (totalMinor - taxMinor) * sign },
    { account: 'tax', amountMinor: taxMinor * sign },
  ];
  return postings.filter(({ amountMinor }) => amountMinor !== 0n);
}

function assertContainsTax<Amounts extends InvoiceAmounts>(note: Amounts): Amounts {
  const { totalMinor, taxMinor } = note;
  if (taxMinor >= 0n && taxMinor <= totalMinor) return note;
  throw new Error(`A credit note over ${totalMinor} can't contain a tax of ${taxMinor}`);
}

/** The movements there are, in minor units of one currency. Each is balanced; an invoice over 0 moves nothing (`[]`). */
export const movements = {
  topUp: (amountMinor: bigint): Posting[] => move({ from: 'provider_clearing', to: 'wallet', amountMinor }),
  /**
   * Credit that cost the customer nothing; `taxMinor` of it gives back the tax that was paid on what is credited, below zero where
   * more is charged. Where it gives back more tax than it comes to, the rest of that tax pays for what was sold.
   */
  grantCredit: (amountMinor: bigint, taxMinor = 0n): Posting[] => {
    const [credited] = move({ from: 'granted_credit', to: 'wallet', amountMinor });
    const postings: Posting[] = [
      credited!,
      { account: taxMinor > amountMinor ? 'revenue' : 'granted_credit', amountMinor: taxMinor - amountMinor },
      { account: 'tax', amountMinor: -taxMinor },
    ];
    return postings.filter((posting) => posting.amountMinor !== 0n);
  },
  issueInvoice: (amounts: InvoiceAmounts): Posting[] => invoicePostings(amounts, 1n),
  /** Voids an issued invoice: the reverse of `issueInvoice`, as postings are never deleted. */
  cancelInvoice: (amounts: InvoiceAmounts): Posting[] => invoicePostings(amounts, -1n),
  payByProvider: (amountMinor: bigint): Posting[] => move({ from: 'provider_clearing', to: 'receivable', amountMinor }),
  payByWallet: (amountMinor: bigint): Posting[] => move({ from: 'wallet', to: 'receivable', amountMinor }),
  /** Gives back what `payByWallet` took, when the invoice is voided. */
  returnToWallet: (amountMinor: bigint): Posting[] => move({ from: 'receivable', to: 'wallet', amountMinor }),
  /** What a credit note takes back lowers what is owed, goes to the wallet, becomes credit, or waits to go back to a card. */
  issueCreditNote: (note: CreditNoteAmounts): Posting[] =>
    [
      ...invoicePostings(assertContainsTax(note), -1n).filter(({ account }) => account !== 'receivable'),
      { account: 'receivable' as const, amountMinor: note.appliedToInvoiceMinor },
      { account: 'refunds_payable' as const, amountMinor: note.refundedMinor },
      { account: 'wallet' as const, amountMinor: note.returnedToWalletMinor },
      { account: 'customer_credit' as const, amountMinor: note.balanceMinor },
    ].filter(({ amountMinor }) => amountMinor !== 0n),
  /** Voids a credit note, all of which is still credit. */
  cancelCreditNote: (amounts: InvoiceAmounts): Posting[] =>
    invoicePostings(amounts, 1n).map((posting) =>
      posting.account === 'receivable' ? { ...posting, account: 'customer_credit' as const } : posting,
    ),
  payByCredit: (amountMinor: bigint): Posting[] => move({ from: 'customer_credit', to: 'receivable', amountMinor }),
  /** Gives back what `payByCredit` took, when the invoice is voided. */
  returnCredit: (amountMinor: bigint): Posting[] => move({ from: 'receivable', to: 'customer_credit', amountMinor }),
  refund: (amountMinor: bigint): Posting[] => move({ from: 'refunds_payable', to: 'provider_clearing', amountMinor }),
  /** Money that can't go back to its card is the customer's credit. */
  failRefund: (amountMinor: bigint): Posting[] => move({ from: 'refunds_payable', to: 'customer_credit', amountMinor }),
  /** Work that was done for held credit: it is earned. */
  captureHold: (amountMinor: bigint): Posting[] => move({ from: 'wallet', to: 'revenue', amountMinor }),
  /** Credit that nobody used in time: what was given is not given after all, what was bought is earned without work (breakage). */
  expireCredit: (amountMinor: bigint, kind: GrantKind): Posting[] =>
    move({ from: 'wallet', to: kind === 'granted' ? 'granted_credit' : 'revenue', amountMinor }),
  /** Credit that is to go back to the card that bought it. */
  refundTopUp: (amountMinor: bigint): Posting[] => move({ from: 'wallet', to: 'refunds_payable', amountMinor }),
  /** What can't go back to its card is credit again. */
  failTopUpRefund: (amountMinor: bigint): Posting[] => move({ from: 'refunds_payable', to: 'wallet', amountMinor }),
  /**
   * A refund that had become credit went through after all: the credit is taken back as far as it is there; what was spent of it
   * we have given away. `credit`: the wallet, where it was a top-up.
   */
  refundLate: ({ fromCreditMinor, givenMinor, credit = 'customer_credit' }: LateRefund): Posting[] =>
    [
      { account: 'provider_clearing' as const, amountMinor: fromCreditMinor + givenMinor },
      { account: credit, amountMinor: -fromCreditMinor },
      { account: 'granted_credit' as const, amountMinor: -givenMinor },
    ].filter(({ amountMinor }) => amountMinor !== 0n),
  /** The bank has sent a refund back: the opposite of a late one. */
  returnRefund: (parts: LateRefund): Posting[] =>
    movements.refundLate(parts).map((posting) => ({ ...posting, amountMinor: -posting.amountMinor })),
};
