import type { z } from 'zod';
import { dataSchemaOf, eventCatalogue } from '../domain/eventCatalogue.js';
import { exampleDelivery } from '../domain/eventExamples.js';
import { type EventType, eventTypes } from '../domain/events.js';
import { type JsonSchema, jsonSchemaOf } from '../domain/shape.js';
import { stringifyExact } from '../platform/exactJson.js';
import { doors } from './errors.js';
import { restPrefix, restRoutes } from './rest.js';
import { type RouteDescription, restDescriptions } from './restDescriptions.js';
import type { Route } from './restRoute.js';

type Json = Readonly<Record<string, unknown>>;

/** https://spec.openapis.org/oas/v3.1.0: paths of the REST shim, and a webhook for each type of event. */
interface Document extends Json {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  readonly webhooks: Readonly<Record<string, Json>>;
  readonly components: Json & { readonly schemas: Json };
}

const ref = (kind: string, name: string) => ({ $ref: `#/components/${kind}/${name}` });
const json = (schema: Json, more: Json = {}) => ({ 'application/json': { schema, ...more } });

/** Makes the document from the route table and the event catalogue. Needs nothing that runs. */
export function openapiDocument(): Document {
  const schemas = new Map<string, unknown>();
  /** What a schema defines for itself moves to `components`, once for all that refer to it. */
  const hoist = ({ $defs = {}, ...schema }: JsonSchema): Json => {
    const moved = (value: unknown) =>
      JSON.parse(stringifyExact(value).replaceAll('"#/$defs/', '"#/components/schemas/'));
    for (const [name, of] of Object.entries($defs as Json)) schemas.set(name, moved(of));
    return moved(schema);
  };
  const paths: Record<string, Record<string, Json>> = {};
  for (const row of restRoutes) {
    const path = `${restPrefix}${row.path.replaceAll(/:(\w+)/g, '{$1}')}`;
    paths[path] = { ...paths[path], [row.method.toLowerCase()]: operationOf(row, hoist) };
  }
  const webhooks = Object.fromEntries(eventTypes.map((type) => [type, { post: webhookOf(type, hoist) }]));
  return {
    openapi: '3.1.0',
    info: {
      title: 'Semaswift Billing',
      version: '1',
      description:
        'Plans, subscriptions, payment methods, invoices, usage, a wallet, and webhooks for what happens to them. Amounts are JSON numbers in major units with all decimals of their currency. All else is in the GraphQL schema.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: [...new Set(restRoutes.map(tagOf)), 'webhook'].map((name) => ({ name })),
    paths,
    webhooks,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'An API key, bk_…' } },
      parameters,
      headers,
      responses: problems,
      schemas: { Problem: problem, ...Object.fromEntries([...schemas].sort()) },
    },
  };
}

let printed: string | undefined;
/** The document as it is served: made when it is first asked for. */
export const printedOpenapi = (): string => (printed ??= `${stringifyExact(openapiDocument())}\n`);

export const descriptionOf = ({ method, path }: Pick<Route, 'method' | 'path'>): RouteDescription => {
  const found = restDescriptions[`${method} ${path}`];
  if (!found) throw new Error(`restDescriptions.ts says nothing of ${method} ${path}`);
  return found;
};

const tagOf = ({ path }: Pick<Route, 'path'>): string => path.split('/')[1]!;

const parameters = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    description: 'The same key and request get the first answer again, with Idempotent-Replayed: true',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
  BillingAccount: {
    name: 'Billing-Account',
    in: 'header',
    description: 'With an operator’s token: the account to act on, acct_…',
    schema: { type: 'string' },
  },
};

const headers = {
  RequestId: { description: 'Names the request in our log', schema: { type: 'string' } },
  IdempotentReplayed: {
    description: 'true: the answer of an earlier request with this key',
    schema: { type: 'string' },
  },
  Link: { description: 'The next page, rel="next"; absent on the last one', schema: { type: 'string' } },
};

const problem = {
  type: 'object',
  description:
    'RFC 9457 problem details. A payment that was declined brings the object it was for as a further member.',
  required: ['type', 'title', 'status', 'detail', 'code', 'request_id'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', examples: ['INVALID', 'NOT_FOUND', 'PAYMENT_DECLINED'] },
    request_id: { type: 'string' },
    errors: {
      type: 'array',
      description: 'Every mistake, each with its place: JSON pointer into the body, query parameter or header',
      items: {
        type: 'object',
        required: ['detail'],
        properties: Object.fromEntries(
          ['detail', 'pointer', 'parameter', 'header'].map((name) => [name, { type: 'string' }]),
        ),
      },
    },
    decline_code: { type: 'string' },
    client_secret: { type: 'string' },
  },
};

