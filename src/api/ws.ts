import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import {
  createSourceEventStream,
  type ExecutionResult,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
} from 'graphql';
import { CloseCode, type Context as SocketContext } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { keyAccount, keysTopic, liveKeys } from '../account/apiKeys.js';
import { BillingError } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import type { Context } from '../platform/context.js';
import type { Deps } from '../platform/deps.js';
import type { LiveSource, Subscriber } from '../platform/liveSource.js';
import { actorOf } from './auth.js';
import type { Documents } from './documents.js';
import { billingErrorOf, doors } from './errors.js';
import { createFanOut, type FanOut, type SubscriptionArgs } from './fanOut.js';
import { checkRequest, createContext } from './graphql.js';
import { presentGraphQLError } from './graphqlErrors.js';

const maxMessageBytes = 64 * 1024;
const maxUnsentBytes = 1024 * 1024;
/** A replay goes on when less than this is unsent, and looks again so often. */
const freeBelowBytes = 64 * 1024;
const lookAgainMs = 20;
const maxSubscriptions = 10;
const initTimeoutMs = 3_000;
const pingMs = 12_000;
/** How often the keys of open sockets are looked at: an expired one, or one whose revocation was not heard of, ends its sockets. */
const keyCheckMs = 500;
/** A client that doesn't answer the closing handshake would hold the server's stop for ws's 30 s. */
const goodbyeMs = 1_000;
/** Of a close frame (RFC 6455, 5.5): 125 less the code. */
const maxReasonBytes = 123;

type Extra = Record<PropertyKey, unknown> & {
  socket: WebSocket;
  actor?: Actor;
  /** The ends of the subscriptions that are followed, each with the id of its operation. */
  live: Map<() => void, string>;
};

/**
 * GraphQL over WebSocket (graphql-transport-ws) on the path of the HTTP endpoint, with the same checks. Returns the
 * function that closes all sockets (1001) and stops.
 */
