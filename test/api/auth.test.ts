import { createKey, revokeKey } from '../../src/account/apiKeys.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { publicId } from '../../src/platform/ids.js';
import { subscribed } from '../support/graphql.js';
import { type Loose, startWorld, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const viewer = JSON.stringify({ query: '{ viewer { id } }' });

async function post(headers: Record<string, string>, body: string = viewer) {
  const response = await fetch(`${world.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Loose };
}

/** A key of the account, and of no account for `undefined`. */
const keyFor = (accountId: string | undefined, options: { scopes?: string[]; expiresInMs?: number } = {}) =>
  createKey(world.deps, { accountId, scopes: ['*:*'], ...options });

describe('a token that is not good', () => {
  const unauthenticated = { errors: [{ message: expect.any(String), extensions: { code: 'UNAUTHENTICATED' } }] };

  test.each<[string, Record<string, string>]>([
    ['no token', {}],
    ['an empty header', { authorization: '' }],
    ['another scheme', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['a scheme without a token', { authorization: 'Bearer' }],
    ['nonsense', { authorization: 'Bearer nonsense' }],
    ['a prefix only', { authorization: 'Bearer bk_' }],
    ['the right length of nothing', { authorization: `Bearer bk_${Buffer.alloc(56).toString('base64url')}` }],
    ['a very long one', { authorization: `Bearer bk_${'a'.repeat(8_000)}` }],
  ])('%s is 401 with WWW-Authenticate, in the shape of GraphQL', async (_what, headers) => {
    const answer = await post(headers);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    expect(answer.headers.get('content-type')).toMatch(/json/);
    expect(answer.body).toEqual(unauthenticated);
  });

  test('wrong, revoked, expired and another account’s secrets all answer the same', async () => {
    const { id } = await world.account();
    const other = await world.account();
    const revoked = await keyFor(id);
    await revokeKey(world.deps, { keyId: publicId('apiKey', revoked.key.id) });
    const expired = await keyFor(id, { expiresInMs: -1 });
    const good = await keyFor(id);
    const bytes = Buffer.from(good.token.slice(3), 'base64url');
    const flipped = Buffer.from(bytes);
    flipped[flipped.length - 1]! ^= 1;
    const moved = Buffer.from(bytes);
    Buffer.from(other.id.replaceAll('-', ''), 'hex').copy(moved);
    const answers = await Promise.all(
      [revoked.token, expired.token, `bk_${flipped.toString('base64url')}`, `bk_${moved.toString('base64url')}`].map(
        (token) => post({ authorization: `Bearer ${token}` }),
      ),
    );
    for (const { status, body } of answers) {
      expect(status).toBe(401);
      expect(body).toEqual(answers[0]!.body);
    }
    expect((await post({ authorization: `Bearer ${good.token}` })).status).toBe(200);
  });

  test('a refused request says nothing of its document, however wrong that is', async () => {
    for (const body of ['{"query":"{ nonsense"}', '[]', '{"query":"{ __schema { types { name } } }"}']) {
      expect((await post({}, body)).body).toEqual(unauthenticated);
    }
  });

  test('a key ends at its time, to the request', async () => {
    const { id } = await world.account();
    const { token } = await keyFor(id, { expiresInMs: 400 });
    expect((await post({ authorization: `Bearer ${token}` })).status).toBe(200);
    await until(async () => (await post({ authorization: `Bearer ${token}` })).status === 401, 'the end of the key');
  });
});

describe('scopes', () => {
  const operations: [scope: string, query: string][] = [
    ['subscriptions:read', '{ subscription(id: "x") { id } }'],
    ['subscriptions:read', '{ viewer { subscription { id } } }'],
    ['usage:read', '{ usage { watermark } }'],
    ['usage:read', '{ usageHistory { watermark } }'],
    ['usage:read', '{ viewer { entitlements { feature } } }'],
    ['invoices:read', '{ invoice(id: "x") { id } }'],
    ['invoices:read', '{ invoices { nodes { id } } }'],
    ['wallet:read', '{ wallet { id } }'],
    ['wallet:read', '{ viewer { wallet { id } } }'],
    ['payment_methods:read', '{ paymentMethods { id } }'],
    ['payment_methods:read', '{ viewer { paymentMethods { id } } }'],
    ['events:read', '{ events { nodes { id } } }'],
    ['webhooks:read', '{ webhookEndpoints { id } }'],
    [
      'subscriptions:write',
      'mutation { subscribe(input: { idempotencyKey: "k", planCode: "plan_starter" }) { replayed } }',
    ],
    [
      'subscriptions:write',
      'mutation { changePlan(input: { idempotencyKey: "k", subscriptionId: "x", planCode: "plan_starter" }) { replayed } }',
    ],
    [
      'subscriptions:write',
      'mutation { cancelSubscription(input: { idempotencyKey: "k", subscriptionId: "x" }) { replayed } }',
    ],
    [
      'payment_methods:write',
      'mutation { addPaymentMethod(input: { idempotencyKey: "k", token: "tok_visa" }) { replayed } }',
    ],
    [
      'payment_methods:write',
      'mutation { setDefaultPaymentMethod(input: { idempotencyKey: "k", paymentMethodId: "x" }) { replayed } }',
    ],
    [
      'payment_methods:write',
      'mutation { removePaymentMethod(input: { idempotencyKey: "k", paymentMethodId: "x" }) { replayed } }',
    ],
    [
      'wallet:write',
      'mutation { topUp(input: { idempotencyKey: "k", amount: { amount: "1", currency: "USD" } }) { replayed } }',
    ],
    ['wallet:write', 'mutation { configureAutoRecharge(input: { idempotencyKey: "k", enabled: false }) { replayed } }'],
    [
      'usage:write',
      'mutation { recordUsage(input: { events: [{ transactionId: "t", metric: "users" }] }) { watermark } }',
    ],
    [
      'usage:correct',
      'mutation { correctUsage(input: { idempotencyKey: "k", corrections: [{ transactionId: "t", action: VOID }] }) { usage { watermark } } }',
    ],
    ['invoices:write', 'mutation { payInvoice(input: { idempotencyKey: "k", invoiceId: "x" }) { replayed } }'],
    [
      'webhooks:write',
      'mutation { createWebhookEndpoint(input: { idempotencyKey: "k", url: "http://127.0.0.1:9/" }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { deleteWebhookEndpoint(input: { idempotencyKey: "k", webhookEndpointId: "x" }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { updateWebhookEndpoint(input: { idempotencyKey: "k", webhookEndpointId: "x", enabled: true }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { rotateWebhookSecret(input: { idempotencyKey: "k", webhookEndpointId: "x" }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { sendTestEvent(input: { idempotencyKey: "k", webhookEndpointId: "x" }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { redeliverWebhook(input: { idempotencyKey: "k", webhookDeliveryId: "x" }) { replayed } }',
    ],
    [
      'webhooks:write',
      'mutation { redeliverWebhooks(input: { idempotencyKey: "k", webhookEndpointId: "x", from: "2026-01-01T00:00:00Z" }) { replayed } }',
    ],
  ];

  test('each operation needs its own: without it FORBIDDEN at the top, with it alone it runs', async () => {
    const { id } = await world.account();
    for (const [scope, query] of operations) {
      const [resource, action] = scope.split(':') as [string, string];
      const all = ['subscriptions', 'payment_methods', 'invoices', 'usage', 'wallet', 'events', 'webhooks'];
      const others = [
        ...all.filter((other) => other !== resource).map((other) => `${other}:*`),
        ...(action === 'write' ? [`${resource}:read`] : []), // who may write may read as well
        ...(action === 'correct' ? [`${resource}:write`, '*:write'] : []), // who may record may not take back
      ];
      const without = await world.gql((await keyFor(id, { scopes: others })).token, query);
      expect({ query, codes: without.errors?.map((e) => e.extensions.code) }).toEqual({ query, codes: ['FORBIDDEN'] });
      if (!without.data) expect({ query, status: without.status }).toEqual({ query, status: 403 });
      expect(without.errors![0].message).toContain(scope);
      const held = await world.gql((await keyFor(id, { scopes: [scope] })).token, query);
      expect({ query, errors: held.errors }).toEqual({ query, errors: undefined });
    }
  });

  test('node asks for the scope of what the id names', async () => {
    const owner = await subscribed(world);
    const { token } = await keyFor(owner.id, { scopes: ['wallet:*'] });
    const { data, errors } = await world.gql(token, 'query($id: ID!) { node(id: $id) { id } }', {
      id: owner.invoiceId,
    });
    expect([data, errors![0].extensions.code]).toEqual([{ node: null }, 'FORBIDDEN']);
  });

  test('what hangs on an object needs its own scope as well: no way round through a subscription or an invoice', async () => {
    const owner = await subscribed(world);
    const { token } = await keyFor(owner.id, { scopes: ['subscriptions:read'] });
    const { errors } = await world.gql(token, 'query($id: ID!) { subscription(id: $id) { usage { watermark } } }', {
      id: owner.subscriptionId,
    });
    expect(errors![0].extensions.code).toBe('FORBIDDEN');
  });
});

describe('an operator', () => {
  test('acts on the account of the Billing-Account header', async () => {
    const a = await subscribed(world);
    const { token } = await keyFor(undefined);
    const headers = { authorization: `Bearer ${token}`, 'billing-account': a.publicId };
    const { body } = await post(headers, JSON.stringify({ query: '{ viewer { id subscription { id } } }' }));
    expect(body.data.viewer).toEqual({ id: a.publicId, subscription: { id: a.subscriptionId } });
  });

  test('with an unknown or malformed account gets NOT_FOUND, and without one is told how to name it', async () => {
    const { token } = await keyFor(undefined);
    const authorization = `Bearer ${token}`;
    for (const account of ['acct_01jd0000000000000000000000', 'nonsense', publicId('invoice', crypto.randomUUID())]) {
      const { status, body } = await post({ authorization, 'billing-account': account });
      expect([status, body.errors[0].extensions.code]).toEqual([404, 'NOT_FOUND']);
    }
    for (const query of [
      '{ viewer { id } }',
      '{ wallet { id } }',
      '{ usage { watermark } }',
      '{ invoices { nodes { id } } }',
      'mutation { topUp(input: { idempotencyKey: "k", amount: { amount: 1, currency: "USD" } }) { replayed } }',
    ]) {
      const { status, body } = await post({ authorization }, JSON.stringify({ query }));
      expect({ query, status, code: body.errors[0].extensions.code }).toMatchObject({ code: 'INVALID' });
      expect(status).toBeLessThan(500);
      expect(body.errors[0].message).toContain('Billing-Account');
    }
  });

  test('records usage of many accounts in one request, each event naming its own', async () => {
    const [a, b] = [await subscribed(world), await subscribed(world)];
    const { token } = await keyFor(undefined);
    const event = (accountId: string | null, value: string) => ({
      transactionId: 'e1',
      metric: 'users',
      value,
      accountId,
    });
    const { data, errors } = await world.gql(
      token,
      'mutation($e: [UsageEventInput!]!) { recordUsage(input: { events: $e }) { results { status error { code field } } userErrors { code } } }',
      {
        e: [
          event(a.publicId, '3'),
          event(b.publicId, '7'),
          event('acct_01jd0000000000000000000000', '9'),
          event(null, '9'),
        ],
      },
    );
    expect(errors).toBeUndefined();
    expect(data.recordUsage.results.map((r: { status: string }) => r.status)).toEqual([
      'ACCEPTED',
      'ACCEPTED',
      'REJECTED',
      'REJECTED',
    ]);
    const used = async (of: string) =>
      (await world.gql(of, '{ usage { items { metric { code } used } } }')).data.usage.items.find(
        (i: { metric: { code: string } }) => i.metric.code === 'users',
      ).used;
    expect([await used(a.token), await used(b.token)]).toEqual(['3', '7']);
  });

  test('an account’s own token can’t leave its account: not by header, not by the event', async () => {
    const [a, b] = [await subscribed(world), await subscribed(world)];
    const { body } = await post({ authorization: `Bearer ${a.token}`, 'billing-account': b.publicId });
    expect(body.data?.viewer?.id).not.toBe(b.publicId);
    const { data } = await world.gql(
      a.token,
      'mutation($id: ID) { recordUsage(input: { events: [{ transactionId: "x", metric: "users", accountId: $id }] }) { results { status error { code } } } }',
      { id: b.publicId },
    );
    expect(data.recordUsage.results).toEqual([{ status: 'REJECTED', error: { code: 'NOT_FOUND' } }]);
  });
});

describe('a nested field needs the scope of what it shows, whatever led there', () => {
  const refused = (answer: { errors?: Loose[] }) => answer.errors?.map((error) => error.extensions.code);

  test('an invoice and its card in the answer to subscribe', async () => {
    const owner = await world.account();
    await addPaymentMethod(world.deps, owner.actor, { type: 'card', token: 'tok_visa', makeDefault: true });
    const { token } = await createKey(world.deps, { accountId: owner.id, scopes: ['subscriptions:write'] });
    const answer = await world.gql(
      token,
      'mutation{subscribe(input:{idempotencyKey:"k",planCode:"plan_starter"}){subscription{status} invoice{total{amount}}}}',
    );
    expect(answer.data.subscribe).toEqual({ subscription: { status: 'ACTIVE' }, invoice: null });
    expect(refused(answer)).toEqual(['FORBIDDEN']);
    const { token: invoices } = await createKey(world.deps, { accountId: owner.id, scopes: ['invoices:read'] });
    const cards = await world.gql(invoices, '{invoices{nodes{payments{status method{last4}}}}}');
    expect(refused(cards)).toEqual(['FORBIDDEN']);
    expect(cards.data.invoices.nodes[0].payments).toEqual([{ status: 'SUCCEEDED', method: null }]);
  });

  test('the event behind a webhook delivery', async () => {
    const owner = await world.account();
    await world.rest(owner.token, 'POST', '/webhooks', { url: 'http://127.0.0.1:9/', events: ['wallet.updated'] });
    await world.rest(owner.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });
    await world.settled();
    const { token } = await createKey(world.deps, { accountId: owner.id, scopes: ['webhooks:read'] });
    const answer = await world.gql(token, '{webhookEndpoints{deliveries{nodes{status event{data}}}}}');
    expect(refused(answer)).toEqual(['FORBIDDEN']);
  });

  test('who may write may read the same, and nothing else', async () => {
    const owner = await world.account({ scopes: ['wallet:write'] });
    expect((await world.gql(owner.token, '{wallet{balance{amount}}}')).errors).toBeUndefined();
    expect(refused(await world.gql(owner.token, '{usage{watermark}}'))).toEqual(['FORBIDDEN']);
  });
});
