import { Webhook } from 'standardwebhooks';
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
afterEach(() => world.clock.set(new Date()));

const hour = 3_600_000;
const register = (account: TestAccount, events: string[] = []) => receiver.register(world, account, events);
const change = (account: TestAccount) =>
  world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });
const update = (account: TestAccount, id: string, body: object) =>
  world.rest(account.token, 'PATCH', `/webhooks/${id}`, body);
const rotate = (account: TestAccount, id: string, headers = {}) =>
  world.rest(account.token, 'POST', `/webhooks/${id}/rotate-secret`, undefined, headers);
const endpointOf = async (account: TestAccount, id: string) =>
  (await world.rest(account.token, 'GET', '/webhooks')).body.webhooks.find((one: { id: string }) => one.id === id);
const deliveriesOf = async (account: TestAccount, id: string) =>
  (await world.rest(account.token, 'GET', `/webhooks/${id}/deliveries`)).body.deliveries;
const eventsOf = async (account: TestAccount) => (await world.rest(account.token, 'GET', '/events')).body.events;

/** Who can verify a delivery, by the secrets given; the signature's time is not looked at. */
function verifiers({ headers, body }: Received, secrets: readonly string[]): number[] {
  const sent = headers['webhook-signature']!.split(' ');
  const at = new Date(Number(headers['webhook-timestamp']) * 1_000);
  const signs = secrets.map((secret) => new Webhook(secret).sign(headers['webhook-id']!, at, body));
  return sent.map((signature) => signs.indexOf(signature));
}

describe('a rotated secret', () => {
  test('signs beside the old one for 24 h, the newest first; then alone', async () => {
    const account = await world.account();
    const { id, path, secret: first } = await register(account);
    const second = (await rotate(account, id)).body.secret;
    const third = (await rotate(account, id)).body.secret;
    expect(new Set([first, second, third]).size).toBe(3);
    await change(account);
    await until(() => receiver.at(path).length === 1, 'a delivery');
    world.clock.advanceMs(24 * hour + 1_000);
    await change(account);
    await until(() => receiver.at(path).length === 2, 'a delivery a day later');
    expect(receiver.at(path).map((one) => verifiers(one, [third, second, first]))).toEqual([[0, 1, 2], [0]]);
  });

  test('is shown again to a repeat with its key, also after another rotation, and to nobody else', async () => {
    const account = await world.account();
    const created = { 'idempotency-key': 'create' };
    const body = { url: `${receiver.url}/never` };
    const made = await world.rest(account.token, 'POST', '/webhooks', body, created);
    const first = await rotate(account, made.body.id, { 'idempotency-key': 'a' });
    const second = await rotate(account, made.body.id, { 'idempotency-key': 'b' });
    const again = await rotate(account, made.body.id, { 'idempotency-key': 'a' });
    expect([again.body.secret, again.headers.get('idempotent-replayed')]).toEqual([first.body.secret, 'true']);
    expect(second.body.secret).not.toBe(first.body.secret);
    const createdAgain = await world.rest(account.token, 'POST', '/webhooks', body, created);
    expect(createdAgain.body.secret).toBe(made.body.secret);
    expect(JSON.stringify((await world.rest(account.token, 'GET', '/webhooks')).body)).not.toMatch(/whsec|secret/);
  });

  test('is one of five at most; another has to wait for the oldest to end', async () => {
    const account = await world.account();
    const { id } = await register(account);
    for (let i = 0; i < 4; i++) expect((await rotate(account, id)).status).toBe(200);
    const fifth = await rotate(account, id);
    expect(fifth).toMatchObject({ status: 422, body: { code: 'LIMIT_EXCEEDED', detail: /5 secrets.*ends at 20/ } });
    world.clock.advanceMs(24 * hour + 1_000);
    expect((await rotate(account, id)).status).toBe(200);
  });

  test('comes by GraphQL as well', async () => {
    const account = await world.account();
    const { id } = await register(account);
    const { data } = await world.gql(
      account.token,
      'mutation($id: ID!) { rotateWebhookSecret(input: { idempotencyKey: "r", webhookEndpointId: $id }) { webhookEndpoint { id secret } replayed userErrors { code } } }',
      { id },
    );
    expect(data.rotateWebhookSecret).toEqual({
      webhookEndpoint: { id, secret: expect.stringMatching(/^whsec_/) },
      replayed: false,
      userErrors: [],
    });
  });
});

