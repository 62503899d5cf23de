import { Webhook } from 'standardwebhooks';
import type { LoggedEvent } from '../../src/platform/eventLog.js';
import { sql } from '../../src/platform/sql.js';
import { createDeliveryPump } from '../../src/webhook/deliveryPump.js';
import type { WebhookPoster } from '../../src/webhook/postWebhook.js';
import { webhookBody } from '../../src/webhook/webhookBody.js';
import { type Received, type Receiver, startReceiver } from '../support/receiver.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

let world: World;
/** Nothing is delivered by itself here. */
let idle: World;
let receiver: Receiver;
let answers: Receiver['answers'];
let at: Receiver['at'];

beforeAll(async () => {
  receiver = await startReceiver();
  ({ answers, at } = receiver);
  world = await startWorld();
  idle = await startWorld({ worker: false });
});

afterAll(async () => {
  await world.stop();
  await idle.stop();
  await receiver.close();
});

const register = (account: TestAccount, events: string[] = [], on: World = world) =>
  receiver.register(on, account, events);

const change = (account: TestAccount, enabled: boolean, on: World = world) =>
  on.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled, threshold: 1, amount: 5 });

async function deliveries(account: TestAccount, endpointId: string) {
  const { data, errors } = await world.gql(
    account.token,
    '{webhookEndpoints{id deliveries{nodes{id status attempts nextAttemptAt responseStatus durationMs event{id type cursor} log{responseStatus error responseExcerpt}}}}}',
  );
  if (errors) throw new Error(JSON.stringify(errors));
  return data.webhookEndpoints.find((endpoint: { id: string }) => endpoint.id === endpointId)?.deliveries.nodes;
}

test('an event reaches the endpoint once, signed, with the REST shape and its place in the log', async () => {
  const account = await world.account();
  const { id, path, secret } = await register(account);
  await change(account, false);
  await until(() => at(path).length === 1, 'the delivery');
  const [{ headers, body }] = at(path) as [Received];

  expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
  expect(() => new Webhook(secret).verify(body.replace('false', 'true'), headers)).toThrow();
  const sent = JSON.parse(body);
  expect(Object.keys(sent)).toEqual(['type', 'timestamp', 'data']);
  expect(sent).toMatchObject({
    type: 'wallet.updated',
    data: { currency: 'USD', auto_recharge: { enabled: false }, sequence: 1 },
  });
  expect(body).toContain('"balance":0.00');

  await until(async () => (await deliveries(account, id))[0]?.status === 'DELIVERED', 'the log');
  const [delivery] = await deliveries(account, id);
  expect(delivery).toMatchObject({
    attempts: 1,
    nextAttemptAt: null,
    responseStatus: 204,
    event: { id: headers['webhook-id'], cursor: '1' },
  });
});

test('an endpoint gets only the types it asked for, and nothing from before it was there', async () => {
  const account = await world.account();
  await change(account, false);
  const some = await register(account, ['payment_method.added']);
  await world.rest(account.token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
  await change(account, true);
  await until(() => at(some.path).length === 1, 'the delivery');
  await world.settled();
  expect(at(some.path).map((one) => JSON.parse(one.body).type)).toEqual(['payment_method.added']);
});

test('a failure is tried again with the same id, by the schedule, until it succeeds', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  let failures = 2;
  answers.set(path, () => (failures-- > 0 ? { status: 500, body: 'not today' } : { status: 200 }));
  await change(account, false);
  await until(() => at(path).length === 1, 'the first attempt');
  await until(async () => (await deliveries(account, id))[0]?.log.length === 1, 'its log');
  const [first] = await deliveries(account, id);
  expect(first).toMatchObject({ status: 'PENDING', attempts: 1, responseStatus: 500 });
  expect(first.log[0]).toMatchObject({ responseStatus: 500, responseExcerpt: 'not today' });
  const waitMs = new Date(first.nextAttemptAt).getTime() - world.clock.now().getTime();
  expect(waitMs).toBeGreaterThan(2_000);
  expect(waitMs).toBeLessThan(6_500); // 5 s ± 20 %, less what has passed

  for (const attempts of [2, 3]) {
    await world.rows(
      sql`update webhook_delivery set next_attempt_at = ${new Date(world.clock.now().getTime() - 60_000)} where status = 'PENDING'`,
    );
    await until(() => at(path).length === attempts, `attempt ${attempts}`);
    await until(
      async () => (await deliveries(account, id))[0]?.log.length === attempts,
      `the log of attempt ${attempts}`,
    );
  }
  expect((await deliveries(account, id))[0]).toMatchObject({ status: 'DELIVERED', attempts: 3, nextAttemptAt: null });
  expect(new Set(at(path).map((one) => one.headers['webhook-id'])).size).toBe(1);
});

