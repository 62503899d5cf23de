import { createHmac, timingSafeEqual } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError, invalid } from '../domain/errors.js';
import { hashOf } from './idempotency.js';
import { serverSecret } from './serverSecret.js';

// The token of a preview: what was shown, sealed, so that the mutation does exactly that or nothing.

/** How long a previewed price holds. */
export const quoteValidMs = 15 * 60_000;

/** What was previewed. The change decides as of `at` and must come to the same `fingerprint`. */
export interface Quote {
  /** The mutation that was previewed. */
  readonly operation: string;
  readonly accountId: string;
  /** Hash of the input, without idempotency key and token. */
  readonly inputHash: string;
  readonly at: Date;
  /** Hash of everything the customer was shown. */
  readonly fingerprint: string;
}

/** Hash of what a preview is bound to: the command without key and token, whatever the order of its fields. */
export const inputHashOf = (command: object): string =>
  hashOf({ ...command, idempotencyKey: undefined, previewToken: undefined });

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
