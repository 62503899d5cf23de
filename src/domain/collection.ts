const dayMs = 86_400_000;

/** Days after the first attempt at which a failed payment is tried again, ascending; none: the first failure is the last. */
export type RetrySchedule = readonly number[];

export type DeclineClass = 'hard' | 'soft';

/**
 * Declines that no retry of the same payment method can turn: the codes Stripe Billing doesn't retry
 * (docs.stripe.com/billing/revenue-recovery/smart-retries#non-retryable-decline-codes), others that say the card is no
 * longer or never was good for this (docs.stripe.com/declines/codes), and our own `no_payment_method`.
 */
const hardDeclineCodes: ReadonlySet<string> = new Set([
  'authentication_required',
  'card_not_supported',
  'currency_not_supported',
  'do_not_try_again',
  'expired_card',
  'highest_risk_level',
  'incorrect_number',
  'invalid_account',
  'invalid_number',
  'lost_card',
  'no_payment_method',
  'pickup_card',
  'restricted_card',
  'revocation_of_all_authorizations',
  'revocation_of_authorization',
  'stolen_card',
  'stop_payment_order',
  'transaction_not_allowed',
]);

/** An unknown code is soft: a needless retry costs less than a payment never tried again. */
export const classifyDecline = (declineCode: string): DeclineClass =>
  hardDeclineCodes.has(declineCode) ? 'hard' : 'soft';

/**
 * What follows after `attempts` failed attempts (1 or more), the last with `declineCode`. Offsets count from the first
 * attempt, in days of 24 h. A hard decline waits for a new payment method instead; its attempts count all the same, so
 * that no invoice is tried more often than the schedule says.
 */
export function nextPaymentAttemptAt({
  attempts,
  firstAttemptAt,
  declineCode,
  retryAfterDays,
}: {
  attempts: number;
  firstAttemptAt: Date;
  declineCode: string;
  retryAfterDays: RetrySchedule;
}): { at: Date } | { waitFor: 'payment_method' } | { exhausted: true } {
  const afterDays = retryAfterDays[attempts - 1];
  if (afterDays === undefined) return { exhausted: true };
  if (classifyDecline(declineCode) === 'hard') return { waitFor: 'payment_method' };
  return { at: new Date(firstAttemptAt.getTime() + afterDays * dayMs) };
}

/** When the schedule ends: the last attempt, whatever became of those before. Without a retry the first is the last. */
export const lastPaymentAttemptAt = (firstAttemptAt: Date, retryAfterDays: RetrySchedule): Date =>
  new Date(firstAttemptAt.getTime() + Math.max(0, ...retryAfterDays) * dayMs);
