import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import { fastifyApolloDrainPlugin, fastifyApolloHandler } from '@as-integrations/fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  OperationTypeNode,
  visit,
} from 'graphql';
import { operatorAccountId } from '../account/apiKeys.js';
import { BillingError } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import { type BatchScope, batchScope } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import type { Deps } from '../platform/deps.js';
import { actorOf } from './auth.js';
import { documentCost } from './cost.js';
import type { Documents } from './documents.js';
import { billingErrorOf, doors } from './errors.js';
import { httpStatusOf, presentGraphQLError } from './graphqlErrors.js';
import { documentLimits } from './limits.js';

declare module 'fastify' {
  interface FastifyRequest {
    billingActor?: Actor;
    graphqlCost?: number;
  }
}

/** Of a GraphQL request in general, and of one that only records usage. */
const maxBodyBytes = 100_000;
const maxUsageBodyBytes = 1_000_000;

/** A fresh context: for each HTTP request and for each event of a subscription. What reads nothing has no scope made for it. */
export function createContext(
  deps: Deps,
  { actor, requestId, cost }: { actor: Actor; requestId: string; cost?: number | undefined },
): Context {
  let scope: BatchScope | undefined;
  return {
    deps,
    actor,
    requestId,
    cost,
    get scope() {
      scope ??= batchScope(deps.db.orm.em.fork());
      return scope;
    },
  };
}

/** GraphQL over HTTP: token and limits are checked before Apollo sees the request, so that no refused document runs. */
export async function registerGraphQL(
  app: FastifyInstance,
  {
    deps,
    schema,
    documents,
    introspection,
  }: { deps: Deps; schema: GraphQLSchema; documents: Documents; introspection: boolean },
): Promise<ApolloServer<Context>> {
  const apollo = new ApolloServer<Context>({
    schema,
    introspection,
    csrfPrevention: true,
    hideSchemaDetailsFromClientErrors: true,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    // Wraps every field and costs 1.7 × of a request when it is on.
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      fastifyApolloDrainPlugin(app),
      errorPlugin(deps),
    ],
    logger: deps.log,
    formatError: (formatted) => formatted,
  });
  await apollo.start();
  app.route({
    method: 'POST',
    url: '/graphql',
    bodyLimit: maxUsageBodyBytes,
    errorHandler: (error, request, reply) => refuse(deps, { request, reply }, requestError(error)),
    // Before the body is read: nobody unknown makes us parse a megabyte.
    onRequest: async (request) => {
      request.billingActor = await actorOf(deps, {
        authorization: request.headers.authorization,
        billingAccount: request.headers['billing-account'] as string | undefined,
      });
    },
    preHandler: (request, reply) => admit({ deps, schema, documents }, request, reply),
    handler: fastifyApolloHandler(apollo, {
      context: async (request) =>
        createContext(deps, { actor: request.billingActor!, requestId: request.id, cost: request.graphqlCost }),
    }),
  });
  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url: '/graphql',
    handler: async (request, reply) =>
      reply
        .code(405)
        .header('allow', 'POST')
        .send({
          errors: [
            badRequest(`GraphQL is asked by POST, or by WebSocket on the same path, found ${request.method}`).toJSON(),
          ],
        }),
  });
  return apollo;
}

const badRequest = (message: string): GraphQLError =>
  new GraphQLError(message, { extensions: { code: 'BAD_REQUEST' } });

/** What Fastify throws before a handler runs: of a body that is too large, isn't JSON, or isn't said to be. */
function requestError(error: unknown): unknown {
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (statusCode === 413) return new BillingError('TOO_LARGE', `The body has more than ${maxUsageBodyBytes} bytes`);
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return badRequest('Expected a body with Content-Type: application/json');
  if (statusCode === 400) return badRequest('The body is not JSON, or not as long as Content-Length says');
  return error;
}

/** Answers an error that came before any operation ran: 4xx or 5xx by its code, in GraphQL's shape. */
function refuse(
  deps: Deps,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  error: unknown,
): FastifyReply {
  const known = error instanceof GraphQLError ? undefined : billingErrorOf(error, request.id);
  const shown = presentGraphQLError(
    error instanceof GraphQLError ? error : new GraphQLError(known!.message, { originalError: error as Error }),
    {
      requestId: request.id,
      log: deps.log,
    },
  );
  if (known?.code === 'UNAUTHENTICATED') reply.header('www-authenticate', 'Bearer');
  if (known?.details.retryAfterSeconds) reply.header('retry-after', known.details.retryAfterSeconds);
  return reply.code(known ? doors[known.code].http : 400).send({ errors: [shown] });
}

