import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { operatorAccountId } from '../account/apiKeys.js';
import { BillingError } from '../domain/errors.js';
import { requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { stringifyExact } from '../platform/exactJson.js';
import { actorOf } from './auth.js';
import { everyAnswer, HttpRefusal, InvalidRequest, sendProblem } from './problem.js';
import { readJson, readJsonLines } from './readJson.js';
import { clockRoutes } from './restClock.js';
import { meteringRoutes } from './restMetering.js';
import type { Answer, Call, Route } from './restRoute.js';
import { salesRoutes } from './restSales.js';
import { webhookRoutes } from './restWebhooks.js';

export const restPrefix = '/api/v1/billing';

/** The shim for callers of the integration guide: every path it has, in the shapes it shows. */
export const restRoutes: readonly Route[] = [...salesRoutes, ...meteringRoutes, ...webhookRoutes, ...clockRoutes];

const bodyLimitBytes = 100_000;
const bulkBodyLimitBytes = 1_000_000;

/** Mounts the REST shim below `restPrefix`, with its own parsers and errors: nothing of it leaks into other doors. */
export function registerRest(app: FastifyInstance, deps: Deps): void {
  const calls = new WeakMap<FastifyRequest, Call>();

  const mount = (scope: FastifyInstance, row: Route): void => {
    const members = row.body?.members ?? [];
    scope.route({
      method: row.method,
      url: row.path,
      bodyLimit: row.bulk ? bulkBodyLimitBytes : bodyLimitBytes,
      errorHandler: (error, request, reply) => sendProblem(deps, { request, reply }, error, { members }),
      // Before the body is read: nobody unknown makes us parse a megabyte.
      onRequest: async (request) => {
        calls.set(request, await admit(deps, row, request));
      },
      handler: async (request, reply) => {
        const input = row.body?.read(bodyOf(request));
        const answer = await row.handle(calls.get(request)!, input);
        const { failure } = answer;
        if (answer.replayed) reply.header('idempotent-replayed', 'true');
        if (failure) sendProblem(deps, { request, reply }, failure.error, { members, more: failure.more });
        else sendAnswer({ request, reply }, answer);
        return reply;
      },
    });
  };

  void app.register(
    async (scope) => {
      scope.addHook('onRequest', async (request, reply) => {
        reply.headers(everyAnswer(request));
        if (request.is404) throw unknownPath(request);
      });
      scope.setNotFoundHandler(answerUnknownPath(deps));
      scope.setErrorHandler((error, request, reply) => sendProblem(deps, { request, reply }, error));
      scope.setReplySerializer(stringifyExact);
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser(
        'application/json',
        { parseAs: 'buffer' },
        async (_request: FastifyRequest, bytes: Buffer) => readJson(bytes),
      );
      for (const row of restRoutes) if (!row.bulk) mount(scope, row);
      await scope.register(async (bulk) => {
        bulk.addContentTypeParser(
          ['application/x-ndjson', 'application/ndjson'],
          { parseAs: 'buffer' },
          async (_request: FastifyRequest, bytes: Buffer) => readJsonLines(bytes),
        );
        for (const row of restRoutes) if (row.bulk) mount(bulk, row);
      });
    },
    { prefix: restPrefix },
  );
}

/** Lets a request in: a valid token, the scope of the route, an account to act on, and headers that make sense. */
async function admit(deps: Deps, row: Route, request: FastifyRequest): Promise<Call> {
  const { headers } = request;
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpRefusal('UNSUPPORTED_MEDIA_TYPE', `Expected a body without Content-Encoding, found '${encoding}'`, {
      'accept-encoding': 'identity',
    });
  }
  const billingAccount = headerOf(request, 'billing-account');
  const actor = await actorOf(deps, { authorization: headers.authorization, billingAccount });
  if (row.scope) requireScope(actor, row.scope);
  if (!row.anyAccount && actor.accountId === operatorAccountId) {
    const detail = 'an operator’s token names the account it acts on, acct_…';
    throw new InvalidRequest([{ header: 'Billing-Account', detail }]);
  }
  const idempotencyKey = headerOf(request, 'idempotency-key');
  if (idempotencyKey !== undefined && (idempotencyKey.length === 0 || idempotencyKey.length > 255)) {
    const detail = `expected 1 to 255 characters, found ${idempotencyKey.length}`;
    throw new InvalidRequest([{ header: 'Idempotency-Key', detail }]);
  }
  const { id = '', delivery = '' } = request.params as { id?: string; delivery?: string };
  const em = deps.db.orm.em.fork();
  return { deps, em, actor, accountId: actor.accountId, id, delivery, query: request.query, idempotencyKey };
}

const headerOf = (request: FastifyRequest, name: string): string | undefined => request.headers[name]?.toString();

function bodyOf(request: FastifyRequest): unknown {
  if (request.body === undefined) throw new HttpRefusal('MALFORMED', 'Expected a body of JSON, found none');
  return request.body;
}

function sendAnswer({ request, reply }: { request: FastifyRequest; reply: FastifyReply }, answer: Answer): void {
  if (answer.next !== undefined) {
    const path = request.url.split('?', 1)[0];
    const query = new URLSearchParams(request.query as Record<string, string>);
    query.set('after', answer.next);
    reply.header('link', `<${path}?${query}>; rel="next"`);
  }
  reply
    .code(answer.status ?? 200)
    .headers({ ...answer.headers })
    .send(answer.body);
}

/** Why there is nothing at this path: another method would do (405 with Allow), or it is unknown. */
function unknownPath(request: FastifyRequest): BillingError | HttpRefusal {
  const path = request.url.split('?', 1)[0]!;
  const methods = restRoutes.filter((row) => matches(row, path)).map((row) => row.method);
  const allowed = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  if (allowed.length === 0 || allowed.includes(request.method)) {
    return new BillingError('NOT_FOUND', `Nothing at ${path.slice(0, 200)}`);
  }
  const allow = allowed.join(', ');
  return new HttpRefusal('METHOD_NOT_ALLOWED', `${request.method} is not possible here, expected ${allow}`, { allow });
}

const matches = (row: Route, path: string): boolean =>
  new RegExp(`^${restPrefix}${row.path.replaceAll(/:\w+/g, '[^/]+')}$`).test(path);

/** The not-found handler for the rest of `/api/`, so that it too answers problem details. */
export const answerUnknownPath =
  (deps: Pick<Deps, 'log'>) =>
  (request: FastifyRequest, reply: FastifyReply): void =>
    sendProblem(deps, { request, reply }, unknownPath(request));
