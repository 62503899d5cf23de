import type { FastifyReply, FastifyRequest } from 'fastify';
import { BillingError } from '../domain/errors.js';
import type { Deps } from '../platform/deps.js';
import { stringifyExact } from '../platform/exactJson.js';
import { billingErrorOf, doors } from './errors.js';

/** One thing wrong with a request, and where: a JSON pointer (RFC 6901) into the body, or a query parameter or header. */
export type Mistake = { detail: string } & ({ pointer: string } | { parameter: string } | { header: string });

/** Input that can be read but doesn't fit, with every mistake in it. */
export class InvalidRequest extends BillingError {
  constructor(readonly mistakes: readonly [Mistake, ...Mistake[]]) {
    const [{ detail, ...place }] = mistakes;
    const more = mistakes.length > 1 ? ` (and ${mistakes.length - 1} more)` : '';
    super('INVALID', `${Object.values(place).join('') || 'The body'}: ${detail}${more}`);
  }
}

/** What only HTTP can get wrong, and no use case ever hears of. */
const refusals = {
  MALFORMED: { http: 400, title: 'Malformed request' },
  METHOD_NOT_ALLOWED: { http: 405, title: 'Method not allowed' },
  UNSUPPORTED_MEDIA_TYPE: { http: 415, title: 'Unsupported media type' },
} as const;

export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';

  constructor(
    readonly code: keyof typeof refusals,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** What Fastify refuses by itself, in our words. An id longer than any of ours names nothing. */
const fastifyErrors: Readonly<Record<string, () => BillingError | HttpRefusal>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new BillingError('TOO_LARGE', 'The body is larger than this path takes'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new HttpRefusal('UNSUPPORTED_MEDIA_TYPE', 'Expected a body with Content-Type: application/json'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    new HttpRefusal('MALFORMED', 'The body is not as long as Content-Length says'),
  FST_ERR_BAD_URL: () => new HttpRefusal('MALFORMED', 'The path has a % that is not followed by two hex digits'),
  FST_ERR_MAX_PARAM_LENGTH: () => new BillingError('NOT_FOUND', 'Nothing has an id as long as that in the path'),
};

function causeOf(error: unknown, requestId: string): BillingError | HttpRefusal {
  if (error instanceof HttpRefusal) return error;
  const { code } = (error ?? {}) as { code?: unknown };
  return fastifyErrors[String(code)]?.() ?? billingErrorOf(error, requestId);
}

export interface ProblemContext {
  /** The members the body of this route can have; an error about another field gets no pointer. */
  members?: readonly string[];
  /** Further members of the problem, e.g. the object that was made although its payment was declined. */
  more?: object;
}

/**
 * Answers any thrown value as RFC 9457 problem details: `type`, `title`, `status`, `detail`, `code` (the same codes as in
 * GraphQL, and those of `refusals`), `request_id`, `errors` with places. Says nothing of an unexpected error, but logs it.
 */
export function sendProblem(
  { log }: Pick<Deps, 'log'>,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  error: unknown,
  { members = [], more = {} }: ProblemContext = {},
): void {
  const cause = causeOf(error, request.id);
  if (cause.code === 'INTERNAL') log.error({ err: error, requestId: request.id }, 'a REST request failed');
  const { http, title } = cause instanceof HttpRefusal ? refusals[cause.code] : doors[cause.code];
  const mistakes = cause instanceof BillingError ? mistakesOf(cause, members) : [];
  const body = {
    type: `urn:semaswift:billing:${cause.code}`,
    title,
    status: http,
    detail: cause.message,
    code: cause.code,
    request_id: request.id,
    ...(mistakes.length > 0 ? { errors: mistakes } : {}),
    ...(cause instanceof BillingError && cause.details.declineCode ? { decline_code: cause.details.declineCode } : {}),
    ...(cause instanceof BillingError && cause.details.clientSecret
      ? { client_secret: cause.details.clientSecret }
      : {}),
    ...more,
  };
  reply
    .code(http)
    .headers({ ...everyAnswer(request), ...headersOf(cause, http) })
    .type('application/problem+json')
    .send(stringifyExact(body));
}

/** What stands on every answer, whatever became of the request. */
export const everyAnswer = (request: FastifyRequest): Record<string, string> => ({
  'x-request-id': request.id,
  'cache-control': 'no-store',
});

function headersOf(cause: BillingError | HttpRefusal, http: number): Record<string, string> {
  if (cause instanceof HttpRefusal) return { ...cause.headers };
  const { retryAfterSeconds } = cause.details;
  return {
    ...(http === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(retryAfterSeconds !== undefined || http === 503 || http === 429
      ? { 'retry-after': String(Math.ceil(retryAfterSeconds ?? 5)) }
      : {}),
  };
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Turns the field of a use case, in GraphQL's names (`planCode`, `amount.currency`), into the place in a REST request. */
function mistakesOf(error: BillingError, members: readonly string[]): readonly Mistake[] {
  if (error instanceof InvalidRequest) return error.mistakes;
  const [field, part] = error.details.field ?? [];
  const detail = error.message;
  if (field === 'idempotencyKey') return [{ header: 'Idempotency-Key', detail }];
  if (field === 'billingAccount') return [{ header: 'Billing-Account', detail }];
  // An amount is a bare number here, and its currency stands beside it.
  const name = part === 'currency' && members.includes('currency') ? 'currency' : String(field);
  const member = name === 'planCode' ? 'plan_id' : snakeCase(name);
  if (!members.includes(member)) return [];
  return [{ pointer: typeof part === 'number' ? `/${member}/${part}` : `/${member}`, detail }];
}