test('410 disables the endpoint, and nothing more is sent there', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  answers.set(path, () => ({ status: 410 }));
  await change(account, false);
  await until(async () => (await deliveries(account, id))[0]?.status === 'FAILED', 'the end of the delivery');
  await change(account, true);
  await world.settled();
  expect(at(path)).toHaveLength(1);
  const { body } = await world.rest(account.token, 'GET', '/webhooks');
  expect(body.webhooks[0].enabled).toBe(false);
});

test('Retry-After of the receiver is honoured', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  answers.set(path, () => ({ status: 503, headers: { 'retry-after': '600' } }));
  await change(account, false);
  await until(async () => (await deliveries(account, id))[0]?.log.length === 1, 'the attempt');
  const [delivery] = await deliveries(account, id);
  expect(new Date(delivery.nextAttemptAt).getTime() - world.clock.now().getTime()).toBeGreaterThan(590_000);
});

test('a deleted endpoint gets nothing more', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  expect((await world.rest(account.token, 'DELETE', `/webhooks/${id}`)).status).toBe(204);
  await change(account, false);
  await world.settled();
  expect(at(path)).toEqual([]);
  expect((await world.rest(account.token, 'GET', '/webhooks')).body).toEqual({ webhooks: [] });
});

test('a delivery claimed by a process that died is sent again after its lease', async () => {
  const account = await world.account();
  const { id, path } = await register(account);
  answers.set(path, () => ({ status: 500 }));
  await change(account, false);
  await until(async () => (await deliveries(account, id))[0]?.log.length === 1, 'the attempt');
  answers.delete(path);
  // As a process leaves it that was killed between the claim and the answer.
  await world.rows(
    sql`update webhook_delivery set attempts = 2, next_attempt_at = ${new Date(world.clock.now().getTime() + 30_000)},
      leased_until = ${new Date(world.clock.now().getTime() + 30_000)} where status = 'PENDING'`,
  );
  world.clock.advanceMs(20_000);
  await change(account, true);
  await until(() => at(path).length === 2, 'what was due after it');
  expect(new Set(at(path).map((one) => one.headers['webhook-id'])).size).toBe(2); // not yet the first again
  world.clock.advanceMs(20_000);
  await until(async () => (await deliveries(account, id))[1]?.status === 'DELIVERED', 'the delivery');
  world.clock.advanceMs(-40_000);
});

test('an endpoint that hangs with many queued does not keep the others waiting', async () => {
  const [slow, quick] = [await world.account(), await world.account()];
  const hanging = await register(slow);
  answers.set(hanging.path, () => 'hang');
  const other = await register(quick);
  for (let i = 0; i < 40; i++) await change(slow, false);
  await until(() => at(hanging.path).length >= 4, 'the attempts that hang');
  await change(quick, false);
  const startedAt = Date.now();
  await until(() => at(other.path).length === 1, 'the delivery of the other');
  expect(Date.now() - startedAt).toBeLessThan(5_000); // generous; one attempt to the hanging endpoint lasts 15 s
  expect(at(hanging.path).length).toBeLessThan(10);
});

