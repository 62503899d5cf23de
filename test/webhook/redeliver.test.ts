import { sql } from '../../src/platform/sql.js';
import { type Received, type Receiver, startReceiver } from '../support/receiver.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

let world: World;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  world = await startWorld();
});
afterAll(async () => {
  await world.stop();
  await receiver.close();
});

const register = (account: TestAccount, events: string[] = []) => receiver.register(world, account, events);
const change = (account: TestAccount) =>
  world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });
const addCard = (account: TestAccount) =>
  world.rest(account.token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
const deliveriesOf = async (account: TestAccount, endpointId: string) =>
  (await world.rest(account.token, 'GET', `/webhooks/${endpointId}/deliveries`)).body.deliveries;
const redeliver = (account: TestAccount, id: string, body: object, headers: Record<string, string> = {}) =>
  world.rest(account.token, 'POST', `/webhooks/${id}/redeliver`, body, headers);
const from = '2020-01-01T00:00:00Z';
const idsAt = (path: string) => receiver.at(path).map((one) => one.headers['webhook-id']);

test('one delivery is sent again with its webhook-id; its attempts and their log go on', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  await change(account);
  await until(async () => (await deliveriesOf(account, id))[0]?.status === 'delivered', 'the delivery');
  const [{ id: delivery }] = await deliveriesOf(account, id);
  const again = await world.rest(account.token, 'POST', `/webhooks/${id}/deliveries/${delivery}/redeliver`);
  expect(again).toMatchObject({ status: 200, body: { id: delivery, status: 'pending', attempts: 1 } });
  await until(async () => (await deliveriesOf(account, id))[0]?.attempts === 2, 'the second attempt');
  await until(async () => (await deliveriesOf(account, id))[0]?.status === 'delivered', 'the second delivery');
  const { body } = await world.rest(account.token, 'GET', `/webhooks/${id}/deliveries/${delivery}`);
  expect(body.log).toMatchObject([
    { response_status: 204, response_excerpt: '', error: null, duration_ms: expect.any(Number) },
    { response_status: 204 },
  ]);
  expect(new Set(idsAt(path)).size).toBe(1);
  expect(receiver.at(path)).toHaveLength(2);
});

test('its schedule begins anew', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  receiver.answers.set(path, () => ({ status: 500 }));
  await change(account);
  await until(async () => (await deliveriesOf(account, id))[0]?.attempts === 1, 'the first attempt');
  await until(async () => (await deliveriesOf(account, id))[0]?.response_status === 500, 'its outcome');
  await world.rows(
    sql`update webhook_delivery set status = 'FAILED', attempts = 10, next_attempt_at = null where account_id = ${account.id}`,
  );
  const [{ id: delivery }] = await deliveriesOf(account, id);
  await world.rest(account.token, 'POST', `/webhooks/${id}/deliveries/${delivery}/redeliver`);
  await until(() => receiver.at(path).length === 2, 'the next attempt');
  const row = async () => (await deliveriesOf(account, id))[0];
  await until(
    async () => (await row()).attempts === 11 && new Date((await row()).next_attempt_at) < inSeconds(7),
    'a retry after 5 s',
  );
  expect(await row()).toMatchObject({ status: 'pending', response_status: 500 });
});
const inSeconds = (s: number) => new Date(world.clock.now().getTime() + s * 1_000);

test('one that is under way is not sent a second time beside it', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  receiver.answers.set(path, () => ({ status: 200, afterMs: 700 }));
  await change(account);
  await until(() => receiver.at(path).length === 1, 'the attempt');
  const [{ id: delivery }] = await deliveriesOf(account, id);
  for (let i = 0; i < 3; i++)
    await world.rest(account.token, 'POST', `/webhooks/${id}/deliveries/${delivery}/redeliver`);
  expect((await redeliver(account, id, { from })).body).toEqual({ count: 1 });
  expect(receiver.at(path)).toHaveLength(1);
  await until(async () => (await deliveriesOf(account, id))[0].status === 'delivered', 'its end');
  expect(receiver.at(path)).toHaveLength(1);
});

