import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { type WaitBudget, waitBudget, withWaitBudget } from '../platform/waitBudget.js';
import { createDocuments } from './documents.js';
import { registerGraphQL } from './graphql.js';
import { sendProblem } from './problem.js';
import { registerProviderWebhook } from './providerWebhook.js';
import { answerUnknownPath, registerRest } from './rest.js';
import { createSchema } from './schema.js';
import { registerSockets } from './ws.js';

/** A request has to be here whole within this; half of one must not sit for ever, nor hold up the stop. */
const requestTimeoutMs = 8_000;
const readyWithinMs = 2_000;
/** What a request may wait for connections to the database altogether; with the work itself it is answered within 5 s. */
const waitBudgetMs = 2_500;

export interface Server {
  readonly app: FastifyInstance;
  /** Takes no more, lets running requests finish, closes sockets with 1001, frees the port. */
  close(): Promise<void>;
}

/** What every process has: health, and an answer in our form to whatever else is asked. */
function openDoors(deps: Deps): FastifyInstance {
  const app = Fastify({
    logger: false,
    forceCloseConnections: 'idle',
    requestTimeout: requestTimeoutMs,
    genReqId: () => randomUUID(),
    bodyLimit: 100_000,
    trustProxy: false,
    // What Fastify refuses before a route is found (a malformed or overlong URL) looks like any other refusal.
    frameworkErrors: (error, request, reply) => void sendProblem(deps, { request, reply }, error),
  });

  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    });
  });
  // Once from the beginning, as whoever asks is looked up there, and again when the body is here: its events belong to the
  // connection, and lose the budget.
  const budgets = new WeakMap<object, WaitBudget>();
  app.addHook('onRequest', (request, _reply, done) => {
    const budget = waitBudget(waitBudgetMs);
    budgets.set(request, budget);
    withWaitBudget(budget, done);
  });
  app.addHook('preValidation', (request, _reply, done) => withWaitBudget(budgets.get(request)!, done));
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const ready = await Promise.race([
      rowsOf(deps.db.orm.em.fork(), sql`select 1`).then(
        () => true,
        () => false, // the answer itself says so
      ),
      sleep(readyWithinMs, false, { ref: false }),
    ]);
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'database unavailable' });
  });
  app.setNotFoundHandler(answerUnknownPath(deps));
  return app;
}

/** The server of a process without the role `api`: health, nothing else. */
export function createHealthServer(deps: Deps): Server {
  const app = openDoors(deps);
  return { app, close: () => app.close() };
}

/** All doors on one port: GraphQL over HTTP and sockets, the REST shim, GraphiQL, health. */
export async function createServer(
  deps: Deps,
  { introspection, graphiql }: { introspection: boolean; graphiql: boolean },
): Promise<Server> {
  const app = openDoors(deps);
  const schema = createSchema();
  const documents = createDocuments({ schema, introspection });
  if (graphiql) {
    app.get('/graphiql', async (request, reply) => {
      const { renderGraphiqlPage } = await import('./graphiql.js');
      return reply
        .type('text/html; charset=utf-8')
        .send(renderGraphiqlPage((request.query as { token?: unknown }).token));
    });
    app.get('/', async (_request, reply) => reply.redirect('/graphiql'));
  }

  // Loaded when it is asked for: nothing that runs needs it.
  app.get('/openapi.json', async (_request, reply) => {
    const { printedOpenapi } = await import('./openapi.js');
    return reply.type('application/json; charset=utf-8').send(printedOpenapi());
  });

  registerRest(app, deps);
  registerProviderWebhook(app, deps);
  const apollo = await registerGraphQL(app, { deps, schema, documents, introspection });
  const closeSockets = registerSockets(app, { deps, schema, documents });
  // Sockets would keep the server open for ever. Apollo's drain plugin calls app.close(), so only apollo.stop() is called.
  app.addHook('preClose', closeSockets);
  // The stop closes the connections that are idle then; one that still answers it would keep until it cuts off all, after 10 s.
  let closing = false;
  app.addHook('onResponse', async () => {
    if (closing) setImmediate(() => app.server.closeIdleConnections());
  });
  return {
    app,
    close: () => {
      closing = true;
      return apollo.stop();
    },
  };
}