export function registerSockets(
  app: FastifyInstance,
  { deps, schema, documents }: { deps: Deps; schema: GraphQLSchema; documents: Documents },
): () => Promise<void> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes });
  const open = new Set<Extra>();
  const fanOut = createFanOut(deps);
  const present = (requestId: string) => (error: GraphQLError) =>
    presentGraphQLError(error, { requestId, log: deps.log });

  const server = useServer<Record<string, unknown>, Extra>(
    {
      schema,
      connectionInitWaitTimeout: initTimeoutMs,
      onConnect: async (context) => {
        const { extra } = context as SocketContext<Record<string, unknown>, Extra>;
        extra.live = new Map();
        delete extra.request; // the handshake's, which would be kept as long as the socket
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
      onClose: (context) => {
        const { extra } = context as SocketContext<Record<string, unknown>, Extra>;
        open.delete(extra);
        // graphql-ws forgets an operation whose id is used again while it ends.
        for (const end of [...(extra.live?.keys() ?? [])]) end();
      },
      onSubscribe: (context, id, payload) => {
        const { extra } = context as SocketContext<Record<string, unknown>, Extra>;
        try {
          // A client that doesn't answer a close frame still talks to us for a while.
          if (extra.socket.readyState !== extra.socket.OPEN || hasExpired(extra.actor!, deps.clock.now())) {
            throw new BillingError('UNAUTHENTICATED', 'The token has expired or was revoked');
          }
          if ([...extra.live.values()].includes(id))
            throw new BillingError('CONFLICT', `The operation ${id.slice(0, 60)} has not ended yet`);
          if (Math.max(Object.keys(context.subscriptions).length, extra.live.size + 1) > maxSubscriptions) {
            throw new BillingError('LIMIT_EXCEEDED', `At most ${maxSubscriptions} operations at a time on a socket`);
          }
          const document = documents.read(payload.query);
          const cost = checkRequest(schema, document, { ...payload, actor: extra.actor! });
          const mistakes = documents.mistakes(document);
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
          const args: SocketArgs = {
            extra,
            id,
            query: payload.query,
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
      subscribe: (args) => follow({ deps, fanOut }, args as SocketArgs),
      onError: (_context, _id, _payload, errors) => errors.map(present(randomUUID())),
      onNext: (context, _id, _payload, args, result) => {
        const { socket } = (context as SocketContext<Record<string, unknown>, Extra>).extra;
        isTooSlow(socket);
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

  const unsubscribe = deps.pubsub.subscribe(keysTopic, (keyId) => {
    for (const { actor, socket } of open) if (actor?.keyId === keyId) endOfKey(socket);
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
    unsubscribe();
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
      if (!live.has(actor!.keyId!)) endOfKey(socket);
    }
  } catch (error) {
    deps.log.warn({ err: error }, 'the keys of open sockets could not be checked; trying again');
  }
}

/** What graphql-ws executes, with the operation it is for. */
interface SocketArgs extends SubscriptionArgs {
  readonly extra: Extra;
  readonly id: string;
}

/**
 * What is live goes past graphql-ws, as text that was made once for all who get it; graphql-ws hears only of the end. Not an
 * async generator: its `return()` waits for the pending `next()`.
 */
async function follow(
  { deps, fanOut }: { deps: Deps; fanOut: FanOut },
  args: SocketArgs,
): Promise<AsyncGenerator<never, void, void> | ExecutionResult> {
  const source = await createSourceEventStream(args);
  if (!('kind' in source)) return source as ExecutionResult; // the errors of `subscribe`
  const ended = Promise.withResolvers<IteratorReturnResult<void>>();
  const { live } = args.extra;
  let leave: (() => void) | undefined;
  const end = (): void => {
    leave?.();
    live.delete(end);
    ended.resolve({ done: true, value: undefined });
  };
  const fail = (error: unknown): void => {
    ended.reject(error);
    end();
  };
  const subscriber = subscriberOf(args, { deps, end, fail });
  const results: AsyncGenerator<never, void, void> = {
    next: () => {
      if (!leave) {
        live.set(end, args.id);
        leave = fanOut.follow(source as LiveSource, args, subscriber);
      }
      return ended.promise;
    },
    return: async () => {
      end();
      return { done: true, value: undefined };
    },
    throw: async (error: unknown) => {
      end();
      throw error;
    },
    [Symbol.asyncIterator]: () => results,
    [Symbol.asyncDispose]: async () => end(),
  };
  return results;
}

/** The socket's right to hear is looked at with every result: nothing is sent after a token has ended. */
function subscriberOf(
  { extra: { socket, actor }, id }: SocketArgs,
  { deps, end, fail }: { deps: Deps; end: () => void; fail: (error: unknown) => void },
): Subscriber {
  const beginning = `{"id":${JSON.stringify(id)},"type":"next","payload":`;
  const isFree = (): boolean => socket.readyState !== socket.OPEN || socket.bufferedAmount < freeBelowBytes;
  return {
    send: (payload) => {
      if (socket.readyState !== socket.OPEN) return end(); // no replay goes on for nobody
      if (hasExpired(actor!, deps.clock.now())) return endOfKey(socket);
      if (isTooSlow(socket)) return;
      socket.send(`${beginning}${payload}}`);
    },
    get isFree() {
      return isFree();
    },
    free: async () => {
      while (!isFree()) await sleep(lookAgainMs, undefined, { ref: false });
    },
    fail,
  };
}

const hasExpired = ({ expiresAt }: Actor, now: Date): boolean => expiresAt !== undefined && expiresAt <= now;

const endOfKey = (socket: WebSocket): void =>
  socket.close(CloseCode.Unauthorized, 'The token has expired or was revoked');

/** Closes a socket whose client doesn't read; what it misses it can read from its cursor. */
function isTooSlow(socket: WebSocket): boolean {
  if (socket.bufferedAmount <= maxUnsentBytes) return false;
  socket.close(1013, 'The consumer is too slow: resume with `after`');
  return true;
}