describe('an update', () => {
  test('moves the endpoint and changes what it gets; what is left out stays', async () => {
    const account = await world.account();
    const { id, path } = await register(account);
    const next = '/moved';
    expect((await update(account, id, { url: receiver.url + next })).body).toMatchObject({
      url: receiver.url + next,
      events: [],
    });
    expect((await update(account, id, { events: ['wallet.*'] })).body).toMatchObject({
      url: receiver.url + next,
      events: ['wallet.*'],
      enabled: true,
    });
    await world.rest(account.token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
    await change(account);
    await until(() => receiver.at(next).length === 1, 'the delivery');
    await world.settled();
    expect(receiver.at(next).map((one) => JSON.parse(one.body).type)).toEqual(['wallet.updated']);
    expect(receiver.at(path)).toEqual([]);
  });

  test.each([
    [{ url: 'http://10.0.0.1/' }, '/url', /public host/],
    [{ url: 'ftp://example.com/' }, '/url', /absolute https or http URL/],
    [{ events: ['invoice.*', 'nope'] }, '/events/1', /expected one of/],
    [{ enabled: 'yes' }, '/enabled', /expected true or false/],
  ])('to %j is refused as at registration', async (body, pointer, detail) => {
    const account = await world.account();
    const { id } = await register(account);
    const before = await endpointOf(account, id);
    expect(await update(account, id, body)).toMatchObject({
      status: 422,
      body: { errors: [{ pointer, detail: expect.stringMatching(detail) }] },
    });
    expect(await endpointOf(account, id)).toEqual(before);
  });

  test('with nothing in it says what was expected', async () => {
    const account = await world.account();
    const { id } = await register(account);
    const { status, body } = await update(account, id, {});
    expect([status, body.detail]).toEqual([422, expect.stringMatching(/url, events or enabled/)]);
  });

  test('that disables lets what waits fail, and is shown with when and why', async () => {
    const account = await world.account();
    const { id, path } = await register(account);
    receiver.answers.set(path, () => ({ status: 500 }));
    await change(account);
    await until(async () => (await deliveriesOf(account, id))[0]?.response_status === 500, 'a failure');
    expect((await deliveriesOf(account, id))[0].status).toBe('pending');
    const { data } = await world.gql(
      account.token,
      'mutation($id: ID!) { updateWebhookEndpoint(input: { idempotencyKey: "u", webhookEndpointId: $id, enabled: false }) { webhookEndpoint { enabled disabledAt disabledReason failingSince } replayed userErrors { code } } }',
      { id },
    );
    const { webhookEndpoint } = data.updateWebhookEndpoint;
    expect(webhookEndpoint).toEqual({
      enabled: false,
      disabledAt: expect.any(String),
      disabledReason: 'OWNER',
      failingSince: expect.any(String),
    });
    expect((await deliveriesOf(account, id))[0]).toMatchObject({ status: 'failed', next_attempt_at: null });
    expect((await update(account, id, { enabled: true })).body).toMatchObject({
      enabled: true,
      disabled_at: null,
      disabled_reason: null,
      failing_since: null,
    });
    expect(await eventsOf(account)).toHaveLength(1); // its owner did it, and needs no notice
  });
});

describe('an endpoint that fails', () => {
  const failingSince = (days: number) =>
    world.rows(sql`update webhook_endpoint set failing_since = ${new Date(world.clock.now().getTime() - days * 24 * hour)}
      where failing_since is not null`);

  test('says since when, until it succeeds', async () => {
    const account = await world.account();
    const { id, path } = await register(account);
    receiver.answers.set(path, () => ({ status: 500 }));
    await change(account);
    await until(async () => (await endpointOf(account, id)).failing_since !== null, 'since when');
    const { failing_since } = await endpointOf(account, id);
    await change(account);
    await until(async () => (await deliveriesOf(account, id))[0].response_status === 500, 'another failure');
    expect((await endpointOf(account, id)).failing_since).toBe(failing_since);
    receiver.answers.delete(path);
    await change(account);
    await until(async () => (await endpointOf(account, id)).failing_since === null, 'a success');
  });

  test.each([
    [4.9, true],
    [5, false],
  ])('for %s days is still enabled: %s; others and the log hear of its end', async (days, enabled) => {
    const account = await world.account();
    const { id, path } = await register(account);
    const other = await register(account, ['webhook_endpoint.*']);
    receiver.answers.set(path, () => ({ status: 500 }));
    await change(account);
    await until(async () => (await endpointOf(account, id)).failing_since !== null, 'a failure');
    await failingSince(days);
    await change(account);
    await until(async () => (await deliveriesOf(account, id))[0].response_status === 500, 'the last failure');
    if (enabled) {
      expect(await endpointOf(account, id)).toMatchObject({ enabled: true, disabled_reason: null });
      expect((await eventsOf(account)).map((event: { type: string }) => event.type)).not.toContain(
        'webhook_endpoint.disabled',
      );
      return;
    }
    await until(() => receiver.at(other.path).length === 1, 'the notice');
    const notice = JSON.parse(receiver.at(other.path)[0]!.body);
    expect(notice).toMatchObject({
      type: 'webhook_endpoint.disabled',
      data: { id, url: receiver.url + path, enabled: false, reason: 'failing', disabled_reason: 'failing' },
    });
    expect(new Date(notice.data.failing_since).getTime()).toBeLessThan(world.clock.now().getTime() - 4 * 24 * hour);
    expect(JSON.stringify(notice)).not.toMatch(/whsec|secret/);
    expect((await eventsOf(account)).at(-1)).toMatchObject({ type: 'webhook_endpoint.disabled', data: { id } });
    expect((await deliveriesOf(account, id)).map((one: { status: string }) => one.status)).toEqual([
      'failed',
      'failed',
    ]);
    expect((await endpointOf(account, id)).disabled_at).not.toBeNull();
  });

  test('by 410 is disabled at once, and its owner told', async () => {
    const account = await world.account();
    const { id, path } = await register(account);
    receiver.answers.set(path, () => ({ status: 410 }));
    await change(account);
    await until(async () => (await deliveriesOf(account, id))[0]?.response_status === 410, 'the answer');
    expect(await endpointOf(account, id)).toMatchObject({ enabled: false, disabled_reason: 'gone' });
    expect((await deliveriesOf(account, id))[0].status).toBe('failed');
    expect(
      (await eventsOf(account)).filter((event: { type: string }) => event.type === 'webhook_endpoint.disabled'),
    ).toMatchObject([{ data: { id, reason: 'gone' } }]);
  });
});
