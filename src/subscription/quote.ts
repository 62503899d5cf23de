import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError, invalid } from '../domain/errors.js';
import { type BillingContext, billingContext, contextWithout } from '../invoice/billingContext.js';
import { contextAfter, decideInvoice } from '../invoice/decideInvoice.js';
import { Invoice } from '../invoice/invoice.entity.js';
import { type DraftInvoice, draftView } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { newId } from '../platform/ids.js';
import { serverSecret } from '../platform/serverSecret.js';

/** How long a previewed price holds. */
export const quoteValidMs = 15 * 60_000;

export type QuotedOperation = 'subscribe' | 'changePlan' | 'cancelSubscription';

/** What was previewed. The change decides as of `at` and must come to the same `fingerprint`. */
export interface Quote {
  readonly operation: QuotedOperation;
  readonly accountId: string;
  /** Hash of the input, without idempotency key and token. */
  readonly inputHash: string;
  readonly at: Date;
  /** Hash of everything the customer was shown. */
  readonly fingerprint: string;
}

/** What a change charges and credits, in minor units. */
export interface QuotedAmounts {
  dueNowMinor: bigint;
  creditMinor: bigint;
  /** The invoice it would issue; null when there is nothing to invoice. */
  invoice: DraftInvoice | null;
  /** What the invoice after that one will depend on. */
  after: BillingContext;
}

/**
 * Decides the invoice over these lines as issuing it would. `replaces` is an unpaid invoice that the change voids: what it
 * took of credit, wallet, coupons and waiting items is there again.
 */
export async function quotedAmounts(
  em: EntityManager,
  {
    accountId,
    lines,
    replaces,
    reason = 'subscription_change',
  }: {
    accountId: string;
    currency: string;
    lines: readonly LineDraft[];
    replaces?: string | null | undefined;
    /** Why it would be issued; a period's invoice uses up coupons. */
    reason?: Invoice['reason'];
  },
): Promise<QuotedAmounts> {
  const replaced = replaces == null ? null : await em.findOne(Invoice, { accountId, id: replaces, status: 'OPEN' });
  const context = replaced ? await contextWithout(em, replaced) : await billingContext(em, accountId);
  if (lines.length === 0) return { dueNowMinor: 0n, creditMinor: 0n, invoice: null, after: context };
  const draft = { id: newId(), reason, subscriptionId: null, period: null, lines };
  const decided = decideInvoice(draft, context, new Date(0));
  return {
    dueNowMinor: decided.bill.amountDueMinor,
    creditMinor: decided.bill.creditToWalletMinor,
    invoice: draftView(decided),
    after: contextAfter(context, decided),
  };
}

/** One number for "the customer was shown exactly this". */
export function fingerprintOf(of: {
  /** The version of the plan that follows; null when none does. */
  planId: string | null;
  subscriptionVersion: number;
  effective: string;
  lines: readonly LineDraft[];
  amounts: Pick<QuotedAmounts, 'dueNowMinor' | 'creditMinor'>;
}): string {
  const shown = [
    of.planId,
    of.subscriptionVersion,
    of.effective,
    of.lines.map((line) => [
      line.description,
      line.amountMinor.toString(),
      line.period?.start.getTime(),
      line.period?.end.getTime(),
    ]),
    of.amounts.dueNowMinor.toString(),
    of.amounts.creditMinor.toString(),
  ];
  return createHash('sha256').update(JSON.stringify(shown)).digest('base64url');
}

/** Of a flat input; whoever builds it may name its fields in any order. */
export const inputHashOf = (input: object): string =>
  createHash('sha256')
    .update(JSON.stringify(input, Object.keys(input).sort()))
    .digest('base64url');

/** The quote as a token only this product can have made. */
export async function sealQuote(em: EntityManager, quote: Quote): Promise<string> {
  const body = Buffer.from(JSON.stringify({ ...quote, at: quote.at.getTime() })).toString('base64url');
  return `${body}.${await signature(em, body)}`;
}

/**
 * Opens a preview token for this very operation and input. STALE_PREVIEW when it is over 15 minutes old or was made for
 * another input; INVALID when it is no token of ours.
 */
export async function openQuote(
  em: EntityManager,
  token: string | null | undefined,
  expected: Pick<Quote, 'operation' | 'accountId' | 'inputHash'> & { now: Date },
): Promise<Quote | undefined> {
  if (token == null) return undefined;
  const [body = '', sealed = ''] = token.split('.');
  const valid = Buffer.from(await signature(em, body));
  const given = Buffer.from(sealed);
  if (valid.length !== given.length || !timingSafeEqual(valid, given))
    throw invalid('previewToken is not a token of a preview', 'previewToken');
  const parsed = JSON.parse(Buffer.from(body, 'base64url').toString()) as Omit<Quote, 'at'> & { at: number };
  const quote: Quote = { ...parsed, at: new Date(parsed.at) };
  const same =
    quote.operation === expected.operation &&
    quote.accountId === expected.accountId &&
    quote.inputHash === expected.inputHash;
  if (!same) throw stale('The preview was made for another input');
  if (expected.now.getTime() - quote.at.getTime() > quoteValidMs) throw stale('The preview is older than 15 minutes');
  return quote;
}

/** Refuses to charge anything else than what was previewed. */
export function checkQuote(quote: Quote | undefined, fingerprint: string): void {
  if (quote && quote.fingerprint !== fingerprint)
    throw stale('What the change costs is no longer what the preview showed');
}

const stale = (message: string): BillingError =>
  new BillingError('STALE_PREVIEW', `${message}: preview again`, { field: ['previewToken'] });

async function signature(em: EntityManager, body: string): Promise<string> {
  return createHmac('sha256', await serverSecret(em, 'preview'))
    .update(body)
    .digest('base64url');
}
