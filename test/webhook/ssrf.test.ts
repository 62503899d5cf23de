import { promises as dns } from 'node:dns';
import { createServer, type Server, type Socket } from 'node:net';
import { newId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { createDeliveryPump, type DeliveryPump } from '../../src/webhook/deliveryPump.js';
import { createWebhookPoster, type WebhookPoster } from '../../src/webhook/postWebhook.js';
import type { AddressLookup } from '../../src/webhook/targetAddress.js';
import { startReceiver } from '../support/receiver.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

// The way from registration to delivery, with a canary in our own network that nobody may ever touch.

let world: World;
let canary: { port: number; touched: number; servers: Server[] };
/** What names resolve to now; every other name is asked of nobody. */
const names = new Map<string, string>();
const lookup: AddressLookup = async (hostname) => {
  const address = names.get(hostname) ?? hostname;
  return [{ address, family: address.includes(':') ? 6 : 4 }];
};
const systemLookup = dns.lookup;
let poster: WebhookPoster;
let pump: DeliveryPump;

beforeAll(async () => {
  world = await startWorld({ worker: false, env: { WEBHOOK_ALLOW_INSECURE: '0' } });
  canary = { port: 0, touched: 0, servers: [] };
  for (const host of ['127.0.0.1', '::1']) {
    const server = createServer((socket: Socket) => {
      canary.touched += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(canary.port, host, resolve));
    canary.port = (server.address() as { port: number }).port;
    canary.servers.push(server);
  }
  Object.assign(dns, { lookup }); // as the registration resolves names
  poster = createWebhookPoster({ allowInsecure: false }, { lookup });
  pump = createDeliveryPump({ ...world.deps, poster });
  pump.start();
});
afterAll(async () => {
  Object.assign(dns, { lookup: systemLookup });
  await pump.stop();
  await poster.close();
  await world.stop();
  for (const server of canary.servers) await new Promise((resolve) => server.close(resolve));
});
afterEach(() => expect(canary.touched).toBe(0));

const outcomes = async (account: TestAccount) =>
  world.rows(sql<{ error: string; response_status: number | null }>`
    select error, response_status from webhook_attempt where account_id = ${account.id}`);
const change = (account: TestAccount) =>
  world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });

const hosts = [
  ['IPv4', '127.0.0.1'],
  ['decimal', '2130706433'],
  ['octal', '0177.0.0.1'],
  ['hex', '0x7f.0.0.1'],
  ['short', '127.1'],
  ['all zeros', '0.0.0.0'],
  ['IPv6', '[::1]'],
  ['mapped', '[::ffff:127.0.0.1]'],
  ['mapped in hex', '[::ffff:7f00:1]'],
  ['compatible', '[::127.0.0.1]'],
  ['NAT64', '[64:ff9b::127.0.0.1]'],
  ['6to4', '[2002:7f00:1::]'],
  ['a local name', 'localhost'],
] as const;

test.each(hosts)('%s (%s) is refused at registration', async (_what, host) => {
  const account = await world.account();
  const { status, body } = await world.rest(account.token, 'POST', '/webhooks', {
    url: `https://${host}:${canary.port}/`,
  });
  expect([status, body.errors[0].pointer]).toEqual([422, '/url']);
});

test.each(hosts)('%s (%s) is refused at delivery, were it registered all the same', async (_what, host) => {
  names.set('localhost', '127.0.0.1');
  const account = await world.account();
  await world.rows(sql`
    insert into webhook_endpoint (account_id, id, url, events, enabled, secret, created_at)
    values (${account.id}, ${newId()}, ${`https://${host}:${canary.port}/`}, '{}', true, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', now() - interval '1 day')`);
  await change(account);
  await until(async () => (await outcomes(account)).length === 1, 'the attempt');
  expect(await outcomes(account)).toEqual([{ error: 'address not allowed', response_status: null }]);
});

test.each([
  '127.0.0.1',
  '::1',
  '::ffff:127.0.0.1',
])('a name that is public at registration and %s at delivery is refused then', async (address) => {
  const account = await world.account();
  names.set('hooks.example.com', '93.184.215.14');
  const made = await world.rest(account.token, 'POST', '/webhooks', {
    url: `https://hooks.example.com:${canary.port}/`,
  });
  expect(made.status).toBe(201);
  names.set('hooks.example.com', address);
  await change(account);
  await until(async () => (await outcomes(account)).length === 1, 'the attempt');
  expect(await outcomes(account)).toEqual([{ error: 'address not allowed', response_status: null }]);
});

test('a name that is not public is refused at registration, and at an update', async () => {
  const account = await world.account();
  names.set('inside.example.com', '10.0.0.7').set('outside.example.com', '93.184.215.14');
  const refused = { status: 422, body: { errors: [{ pointer: '/url' }] } };
  const inside = { url: `https://inside.example.com:${canary.port}/` };
  expect(await world.rest(account.token, 'POST', '/webhooks', inside)).toMatchObject(refused);
  const made = await world.rest(account.token, 'POST', '/webhooks', { url: 'https://outside.example.com/' });
  expect(await world.rest(account.token, 'PATCH', `/webhooks/${made.body.id}`, inside)).toMatchObject(refused);
});

test('a redirect leads nowhere', async () => {
  const receiver = await startReceiver();
  receiver.answers.set('/', () => ({ status: 307, headers: { location: `http://127.0.0.1:${canary.port}/` } }));
  const lax = createWebhookPoster({ allowInsecure: true });
  const { status, error } = await lax.post({ url: `${receiver.url}/`, headers: {}, body: '{}' });
  expect([status, error, receiver.received.length]).toEqual([307, 'redirect', 1]);
  await lax.close();
  await receiver.close();
});