test('an attempt cut off by our own stop is none: it is given back, due at once', async () => {
  const account = await idle.account();
  await register(account, [], idle);
  await change(account, false, idle);
  const row = async () => {
    const [found] = await idle.rows(sql<{ attempts: number; next_attempt_at: string; status: string; leased: boolean }>`
      select attempts, next_attempt_at, status, leased_until is not null as leased from webhook_delivery where account_id = ${account.id}`);
    return found;
  };
  await until(async () => (await row())?.status === 'PENDING', 'the delivery');

  const begun = Promise.withResolvers<void>();
  const aborted = {
    ok: false,
    status: null,
    durationMs: 1,
    responseExcerpt: '',
    error: 'aborted',
    retryAfterSeconds: null,
    gone: false,
  };
  const poster: WebhookPoster = {
    post: async (_input, signal) => {
      begun.resolve();
      await new Promise((resolve) => signal?.addEventListener('abort', resolve));
      return aborted;
    },
    close: async () => {},
  };
  const pump = createDeliveryPump({ ...idle.deps, poster });
  pump.start();
  await begun.promise;
  expect(await row()).toMatchObject({ status: 'PENDING', attempts: 1, leased: true });
  await pump.stop();
  const after = await row();
  expect(after).toMatchObject({ status: 'PENDING', attempts: 0, leased: false });
  expect(new Date(after!.next_attempt_at).getTime()).toBeLessThanOrEqual(idle.clock.now().getTime());
  expect(await idle.rows(sql`select 1 from webhook_attempt where account_id = ${account.id}`)).toEqual([]);
});

test('nothing is sent for a change that was refused', async () => {
  const account = await world.account();
  const { path } = await register(account);
  expect(
    (await world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: true, threshold: 1, amount: -5 }))
      .status,
  ).toBe(422);
  await change(account, false);
  await until(() => at(path).length > 0, 'the delivery of the change that was not');
  expect(at(path).map((one) => JSON.parse(one.body).data.sequence)).toEqual([1]);
});

test("another account's endpoint is unknown", async () => {
  const [owner, other] = [await world.account(), await world.account()];
  const { id } = await register(owner);
  expect((await world.rest(other.token, 'DELETE', `/webhooks/${id}`)).status).toBe(404);
  expect((await world.rest(other.token, 'GET', `/webhooks/${id}/deliveries`)).status).toBe(404);
});

describe('where insecure targets are not allowed', () => {
  let strict: World;
  beforeAll(async () => {
    strict = await startWorld({ worker: false, env: { WEBHOOK_ALLOW_INSECURE: '0' } });
  });
  afterAll(() => strict.stop());

  test.each([
    'http://example.com/',
    'https://127.0.0.1/',
    'https://localhost/',
    'https://10.0.0.1/',
    'https://[::1]/',
    'https://169.254.169.254/latest',
  ])('%s is refused through both doors, with the field', async (url) => {
    const account = await strict.account();
    const rest = await strict.rest(account.token, 'POST', '/webhooks', { url });
    expect(rest).toMatchObject({ status: 422, body: { code: 'INVALID', errors: [{ pointer: '/url' }] } });
    const { data } = await strict.gql(
      account.token,
      'mutation($url:String!){createWebhookEndpoint(input:{idempotencyKey:"k",url:$url}){webhookEndpoint{id} userErrors{code field}}}',
      { url },
    );
    expect(data.createWebhookEndpoint).toEqual({
      webhookEndpoint: null,
      userErrors: [{ code: 'INVALID', field: ['url'] }],
    });
    expect((await strict.rest(account.token, 'GET', '/webhooks')).body).toEqual({ webhooks: [] });
  });
});

test('a body over 20 kB leaves the lines out and says so', () => {
  const event: LoggedEvent = {
    accountId: '',
    seq: 1n,
    id: '',
    type: 'invoice.paid',
    occurredAt: new Date(0),
    data: {
      id: 'inv_1',
      lines: Array.from({ length: 500 }, (_, i) => ({ description: `Line ${i} of a very long invoice` })),
    },
  };
  const body = webhookBody(event);
  expect(Buffer.byteLength(body)).toBeLessThanOrEqual(20_000);
  expect(JSON.parse(body).data).toEqual({ id: 'inv_1', lines_omitted: true });
});