test('a time range sends what was delivered, what failed and what never had a delivery; the filter applies', async () => {
  const account = await world.account();
  await change(account);
  await addCard(account);
  await world.settled();
  const { id, path } = await register(account, ['wallet.*', 'payment_method.removed']);
  await change(account);
  await until(async () => (await deliveriesOf(account, id))[0]?.status === 'delivered', 'the delivery');
  expect((await redeliver(account, id, { from })).body).toEqual({ count: 2 });
  await until(() => receiver.at(path).length === 3, 'both');
  expect(receiver.at(path).map((one) => JSON.parse(one.body).type)).toEqual(Array(3).fill('wallet.updated'));
  expect(new Set(idsAt(path)).size).toBe(2);
  expect((await redeliver(account, id, { from, to: '2020-01-02T00:00:00Z' })).body).toEqual({ count: 0 });
});

test('only those that failed, and a repeat with the same key sends nothing more', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  await change(account);
  await until(async () => (await deliveriesOf(account, id))[0]?.status === 'delivered', 'the first');
  receiver.answers.set(path, () => ({ status: 500 }));
  await change(account);
  await change(account);
  await until(() => receiver.at(path).length === 3, 'two failures');
  await until(
    async () =>
      (await deliveriesOf(account, id)).filter((d: { response_status: number }) => d.response_status === 500).length ===
      2,
    'their outcomes',
  );
  await world.rows(
    sql`update webhook_delivery set status = 'FAILED', next_attempt_at = null where account_id = ${account.id} and status = 'PENDING'`,
  );
  receiver.answers.delete(path);
  const key = { 'idempotency-key': 'again' };
  const body = { from, only_failed: true };
  expect((await redeliver(account, id, body, key)).body).toEqual({ count: 2 });
  await until(
    async () => (await deliveriesOf(account, id)).every((d: { status: string }) => d.status === 'delivered'),
    'all of them',
  );
  const repeat = await redeliver(account, id, body, key);
  expect([repeat.body, repeat.headers.get('idempotent-replayed')]).toEqual([{ count: 2 }, 'true']);
  expect((await redeliver(account, id, body)).body).toEqual({ count: 0 });
  expect(receiver.at(path)).toHaveLength(5);
});

test('what failed while the endpoint was disabled is sent when it is asked for, after it was enabled', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  expect((await world.rest(account.token, 'PATCH', `/webhooks/${id}`, { enabled: false })).status).toBe(200);
  await change(account);
  await world.settled();
  expect(await redeliver(account, id, { from })).toMatchObject({ status: 409, body: { code: 'ILLEGAL_STATE' } });
  await world.rest(account.token, 'PATCH', `/webhooks/${id}`, { enabled: true });
  expect((await redeliver(account, id, { from })).body).toEqual({ count: 1 });
  await until(() => receiver.at(path).length === 1, 'the delivery');
});

test('more than 10,000 events are refused, with what to do', async () => {
  const account = await world.account();
  const { id } = await register(account, ['coupon.*']);
  await world.rows(sql`
    insert into event (account_id, id, seq, type, occurred_at, data)
    select ${account.id}, gen_random_uuid(), n, 'coupon.applied', '2021-01-01T00:00:00Z'::timestamptz + n * interval '1 s', '{}' from generate_series(1, 10001) n`);
  const { status, body } = await redeliver(account, id, { from });
  expect([status, body.errors[0].pointer, body.errors[0].detail]).toEqual([
    422,
    '/from',
    expect.stringMatching(/at most 10000 events.*narrow/),
  ]);
  expect((await redeliver(account, id, { from: '2021-01-01T02:46:41Z' })).body).toEqual({ count: 1 });
});

test('a wrong range says what was expected', async () => {
  const account = await world.account();
  const { id } = await register(account);
  const { status, body } = await redeliver(account, id, { from, to: from });
  expect([status, body.errors[0].pointer, body.errors[0].detail]).toEqual([
    422,
    '/to',
    expect.stringMatching(/Expected a time after/),
  ]);
});

