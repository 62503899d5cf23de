import {
  listenWebhooks,
  loopbackSecrets,
  type ReceivedWebhook,
  type WebhookListener,
} from '../../src/webhook/listenWebhooks.js';
import { createSecret, signatureHeaders } from '../../src/webhook/signature.js';
import { startWorld, type World } from '../support/world.js';

const body = '{"type":"wallet.topped_up","timestamp":"2026-11-22T21:45:00.000Z","data":{"balance":49.00}}';

let listener: WebhookListener;
let secrets: string[];
let reads: number;
let verified: ReceivedWebhook[];
let refused: { id: string; status: number; reason: string }[];

beforeEach(async () => {
  secrets = [createSecret(), createSecret()];
  reads = 0;
  verified = [];
  refused = [];
  listener = await listenWebhooks({
    host: '127.0.0.1',
    port: 0,
    readSecrets: async () => {
      reads++;
      return [...secrets];
    },
    onVerified: (webhook) => verified.push(webhook),
    onRefused: (refusal) => refused.push(refusal),
  });
});
afterEach(() => listener.close());

async function post(options: { secret: string; at?: Date; sent?: string }): Promise<number> {
  const headers = signatureHeaders({ id: 'evt_1', at: options.at ?? new Date(), body, secrets: [options.secret] });
  const { status } = await fetch(listener.url, { method: 'POST', headers, body: options.sent ?? body });
  return status;
}

test('a delivery signed with any known secret is answered 204 and handed over with its digits', async () => {
  expect(await post({ secret: secrets[1]! })).toBe(204);
  expect(JSON.stringify(verified)).toBe(`[{"id":"evt_1",${body.slice(1)}]`);
  expect(refused).toEqual([]);
});

test('what is not signed, signed otherwise, changed or old is answered 401 and said to be refused', async () => {
  expect((await fetch(listener.url, { method: 'POST', body })).status).toBe(401);
  expect(await post({ secret: createSecret() })).toBe(401);
  expect(await post({ secret: secrets[0]!, sent: body.replace('49.00', '490.0') })).toBe(401);
  expect(await post({ secret: secrets[0]!, at: new Date(Date.now() - 600_000) })).toBe(401);
  expect(verified).toEqual([]);
  expect(refused.map(({ id, status }) => `${status} ${id}`)).toEqual(['401 ', '401 evt_1', '401 evt_1', '401 evt_1']);
});

test('an unknown signature makes it read the secrets again, a known one does not', async () => {
  expect(await post({ secret: secrets[0]! })).toBe(204);
  expect(await post({ secret: secrets[1]! })).toBe(204);
  expect(reads).toBe(1);
  secrets.push(createSecret());
  expect(await post({ secret: secrets[2]! })).toBe(204);
  expect(reads).toBe(2);
});

test('without any secret it says so', async () => {
  secrets = [];
  expect(await post({ secret: createSecret() })).toBe(401);
  expect(refused[0]!.reason).toBe('no secret is known for this port');
});

test('a body above 1 MB is answered 413, another method 405', async () => {
  const large = await fetch(listener.url, { method: 'POST', body: 'x'.repeat(1_000_001) });
  expect(large.status).toBe(413);
  const get = await fetch(listener.url);
  expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
});

describe('secrets in the database', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ worker: false });
  });
  afterAll(() => world.stop());

  test('are those of the endpoints, of any account, that point at the port of this machine', async () => {
    const [one, two] = [await world.account(), await world.account()];
    const register = async (account: typeof one, url: string) =>
      (await world.rest(account.token, 'POST', '/webhooks', { url })).body as { id: string; secret: string };
    const here = [
      await register(one, 'http://127.0.0.1:4001/hook'),
      await register(one, 'http://localhost:4001/'),
      await register(two, 'http://[::1]:4001/'),
    ];
    await register(one, 'http://127.0.0.1:4002/');
    await register(one, 'http://127.0.0.1/?port=:4001');
    await register(one, 'http://1.1.1.1:4001/');
    const gone = await register(two, 'http://127.0.0.1:4001/gone');
    await world.rest(two.token, 'DELETE', `/webhooks/${gone.id}`);

    const found = await loopbackSecrets(world.deps.db.orm.em.fork(), 4001);
    expect(found.toSorted()).toEqual(here.map(({ secret }) => secret).toSorted());
    expect(await loopbackSecrets(world.deps.db.orm.em.fork(), 80)).toHaveLength(1);
  });
});