/** Answers what may not go on to Apollo: no single document, or one that asks for too much. */
async function admit(
  { deps, schema, documents }: { deps: Deps; schema: GraphQLSchema; documents: Documents },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  try {
    const body = request.body as { query?: unknown; operationName?: unknown; variables?: unknown } | null;
    if (Array.isArray(body)) throw badRequest('Send one operation a request: batching is off');
    if (typeof body?.query !== 'string') throw badRequest('The body needs a query: {"query": "…", "variables": {…}}');
    const document = documents.read(body.query);
    // A chunked body doesn't say its length beforehand.
    const bytes = Number(request.headers['content-length'] ?? Buffer.byteLength(JSON.stringify(body)));
    if (bytes > maxBodyBytes && !onlyRecordsUsage(document)) {
      throw new BillingError(
        'TOO_LARGE',
        `The body has ${bytes} bytes, at most ${maxBodyBytes} are allowed (${maxUsageBodyBytes} for recordUsage)`,
      );
    }
    request.graphqlCost = checkRequest(schema, document, { ...body, actor: request.billingActor! });
    const operation = getOperationAST(
      document,
      typeof body.operationName === 'string' ? body.operationName : undefined,
    );
    if (operation?.operation === OperationTypeNode.SUBSCRIPTION)
      throw badRequest('Subscriptions need a WebSocket: the same path, protocol graphql-transport-ws');
  } catch (error) {
    return refuse(deps, { request, reply }, error);
  }
}

/** Throws the first rule that a request breaks beside its document's own; returns its cost. The same for both doors of GraphQL. */
export function checkRequest(
  schema: GraphQLSchema,
  document: DocumentNode,
  { operationName, variables, actor }: { operationName?: unknown; variables?: unknown; actor: Actor },
): number {
  const usageOnly = onlyRecordsUsage(document);
  // `recordUsage` refuses such an event alone.
  if (!usageOnly && (hasZeroByte(variables) || literalsOf(document).some(hasZeroByte))) {
    throw new BillingError('INVALID', 'A text has a zero byte, which is not allowed');
  }
  // Usage events may each name their account; everything else is about one.
  if (!usageOnly && actor.accountId === operatorAccountId) {
    throw new BillingError(
      'INVALID',
      "An operator's token needs the account: header Billing-Account, or billingAccount in connection_init",
      {
        field: ['billingAccount'],
      },
    );
  }
  const name = typeof operationName === 'string' ? operationName : undefined;
  const cost = documentCost(schema, document, name, (variables ?? {}) as Record<string, unknown>);
  if (cost > documentLimits.maxCost) {
    throw new GraphQLError(
      `The request costs ${cost}, at most ${documentLimits.maxCost} are allowed: ask for fewer items (\`first\`) or levels`,
      {
        extensions: { code: 'INVALID', cost },
      },
    );
  }
  return cost;
}

/** PostgreSQL's texts can't hold one. Not recursive: variables may be nested deeper than the stack. */
function hasZeroByte(value: unknown): boolean {
  const waiting = [value];
  while (waiting.length > 0) {
    const part = waiting.pop();
    if (typeof part === 'string' && part.includes('\0')) return true;
    if (typeof part === 'object' && part !== null) waiting.push(...Object.values(part));
  }
  return false;
}

function literalsOf(document: DocumentNode): string[] {
  const literals: string[] = [];
  visit(document, { StringValue: ({ value }) => void literals.push(value) });
  return literals;
}

const onlyRecordsUsage = (document: DocumentNode): boolean =>
  document.definitions.every(
    (definition) =>
      definition.kind === Kind.OPERATION_DEFINITION &&
      definition.operation === 'mutation' &&
      definition.selectionSet.selections.every(
        (field) => field.kind === Kind.FIELD && field.name.value === 'recordUsage',
      ),
  );

/** Gives every answer its cost, its errors their public form, and answers without data their HTTP status. */
const errorPlugin = (deps: Deps): ApolloServerPlugin<Context> => ({
  async requestDidStart() {
    return {
      async willSendResponse({ response, errors, contextValue }) {
        if (response.body.kind !== 'single') return;
        const { singleResult } = response.body;
        if (contextValue.cost !== undefined)
          singleResult.extensions = { ...singleResult.extensions, cost: contextValue.cost };
        if (!errors || errors.length === 0) return;
        const requestId = contextValue.requestId ?? '';
        singleResult.errors = errors.map((error) => presentGraphQLError(error, { requestId, log: deps.log }));
        if (singleResult.data === undefined || singleResult.data === null) {
          response.http.status = httpStatusOf(singleResult.errors);
          const retryAfter = singleResult.errors[0]?.extensions?.retryAfterSeconds;
          if (retryAfter) response.http.headers.set('retry-after', String(retryAfter));
        }
      },
    };
  },
});
