import { BillingError, type ErrorCode } from '../domain/errors.js';
import { isConnectionLost, sqlState } from '../platform/connectionLoss.js';

/** How each error code looks at each door. Total: a code that isn't mapped doesn't compile. */
export const doors: Record<ErrorCode, { http: number; title: string; closeCode: number }> = {
  INVALID: { http: 422, title: 'Invalid input', closeCode: 4400 },
  NOT_FOUND: { http: 404, title: 'Not found', closeCode: 4400 },
  CONFLICT: { http: 409, title: 'Conflict', closeCode: 4400 },
  ILLEGAL_STATE: { http: 409, title: 'Not possible in this state', closeCode: 4400 },
  LIMIT_EXCEEDED: { http: 422, title: 'Limit exceeded', closeCode: 4400 },
  PAYMENT_DECLINED: { http: 402, title: 'Payment declined', closeCode: 4400 },
  REQUIRES_ACTION: { http: 402, title: 'Payment needs confirmation', closeCode: 4400 },
  INSUFFICIENT_BALANCE: { http: 402, title: 'Insufficient balance', closeCode: 4400 },
  IDEMPOTENCY_MISMATCH: { http: 422, title: 'Idempotency key reused', closeCode: 4400 },
  IDEMPOTENCY_IN_FLIGHT: { http: 409, title: 'Request in flight', closeCode: 4400 },
  STALE_PREVIEW: { http: 409, title: 'Preview out of date', closeCode: 4400 },
  STALE_VERSION: { http: 409, title: 'Version out of date', closeCode: 4400 },
  FORBIDDEN: { http: 403, title: 'Forbidden', closeCode: 4403 },
  UNAVAILABLE: { http: 503, title: 'Temporarily unavailable', closeCode: 1013 },
  UNAUTHENTICATED: { http: 401, title: 'Unauthenticated', closeCode: 4401 },
  RATE_LIMITED: { http: 429, title: 'Too many requests', closeCode: 4429 },
  TOO_LARGE: { http: 413, title: 'Too large', closeCode: 1009 },
  INTERNAL: { http: 500, title: 'Internal server error', closeCode: 1011 },
};

/**
 * SQLSTATEs that say "not just now": connection, resources, operator intervention, a statement that took too long, and
 * conflicts with other transactions that all retries met again.
 */
const unavailableStates = /^(08|53|57P0|57014|55P03|40001|40P01)/;
const unavailableCodes: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ETIMEDOUT']);
/** What the driver says without a code when it got no connection, or no answer on one. */
const unavailableMessages = /timeout exceeded when trying to connect|^query read timeout/i;
/** A zero byte: JSON can carry it, PostgreSQL's `text` and `jsonb` can't. */
const unstorableStates: ReadonlySet<string> = new Set(['22021', '22P05']);

/**
 * What a caller is told of any thrown value. Expected errors speak for themselves; a database that is away is UNAVAILABLE;
 * all else is INTERNAL, without a word of what happened (the log has it, under the request id).
 */
export function billingErrorOf(error: unknown, requestId: string): BillingError {
  const root = rootCause(error);
  if (root instanceof BillingError) return root;
  const state = sqlState(root);
  const message = root instanceof Error ? root.message : '';
  const isUnavailable = state !== undefined && (unavailableStates.test(state) || unavailableCodes.has(state));
  if (isUnavailable || isConnectionLost(root) || unavailableMessages.test(message)) {
    return new BillingError('UNAVAILABLE', 'The service is temporarily unavailable: try again', {
      retryable: true,
      retryAfterSeconds: 5,
    });
  }
  if (state && unstorableStates.has(state))
    return new BillingError('INVALID', 'A text has a zero byte, which is not allowed');
  return new BillingError('INTERNAL', `Internal server error (request ${requestId})`);
}

/** GraphQL wraps what a resolver throws, and the ORM what the driver throws. */
function rootCause(error: unknown): unknown {
  let cause = error;
  for (let depth = 0; depth < 5; depth++) {
    const inner = (cause as { originalError?: unknown; cause?: unknown } | null | undefined)?.originalError;
    if (inner === undefined || inner === null) return cause;
    cause = inner;
  }
  return cause;
}
