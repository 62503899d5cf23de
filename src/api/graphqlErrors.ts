import type { GraphQLError, GraphQLFormattedError } from 'graphql';
import type { Logger } from '../platform/log.js';
import { billingErrorOf, doors } from './errors.js';

/** Codes that graphql-js and Apollo give to mistakes of the caller; their messages may be shown. */
const callerCodes: ReadonlySet<string> = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  'BAD_REQUEST',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
]);

/**
 * An error as callers see it, over HTTP and on sockets alike: always `extensions.code`, no suggestions, no stack, and for
 * anything unexpected only "Internal server error" with the request's id, under which the log has the rest.
 */
export function presentGraphQLError(
  error: GraphQLError,
  { requestId, log }: { requestId: string; log: Logger },
): GraphQLFormattedError {
  const where = {
    ...(error.locations ? { locations: error.locations } : {}),
    ...(error.path ? { path: error.path } : {}),
  };
  const code = error.extensions.code;
  if (code === 'INVALID' || code === 'BAD_USER_INPUT')
    return { message: withoutSuggestion(error.message), ...where, extensions: { code: 'INVALID' } };
  if (typeof code === 'string' && callerCodes.has(code)) {
    return { message: withoutSuggestion(error.message), ...where, extensions: { code } };
  }
  // graphql-js gives validation errors no code; what a resolver throws has an originalError.
  if (code === undefined && error.originalError === undefined) {
    return { message: withoutSuggestion(error.message), ...where, extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } };
  }
  const known = billingErrorOf(error, requestId);
  if (known.code === 'INTERNAL')
    log.error({ err: error.originalError ?? error, requestId, path: error.path }, 'request failed');
  const { field, retryAfterSeconds } = known.details;
  return {
    message: known.message,
    ...where,
    extensions: {
      code: known.code,
      ...(field ? { field: field.map(String) } : {}),
      ...(retryAfterSeconds ? { retryAfterSeconds } : {}),
      ...(known.code === 'INTERNAL' ? { requestId } : {}),
    },
  };
}

const withoutSuggestion = (message: string): string => message.replace(/ ?Did you mean .*$/s, '');

/** HTTP status of an answer without data, by its first error. */
export function httpStatusOf(errors: readonly GraphQLFormattedError[]): number {
  const code = String(errors[0]?.extensions?.code);
  if (code === 'INVALID' || callerCodes.has(code)) return 400;
  return code in doors ? doors[code as keyof typeof doors].http : 500;
}
