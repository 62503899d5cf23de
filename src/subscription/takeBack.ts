import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import type { ExplanationStep } from '../domain/rating.js';
import type { DraftInvoice } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { quoteTakeOff, type TakeOff, takeOff } from '../invoice/takeOff.js';
import type { Tx } from '../platform/db.js';
import type { PeriodFee } from './paidFee.js';

/**
 * What is unused of a fee that is not paid yet: it is taken off the invoice that bills it. In the form of a column, because a
 * change that waits for its payment does so only when it takes effect.
 */
export interface TakeBack {
  readonly invoiceId: string;
  readonly lineId: string;
  readonly ofDraft: boolean;
  readonly planCode: string | null;
  readonly description: string;
  readonly periodStart: string;
  readonly periodEnd: string;
  readonly quantity: string;
  /** Below zero. */
  readonly amountMinor: string;
  readonly explanation: ExplanationStep[];
}

/** What of credits is a line of the new invoice, and what belongs on the invoices that are not paid yet. Pure. */
export function dividedCredits(credits: readonly { fee: PeriodFee; line: LineDraft }[]): {
  credit: LineDraft[];
  takesBack: TakeBack[];
} {
  const { paid = [], unpaid = [] } = Object.groupBy(credits, ({ fee }) => (fee.status === 'PAID' ? 'paid' : 'unpaid'));
  const takesBack = unpaid.map(({ fee: { invoiceId, lineId, status }, line }) => ({
    invoiceId,
    lineId,
    ofDraft: status === 'DRAFT',
    planCode: line.planCode ?? null,
    description: line.description,
    periodStart: line.period!.start.toISOString(),
    periodEnd: line.period!.end.toISOString(),
    quantity: line.quantity.toFixed(),
    amountMinor: line.amountMinor.toString(),
    explanation: line.explanation,
  }));
  return { credit: paid.map(({ line }) => line), takesBack };
}

/** Takes back what is unused of unpaid fees. */
export async function takeBack(tx: Tx, takesBack: readonly TakeBack[]): Promise<void> {
  for (const one of takesBack) await takeOff(tx, takeOffOf(one));
}

/** What that leaves of the unpaid invoice (there is one for a period), and what it gives back of what had paid it. */
export async function quoteTakeBack(
  em: EntityManager,
  accountId: string,
  takesBack: readonly TakeBack[],
): Promise<{ unpaidInvoice: DraftInvoice | null; returnedToWalletMinor: bigint; balanceMinor: bigint }> {
  const [one, more] = takesBack;
  if (more) throw new Error(`Unpaid fees of one period stand on ${takesBack.length} lines, expected one`);
  const taken = one && (await quoteTakeOff(em, accountId, takeOffOf(one)));
  return {
    unpaidInvoice: taken?.invoice ?? null,
    returnedToWalletMinor: taken?.returnedToWalletMinor ?? 0n,
    balanceMinor: taken?.balanceMinor ?? 0n,
  };
}

const takeOffOf = ({ invoiceId, lineId, ofDraft, ...line }: TakeBack): TakeOff => ({
  invoiceId,
  ofDraft,
  line: {
    kind: 'proration_credit',
    planCode: line.planCode ?? undefined,
    credits: { lineId, taxRates: null },
    description: line.description,
    period: { start: new Date(line.periodStart), end: new Date(line.periodEnd) },
    quantity: new Decimal(line.quantity),
    unitAmount: null,
    amountMinor: BigInt(line.amountMinor),
    proration: true,
    explanation: line.explanation,
  },
});
