/**
 * What can go wrong, as the caller sees it. The first group is what the caller can act on (`userErrors` of a GraphQL
 * payload, 4xx in REST); the second belongs to the doors: it never comes with a payload.
 */
export const userErrorCodes = [
  'INVALID',
  'NOT_FOUND',
  'CONFLICT',
  'ILLEGAL_STATE',
  'LIMIT_EXCEEDED',
  'PAYMENT_DECLINED',
  'REQUIRES_ACTION',
  'INSUFFICIENT_BALANCE',
  'IDEMPOTENCY_MISMATCH',
  'IDEMPOTENCY_IN_FLIGHT',
  'STALE_PREVIEW',
  'STALE_VERSION',
  'FORBIDDEN',
  'UNAVAILABLE',
] as const;
export const doorErrorCodes = ['UNAUTHENTICATED', 'RATE_LIMITED', 'TOO_LARGE', 'INTERNAL'] as const;

export type UserErrorCode = (typeof userErrorCodes)[number];
export type ErrorCode = UserErrorCode | (typeof doorErrorCodes)[number];

export interface ErrorDetails {
  /** Path of the input field at fault, e.g. `['amount', 'currency']`. */
  field?: readonly (string | number)[];
  /** The provider's decline code, e.g. `insufficient_funds`. */
  declineCode?: string;
  /** Would the same request, sent later, have a chance? */
  retryable?: boolean;
  retryAfterSeconds?: number;
  /** What a client needs to finish a 3-D Secure payment. */
  clientSecret?: string;
}

/** An expected failure. Its message says what was found and what was expected, and may be shown to the caller. */
export class BillingError extends Error {
  override readonly name = 'BillingError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message);
  }

  get retryable(): boolean {
    return (
      this.details.retryable ??
      (this.code === 'IDEMPOTENCY_IN_FLIGHT' || this.code === 'UNAVAILABLE' || this.code === 'RATE_LIMITED')
    );
  }
}

export const invalid = (message: string, ...field: (string | number)[]): BillingError =>
  new BillingError('INVALID', message, field.length > 0 ? { field } : {});

/** One answer for an unknown id, a malformed one, and one of another account: none may tell them apart. */
export const notFound = (what: string, id: string, ...field: string[]): BillingError =>
  new BillingError('NOT_FOUND', `No ${what} with id '${id.slice(0, 80)}'`, field.length > 0 ? { field } : {});
