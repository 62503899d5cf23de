import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import {
  createSourceEventStream,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  validate,
} from 'graphql';
import { CloseCode, type Context as SocketContext } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { keyAccount, liveKeys } from '../account/apiKeys.js';
import { BillingError } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import type { Context } from '../platform/context.js';
import type { Deps } from '../platform/deps.js';
import { actorOf } from './auth.js';
import { billingErrorOf, doors } from './errors.js';
import { checkRequest, createContext } from './graphql.js';
import { presentGraphQLError } from './graphqlErrors.js';
import { parseLimited } from './limits.js';

const maxMessageBytes = 64 * 1024;
const maxUnsentBytes = 1024 * 1024;
const maxSubscriptions = 10;
const initTimeoutMs = 3_000;
const pingMs = 12_000;
/** How often the keys of open sockets are looked at: a revoked or expired one ends its sockets within this. */
const keyCheckMs = 500;
/** A client that doesn't answer the closing handshake would hold the server's stop for ws's 30 s. */
const goodbyeMs = 1_000;
/** Of a close frame (RFC 6455, 5.5): 125 less the code. */
const maxReasonBytes = 123;

type Extra = Record<PropertyKey, unknown> & {
  socket: WebSocket;
  actor?: Actor;
};

/**
 * GraphQL over WebSocket (graphql-transport-ws) on the path of the HTTP endpoint, with the same checks. Returns the
 * function that closes all sockets (1001) and stops.
 */
export function registerSockets(
  app: FastifyInstance,
  { deps, schema, introspection }: { deps: Deps; schema: GraphQLSchema; introspection: boolean },
): () => Promise<void> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes });
  const open = new Set<Extra>();
  const rules = introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const present = (requestId: string) => (error: GraphQLError) =>
    presentGraphQLError(error, { requestId, log: deps.log });

  const server = useServer<Record<string, unknown>, Extra>(
    {
      schema,
      connectionInitWaitTimeout: initTimeoutMs,
      onConnect: async (context) => {
        const { extra } = context as SocketContext<Record<string, unknown>, Extra>;
        try {
          extra.actor = await actorOf(deps, credentialsOf(context.connectionParams ?? {}));
          if (extra.socket.readyState === extra.socket.OPEN) open.add(extra);
          return true;
        } catch (error) {
          const { code, message } = billingErrorOf(error, 'connection_init');
          extra.socket.close(doors[code].closeCode, reasonOf(message));
          return false;
        }
      },
      onClose: ({ extra }) => void open.delete(extra as Extra),
      onSubscribe: (context, _id, payload) => {
        const { extra } = context as SocketContext<Record<string, unknown>, Extra>;
        try {
          if (Object.keys(context.subscriptions).length > maxSubscriptions) {
            throw new BillingError('LIMIT_EXCEEDED', `At most ${maxSubscriptions} operations at a time on a socket`);
          }
          const document = parseLimited(payload.query);
          const cost = checkRequest(schema, document, { ...payload, actor: extra.actor! });
          const mistakes = validate(schema, document, rules);
          if (mistakes.length > 0) return mistakes;
          const operation = getOperationAST(document, payload.operationName);
          if (!operation) {
            throw new GraphQLError('The document has no operation of that name, or several and no name was given', {
              extensions: { code: 'OPERATION_RESOLUTION_FAILURE' },
            });
          }
          // Execution would find the same mistakes, but there they look like those of a resolver.
          const { errors } = getVariableValues(schema, operation.variableDefinitions ?? [], payload.variables ?? {}, {
            maxErrors: 10,
          });
          if (errors)
            return errors.map(
              ({ message, nodes }) => new GraphQLError(message, { nodes, extensions: { code: 'INVALID' } }),
            );
          const args: ExecutionArgs = {
            schema,
            document,
            operationName: payload.operationName ?? null,
            variableValues: payload.variables ?? null,
            contextValue: createContext(deps, { actor: extra.actor!, requestId: randomUUID(), cost }),
          };
          return args;
        } catch (error) {
          // graphql-ws closes the socket on anything else, and with it all other operations.
          return [error instanceof GraphQLError ? error : new GraphQLError('', { originalError: error as Error })];
        }
      },
      subscribe: (args) => subscribeWithFreshContext(args, deps),
      onError: (_context, _id, _payload, errors) => errors.map(present(randomUUID())),
      onNext: (context, _id, _payload, args, result) => {
        const { socket } = (context as SocketContext<Record<string, unknown>, Extra>).extra;
        if (socket.bufferedAmount > maxUnsentBytes) socket.close(1013, 'The consumer is too slow: resume with `after`');
        const { requestId } = args.contextValue as Context;
        return result.errors ? { ...result, errors: result.errors.map(present(requestId)) } : undefined;
      },
    },
    sockets as never,
    pingMs,
  );

  app.server.on('upgrade', (request, socket, head) => {
    if (request.url?.split('?', 1)[0] !== '/graphql') return socket.destroy();
    sockets.handleUpgrade(request, socket, head, (client) => {
      sockets.emit('connection', client, request);
      // graphql-ws prints to the console what a client got wrong (a message too large); ws has closed the socket by then.
      client.removeAllListeners('error').on('error', (error) => deps.log.debug({ err: error }, 'a socket was closed'));
    });
  });

  let checking = false;
  const watch = setInterval(async () => {
    if (checking) return; // a database that is slow to answer is not asked twice
    checking = true;
    await closeDeadKeys(deps, open);
    checking = false;
  }, keyCheckMs).unref();
  return async () => {
    clearInterval(watch);
    const deadline = setTimeout(() => {
      for (const client of sockets.clients) client.terminate();
    }, goodbyeMs);
    await server.dispose();
    clearTimeout(deadline);
  };
}