test('GraphQL: one and a range, with the changed objects', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  await change(account);
  await until(async () => (await deliveriesOf(account, id))[0]?.status === 'delivered', 'the delivery');
  const [{ id: delivery }] = await deliveriesOf(account, id);
  const { data, errors } = await world.gql(
    account.token,
    `mutation($id: ID!, $delivery: ID!, $from: DateTime!) {
      redeliverWebhook(input: { idempotencyKey: "a", webhookDeliveryId: $delivery }) { webhookDelivery { id attempts test } replayed userErrors { message } }
      redeliverWebhooks(input: { idempotencyKey: "b", webhookEndpointId: $id, from: $from }) { webhookEndpoint { id } count replayed userErrors { message } }
    }`,
    { id, delivery, from },
  );
  expect(errors).toBeUndefined();
  expect(data).toMatchObject({
    redeliverWebhook: { webhookDelivery: { id: delivery, test: false }, replayed: false, userErrors: [] },
    redeliverWebhooks: { webhookEndpoint: { id }, count: 1, replayed: false, userErrors: [] },
  });
  await until(() => receiver.at(path).length >= 2, 'the delivery again');
});

test("another account's delivery is unknown, and so is one of another endpoint", async () => {
  const [owner, stranger] = [await world.account(), await world.account()];
  const { id } = await register(owner);
  const other = await register(owner);
  await change(owner);
  await until(async () => (await deliveriesOf(owner, id)).length === 1, 'the delivery');
  const [{ id: delivery }] = await deliveriesOf(owner, id);
  for (const [token, endpoint] of [
    [stranger.token, id],
    [owner.token, other.id],
  ] as const) {
    for (const [method, path] of [
      ['GET', `/webhooks/${endpoint}/deliveries/${delivery}`],
      ['POST', `/webhooks/${endpoint}/deliveries/${delivery}/redeliver`],
    ] as const)
      expect((await world.rest(token, method, path)).status).toBe(404);
  }
});

describe('a test event', () => {
  test('is sent to its endpoint alone, signed, marked, with an id of its own, and is not in the log', async () => {
    const account = await world.account();
    const { id, path } = await register(account, ['invoice.*']);
    const other = await register(account);
    const sent = await world.rest(account.token, 'POST', `/webhooks/${id}/test`, {});
    expect(sent).toMatchObject({ status: 201, body: { event_type: 'invoice.paid', test: true, status: 'pending' } });
    await until(() => receiver.at(path).length === 1, 'the test');
    const [{ headers, body }] = receiver.at(path) as [Received];
    expect(JSON.parse(body)).toMatchObject({ type: 'invoice.paid', data: { test: true, sequence: 0 } });
    expect(headers['webhook-id']).toBe(sent.body.event_id);
    expect(headers['webhook-signature']).toMatch(/^v1,\S+$/);
    await until(async () => (await deliveriesOf(account, id))[0].status === 'delivered', 'its end');
    expect((await world.rest(account.token, 'GET', '/events')).body.events).toEqual([]);
    expect(receiver.at(other.path)).toEqual([]);

    const { data } = await world.gql(
      account.token,
      '{ webhookEndpoints { id deliveries { nodes { test event { id type cursor data } } } } }',
    );
    expect(data.webhookEndpoints.find((one: { id: string }) => one.id === id).deliveries.nodes).toMatchObject([
      { test: true, event: { id: sent.body.event_id, type: 'invoice.paid', cursor: '0', data: { test: true } } },
    ]);
  });

  test('of an unknown type, or to a disabled endpoint, is refused', async () => {
    const account = await world.account();
    const { id } = await register(account);
    const ask = async (key: string, type: string | null) => {
      const { data } = await world.gql(
        account.token,
        'mutation($id: ID!, $key: String!, $type: String) { sendTestEvent(input: { idempotencyKey: $key, webhookEndpointId: $id, type: $type }) { webhookDelivery { id } replayed userErrors { code field } } }',
        { id, key, type },
      );
      return data.sendTestEvent;
    };
    expect(await ask('a', 'nope')).toMatchObject({ userErrors: [{ code: 'INVALID', field: ['type'] }] });
    const made = await ask('b', 'wallet.low');
    expect(await ask('b', 'wallet.low')).toEqual({ ...made, replayed: true });
    expect(await deliveriesOf(account, id)).toHaveLength(1);
    await world.rest(account.token, 'PATCH', `/webhooks/${id}`, { enabled: false });
    expect(await ask('c', null)).toMatchObject({
      userErrors: [{ code: 'ILLEGAL_STATE', field: ['webhookEndpointId'] }],
    });
  });
});
