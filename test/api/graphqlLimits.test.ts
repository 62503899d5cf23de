import { request as httpRequest } from 'node:http';
import { getIntrospectionQuery } from 'graphql';
import { rawSocket } from '../support/sockets.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
let token: string;
beforeAll(async () => {
  world = await startWorld();
  ({ token } = await world.account());
});
afterAll(() => world.stop());

async function post(body: string, headers: Record<string, string> = {}, method = 'POST') {
  const response = await fetch(`${world.url}/graphql`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
    ...(method === 'GET' ? {} : { body }),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const repeat = (count: number, part: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(' ');

/** Each breaks one limit, by a little or by very much. */
const tooMuch: [string, string][] = [
  ['tokens', `{ ${repeat(2_001, () => 'id')} }`],
  ['brackets that would overflow the parser', `{ ${'a{'.repeat(900)}`],
  ['definitions', repeat(21, (i) => `query Q${i} { viewer { id } }`)],
  ['depth', `{ ${'viewer { subscription { '.repeat(7)} id ${'} }'.repeat(7)} }`],
  [
    'depth through fragments',
    `{ viewer { ...A } } fragment A on Account { subscription { ...B } } fragment B on BillingSubscription { ${'plan { '.repeat(11)} id ${'}'.repeat(11)} }`,
  ],
  ['aliases', `{ viewer { ${repeat(31, (i) => `a${i}: id`)} } }`],
  ['root fields', `{ ${repeat(21, () => 'usage { watermark }')} }`],
  [
    'fields through fragments that double',
    `{ viewer { ...F0 } } ${repeat(15, (i) => `fragment F${i} on Account { ...F${i + 1} ...F${i + 1} }`)} fragment F15 on Account { id }`,
  ],
  [
    'a fragment that spreads itself',
    '{ viewer { ...A } } fragment A on Account { ...B } fragment B on Account { ...A }',
  ],
  ['directives', `{ viewer { id ${repeat(21, () => '@include(if: true)')} } }`],
  [
    'cost',
    `{ ${repeat(3, (i) => `i${i}: invoices(first: 100) { nodes { lines { id } payments { method { id } } } }`)} }`,
  ],
  [
    'cost by a variable that is out of bounds',
    `query($n: Int = 1000000) { ${repeat(3, (i) => `i${i}: invoices(first: $n) { nodes { lines { id } payments { method { id } } } }`)} }`,
  ],
];

describe('a document that asks for too much', () => {
  test.each(tooMuch)('%s: 400 over HTTP, an error over the socket, and quickly', async (_what, query) => {
    const startedAt = performance.now();
    const { status, text } = await post(JSON.stringify({ query }));
    const [error] = JSON.parse(text).errors;
    expect({ status, code: error.extensions.code, text }).toEqual({
      status: 400,
      code: 'INVALID',
      text: expect.not.stringContaining('"data"'),
    });
    const socket = await rawSocket(world, token);
    socket.send({ id: '1', type: 'subscribe', payload: { query } });
    const { payload } = await socket.next('error', '1');
    expect(payload[0]).toMatchObject({ message: error.message, extensions: { code: 'INVALID' } });
    socket.send({ id: '2', type: 'subscribe', payload: { query: '{ viewer { id } }' } });
    await socket.next('complete', '2');
    socket.socket.close();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test('the query that tools send for the schema is within the limits', async () => {
    const { data, errors } = await world.gql(
      token,
      getIntrospectionQuery({ descriptions: true, specifiedByUrl: true, inputValueDeprecation: true, oneOf: true }),
    );
    expect(errors).toBeUndefined();
    expect(data.__schema.types.length).toBeGreaterThan(50);
  });
});

describe('a body', () => {
  test.each([
    ['an array of operations', '[{"query":"{ viewer { id } }"}]'],
    ['half of JSON', '{"query":'],
    ['nothing', ''],
    ['a text', '"{ viewer { id } }"'],
    ['null', 'null'],
    ['a number', '7'],
    ['no query', '{"variables":{}}'],
    ['a query that is no text', '{"query":{"a":1}}'],
    ['variables that are no object', '{"query":"{ viewer { id } }","variables":"x"}'],
    ['a list of variables', '{"query":"{ viewer { id } }","variables":[1]}'],
    ['an operation name that is no text', '{"query":"{ viewer { id } }","operationName":7}'],
    ['a prototype', '{"query":"{ viewer { id } }","__proto__":{"a":1}}'],
  ])('%s is 400, in the shape of GraphQL with a code', async (_what, body) => {
    const { status, text, headers } = await post(body);
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 400, type: expect.stringMatching(/json/) });
    expect(JSON.parse(text).errors).toEqual([
      expect.objectContaining({ message: expect.any(String), extensions: { code: expect.any(String) } }),
    ]);
    expect(text).not.toMatch(/"stack|at .*\(.*:\d+:\d+\)|FST_/);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
  ])('%s is 400 or 415, as JSON', async (type) => {
    const { status, text } = await post('{"query":"{ viewer { id } }"}', { 'content-type': type });
    expect([400, 415]).toContain(status);
    expect(JSON.parse(text).errors[0].extensions.code).toBe('BAD_REQUEST');
  });

  test.each(['GET', 'PUT', 'DELETE'])('%s is 405 with Allow', async (method) => {
    const { status, headers, text } = await post('{}', {}, method);
    expect([status, headers.get('allow')]).toEqual([405, 'POST']);
    expect(JSON.parse(text).errors[0].extensions.code).toBe('BAD_REQUEST');
  });

  const padded = (bytes: number, query = '{ viewer { id } }') =>
    JSON.stringify({ query, variables: { pad: 'x'.repeat(bytes) } });

  test('over 100 kB is 413, but not for recordUsage, which may have 1 MB', async () => {
    expect((await post(padded(99_000))).status).toBe(200);
    const usage =
      'mutation { recordUsage(input: { events: [{ transactionId: "big", metric: "users" }] }) { watermark } }';
    expect((await post(padded(900_000, usage))).status).toBe(200);
    const smuggled =
      'mutation { recordUsage(input: { events: [] }) { watermark } deleteWebhookEndpoint(input: { idempotencyKey: "k", webhookEndpointId: "x" }) { replayed } }';
    for (const body of [padded(100_000), padded(1_000_100, usage), padded(200_000, smuggled)]) {
      const { status, text } = await post(body);
      expect([status, JSON.parse(text).errors[0].extensions.code]).toEqual([413, 'TOO_LARGE']);
    }
  });

  test('over 100 kB is 413 as well when it comes in chunks of unknown length', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(
        `${world.url}/graphql`,
        { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      request.on('error', reject);
      const body = padded(200_000);
      for (let at = 0; at < body.length; at += 50_000) request.write(body.slice(at, at + 50_000));
      request.end();
    });
    expect(status).toBe(413);
  });

  test('variables nested without end break nothing', async () => {
    const deep = `{"query":"{ viewer { id } }","variables":{"a":${'['.repeat(40_000)}${']'.repeat(40_000)}}}`;
    expect((await post(deep)).status).toBeLessThan(500);
    const usage = `{"query":"mutation($p: JSON) { recordUsage(input: { events: [{ transactionId: \\"deep\\", metric: \\"users\\", properties: $p }] }) { results { status } } }","variables":{"p":${'['.repeat(40_000)}${']'.repeat(40_000)}}}`;
    const answer = await post(usage);
    expect(JSON.parse(answer.text)).toMatchObject({ data: { recordUsage: { results: [{ status: 'REJECTED' }] } } });
  });
});

test('where introspection is off, neither door tells the schema', async () => {
  const closed = await startWorld({ worker: false, env: { INTROSPECTION: '0' } });
  try {
    const { token: other } = await closed.account();
    for (const query of ['{ __schema { types { name } } }', '{ __type(name: "Query") { name } }']) {
      const { status, errors, data } = await closed.gql(other, query);
      expect({ status, code: errors?.[0].extensions.code, data }).toEqual({
        status: 400,
        code: 'GRAPHQL_VALIDATION_FAILED',
        data: undefined,
      });
      const socket = await rawSocket(closed, other);
      socket.send({ id: '1', type: 'subscribe', payload: { query } });
      expect((await socket.next('error', '1')).payload[0].extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
      socket.socket.close();
    }
    expect((await closed.gql(other, '{ viewer { __typename id } }')).errors).toBeUndefined();
  } finally {
    await closed.stop();
  }
});
