import { Validator } from '@seriousme/openapi-schema-validator';
import { restPrefix, restRoutes } from '../../src/api/rest.js';
import { restDescriptions } from '../../src/api/restDescriptions.js';
import { exampleDelivery } from '../../src/domain/eventExamples.js';
import { eventTypes } from '../../src/domain/events.js';
import { expectDescribed } from '../support/described.js';
import { type Loose, startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
let account: TestAccount;
let document: Loose;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  account = await world.account();
  const answer = await fetch(`${world.url}/openapi.json`);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
  document = await answer.json();
});
afterAll(() => world.stop());

test('the document is served without a token and is valid OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
  const broken = structuredClone(document);
  delete broken.paths[`${restPrefix}/plans`].get.responses['200'].description;
  expect((await validator.validate(broken)).valid).toBe(false);
});

test('it refers to nothing that it does not have', () => {
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path!);
  expect(refs.length).toBeGreaterThan(100);
  const missing = refs.filter((path) => path.split('/').reduce((at, key) => at?.[key], document) === undefined);
  expect(missing).toEqual([]);
});

test('every route is in it, with its scope, and nothing else is', () => {
  const operations = Object.entries<Loose>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Loose>(methods).map(([method, { security }]) => `${method} ${path} ${security[0].token}`),
  );
  const routes = restRoutes.map(
    ({ method, path, scope }) =>
      `${method.toLowerCase()} ${restPrefix}${path.replaceAll(/:(\w+)/g, '{$1}')} ${scope ?? ''}`,
  );
  expect(operations.sort()).toEqual(routes.sort());
  const described = restRoutes.map(({ method, path }) => `${method} ${path}`);
  expect(Object.keys(restDescriptions).sort()).toEqual(described.sort());
});

test('every operation has a name of its own', () => {
  const names = [...Object.values<Loose>(document.paths), ...Object.values<Loose>(document.webhooks)]
    .flatMap((item) => Object.values<Loose>(item))
    .map(({ operationId }) => operationId);
  expect(new Set(names).size).toBe(restRoutes.length + eventTypes.length);
  expect(names.filter((name) => !/^[a-z]\w+$/i.test(name))).toEqual([]);
});

test('there is a webhook for every type of event, with its headers and its example', () => {
  expect(Object.keys(document.webhooks)).toEqual([...eventTypes]);
  for (const type of eventTypes) {
    const { post } = document.webhooks[type];
    const { schema, example } = post.requestBody.content['application/json'];
    expect(schema.properties.type).toEqual({ const: type });
    expect(example).toEqual(JSON.parse(JSON.stringify(exampleDelivery(type))));
    expect(post.parameters.map((one: Loose) => one.name)).toEqual([
      'webhook-id',
      'webhook-timestamp',
      'webhook-signature',
    ]);
  }
});

test('amounts in examples keep their digits', async () => {
  const text = await (await fetch(`${world.url}/openapi.json`)).text();
  expect(text).toMatch(/"balance": ?250\.00,/);
});

test('the bodies that routes take are described as they are read', () => {
  const bodyOf = (method: string, path: string) =>
    document.paths[`${restPrefix}${path}`][method].requestBody?.content['application/json'].schema;
  expect(bodyOf('post', '/wallet/top-up')).toMatchObject({
    required: ['amount'],
    properties: { amount: { type: ['string', 'number'] }, payment_method_id: {} },
  });
  expect(bodyOf('patch', '/subscriptions/{id}').required).toEqual(['plan_id']);
  expect(bodyOf('post', '/usage/events').anyOf).toHaveLength(3);
  expect(bodyOf('get', '/plans')).toBeUndefined();
});

const documented = Object.entries(restDescriptions).flatMap(([route, { query }]) =>
  Object.keys(query?.shape ?? {}).map((name) => ({ route, name })),
);
test.each(documented)('$route reads its parameter $name', async ({ route, name }) => {
  const [method, path] = route.split(' ') as [string, string];
  const id = 'sub_01kavw8481f4ytbk270sjvv038';
  const at = path.startsWith('/webhooks/:id') ? await endpoint() : id;
  const { status, body } = await world.rest(account.token, method, `${path.replace(':id', at)}?${name}=wrong`);
  expect([status, body.errors]).toEqual([422, [expect.objectContaining({ parameter: name })]]);
});
const endpoint = async (): Promise<string> =>
  (await world.rest(account.token, 'POST', '/webhooks', { url: 'http://127.0.0.1:9/' })).body.id;

test('an answer with a member more, one less, or another status is found', () => {
  const request = { method: 'GET', path: '/wallet' };
  const answer =
    (text: string, status = 200) =>
    () =>
      expectDescribed(request, { status, text });
  const wallet = '{"balance":1.00,"currency":"USD","auto_recharge":{"enabled":false,"threshold":null,"amount":null}}';
  expect(answer(wallet)).not.toThrow();
  expect(answer(wallet.replace('1.00', '1.0'))).toThrow('GET /wallet answered 200 unlike its description: balance');
  expect(answer(wallet.replace('{', '{"more":1,'))).toThrow('Unrecognized key');
  expect(answer(wallet.replace('"currency":"USD",', ''))).toThrow('currency');
  expect(answer(wallet, 201)).toThrow('its description says 200');
  expect(answer(wallet, 404)).not.toThrow();
});