const reasonOf = (message: string): string => {
  const bytes = Buffer.from(message);
  // `stream` leaves out a character that the cut went through.
  return bytes.length <= maxReasonBytes
    ? message
    : new TextDecoder().decode(bytes.subarray(0, maxReasonBytes), { stream: true });
};

/** Where clients put the token: as the header would be, or bare. */
function credentialsOf(parameters: Record<string, unknown>) {
  const headers = (typeof parameters.headers === 'object' && parameters.headers ? parameters.headers : {}) as Record<
    string,
    unknown
  >;
  const text = (...found: unknown[]) => found.find((value): value is string => typeof value === 'string');
  const token = text(parameters.token);
  return {
    authorization:
      text(parameters.authorization, parameters.Authorization, headers.authorization, headers.Authorization) ??
      (token === undefined ? undefined : `Bearer ${token}`),
    billingAccount: text(
      parameters.billingAccount,
      parameters['Billing-Account'],
      headers['Billing-Account'],
      headers['billing-account'],
    ),
  };
}

/** Ends the sockets whose key was revoked or has expired since it was checked. */
async function closeDeadKeys(deps: Deps, open: ReadonlySet<Extra>): Promise<void> {
  const watched = [...open].filter(({ actor }) => actor?.keyId !== undefined);
  if (watched.length === 0) return;
  const keys = new Map(
    watched.map(({ actor }) => [actor!.keyId!, { accountId: keyAccount(actor!), id: actor!.keyId! }]),
  );
  try {
    const live = await liveKeys(deps.db.orm.em.fork(), { keys: [...keys.values()], now: deps.clock.now() });
    for (const { actor, socket } of watched) {
      if (!live.has(actor!.keyId!)) socket.close(CloseCode.Unauthorized, 'The token has expired or was revoked');
    }
  } catch (error) {
    deps.log.warn({ err: error }, 'the keys of open sockets could not be checked; trying again');
  }
}

/**
 * graphql-js gives all events of a subscription one context, so they would share an identity map and loaders and read old
 * rows. Here each event gets its own. Not an async generator: its `return()` waits for the pending `next()`.
 */
async function subscribeWithFreshContext(
  args: ExecutionArgs,
  deps: Deps,
): Promise<AsyncGenerator<ExecutionResult, void, void> | ExecutionResult> {
  const source = await createSourceEventStream(args);
  if (!(Symbol.asyncIterator in source)) return source;
  const events = source[Symbol.asyncIterator]();
  const { actor, requestId, cost } = args.contextValue as Context;
  const resultOf = async (event: IteratorResult<unknown>): Promise<IteratorResult<ExecutionResult, void>> =>
    event.done
      ? { done: true, value: undefined }
      : {
          done: false,
          value: await execute({
            ...args,
            rootValue: event.value,
            contextValue: createContext(deps, { actor, requestId, cost }),
          }),
        };
  const results: AsyncGenerator<ExecutionResult, void, void> = {
    next: async () => resultOf(await events.next()),
    return: async () => {
      await events.return?.();
      return { done: true, value: undefined };
    },
    throw: async (error: unknown) => {
      await events.throw?.(error);
      throw error;
    },
    [Symbol.asyncIterator]: () => results,
    [Symbol.asyncDispose]: async () => {
      await events.return?.();
    },
  };
  return results;
}