/** A problem for each status that a code of ours is answered with. */
const problems = Object.fromEntries(
  [...Map.groupBy(Object.entries(doors), ([, { http }]) => http)].map(([status, codes]) => [
    `Problem${status}`,
    {
      description: codes.map(([code, { title }]) => `${title} (${code})`).join(', '),
      headers: {
        'X-Request-Id': ref('headers', 'RequestId'),
        ...(status === 429 || status === 503
          ? { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } }
          : {}),
      },
      content: { 'application/problem+json': { schema: ref('schemas', 'Problem') } },
    },
  ]),
);

function operationOf(row: Route, hoist: (schema: JsonSchema) => Json): Json {
  const { name, summary, query, status = 200, answer, unsettled } = descriptionOf(row);
  const writes = row.method !== 'GET';
  const body = row.body && hoist(jsonSchemaOf(row.body.schema, 'input'));
  const answered = (description: string) => ({
    description,
    headers: {
      'X-Request-Id': ref('headers', 'RequestId'),
      ...(writes ? { 'Idempotent-Replayed': ref('headers', 'IdempotentReplayed') } : {}),
      ...(query && 'after' in query.shape ? { Link: ref('headers', 'Link') } : {}),
    },
    ...(answer === 'pdf'
      ? { content: { 'application/pdf': { schema: { contentMediaType: 'application/pdf' } } } }
      : answer && { content: json(hoist(jsonSchemaOf(answer))) }),
  });
  const refused = [
    401,
    ...(row.scope ? [403] : []),
    ...(row.path.includes(':') ? [404] : []),
    ...(writes ? [402, 409, 413, 422] : query ? [422] : []),
    429,
    500,
    503,
  ].sort();
  return {
    operationId: name,
    summary,
    tags: [tagOf(row)],
    security: [{ token: row.scope ? [row.scope] : [] }],
    parameters: [
      ...[...row.path.matchAll(/:(\w+)/g)].map(([, id]) => ({
        name: id,
        in: 'path',
        required: true,
        schema: { type: 'string' },
      })),
      ...(query ? queryParameters(query, hoist) : []),
      ...(writes ? [ref('parameters', 'IdempotencyKey')] : []),
      ref('parameters', 'BillingAccount'),
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: { ...json(body), ...(row.bulk ? { 'application/x-ndjson': { schema: { type: 'string' } } } : {}) },
      },
    }),
    responses: {
      [status]: answered(summary),
      ...(unsettled ? { 202: answered(unsettled) } : {}),
      ...Object.fromEntries(refused.map((http) => [http, ref('responses', `Problem${http}`)])),
    },
  };
}

function queryParameters(query: z.ZodObject, hoist: (schema: JsonSchema) => Json): Json[] {
  const { properties } = hoist(jsonSchemaOf(query, 'input')) as { properties: Readonly<Record<string, Json>> };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: !(query.shape[name] as z.ZodType).safeParse(undefined).success,
    schema,
  }));
}

function webhookOf(type: EventType, hoist: (schema: JsonSchema) => Json): Json {
  const { when, resource } = eventCatalogue[type];
  const header = (name: string, description: string) => ({
    name,
    in: 'header',
    required: true,
    description,
    schema: { type: 'string' },
  });
  return {
    operationId: `on ${type}`.replaceAll(/[ ._](\w)/g, (_, letter: string) => letter.toUpperCase()),
    summary: when,
    description: `\`data\` is the ${resource.replaceAll('_', ' ')} after the change.`,
    tags: ['webhook'],
    security: [],
    parameters: [
      header('webhook-id', 'The id of the event, the same on every attempt: know repeats by it'),
      header('webhook-timestamp', 'When this attempt was signed, in seconds since 1970'),
      header(
        'webhook-signature',
        'v1,<base64> of Standard Webhooks; several with spaces between while a secret is rotated',
      ),
    ],
    requestBody: {
      required: true,
      content: json(
        {
          type: 'object',
          required: ['type', 'timestamp', 'data'],
          properties: {
            type: { const: type },
            timestamp: { type: 'string', format: 'date-time', description: 'When it happened' },
            data: hoist(dataSchemaOf(type)),
          },
        },
        { example: exampleDelivery(type) },
      ),
    },
    responses: {
      '2XX': { description: 'Received, within 15 s' },
      410: { description: 'Disables the endpoint' },
      default: { description: 'Tried again later; Retry-After is heeded' },
    },
  };
}
