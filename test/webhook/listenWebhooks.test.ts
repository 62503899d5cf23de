import {
  listenWebhooks,
  loopbackSecrets,
  type ReceivedWebhook,
  type WebhookListener,
} from '../../src/webhook/listenWebhooks.js';
import { behaved, type Misbehaviour } from '../../src/webhook/misbehave.js';
import { createSecret, signatureHeaders } from '../../src/webhook/signature.js';
import { startWorld, until, type World } from '../support/world.js';

const body = '{"type":"wallet.topped_up","timestamp":"2026-11-22T21:45:00.000Z","data":{"balance":49.00}}';

let listener: WebhookListener;
let secrets: string[];
let reads: number;
let verified: ReceivedWebhook[];
let refused: { id: string; status: number; reason: string }[];

const listen = (misbehaviour: Partial<Misbehaviour> = {}, random?: () => number): Promise<WebhookListener> =>
  listenWebhooks({
    host: '127.0.0.1',
    port: 0,
    readSecrets: async () => {
      reads++;
      return [...secrets];
    },
    misbehaviour: { ...behaved, ...misbehaviour },
    ...(random && { random }),
    onVerified: (webhook) => verified.push(webhook),
    onRefused: (refusal) => refused.push(refusal),
  });

beforeEach(async () => {
  secrets = [createSecret(), createSecret()];
  reads = 0;
  verified = [];
  refused = [];
  listener = await listen();
});
afterEach(() => listener.close());

async function post(options: { secret: string; at?: Date; sent?: string }): Promise<number> {
  return (await send(options)).status;
}
const send = (options: {
  secret: string;
  at?: Date;
  sent?: string;
  id?: string;
  signal?: AbortSignal;
}): Promise<Response> => {
  const { id = 'evt_1', at = new Date(), secret, sent = body, signal } = options;
  const headers = signatureHeaders({ id, at, body, secrets: [secret] });
  return fetch(listener.url, { method: 'POST', headers, body: sent, ...(signal && { signal }) });
};

test('a delivery signed with any known secret is answered 204 and handed over with its digits', async () => {
  expect(await post({ secret: secrets[1]! })).toBe(204);
  expect(JSON.stringify(verified)).toBe(`[{"id":"evt_1",${body.slice(1, -1)},"attempt":1}]`);
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

describe('what is done wrong on purpose', () => {
  const misbehave = async (misbehaviour: Partial<Misbehaviour>, random?: () => number): Promise<void> => {
    await listener.close();
    listener = await listen(misbehaviour, random);
  };
  const secret = () => secrets[0]!;
  const told = () => verified.map(({ id, attempt, fault }) => `${id} ${attempt} ${fault ?? 'taken'}`);

  test('the first attempts of each delivery fail as asked, and what then comes again is taken as a repeat', async () => {
    await misbehave({ failFirst: 2, status: 503, retryAfter: 7 });
    const first = await send({ secret: secret() });
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '7']);
    expect([await post({ secret: secret() }), await post({ secret: secret() })]).toEqual([503, 204]);
    expect((await send({ secret: secret(), id: 'evt_2' })).status).toBe(503);
    expect(told()).toEqual([
      'evt_1 1 answered 503 with Retry-After: 7',
      'evt_1 2 answered 503 with Retry-After: 7',
      'evt_1 3 taken',
      'evt_2 1 answered 503 with Retry-After: 7',
    ]);
  });

  test('shares are of all deliveries: those to drop, and of the rest those to fail', async () => {
    const draws = [0.1, 0.5, 0.65, 0.9];
    await misbehave({ drop: 0.4, fail: 0.5 }, () => draws.shift()!);
    await expect(send({ secret: secret(), id: 'evt_1' })).rejects.toThrow('fetch failed');
    const statuses = [];
    for (const id of ['evt_2', 'evt_3', 'evt_4']) statuses.push((await send({ secret: secret(), id })).status);
    expect(statuses).toEqual([500, 500, 204]);
    expect(told()).toEqual(['evt_1 1 dropped', 'evt_2 1 answered 500', 'evt_3 1 answered 500', 'evt_4 1 taken']);
  });

  test('everything, or nothing', async () => {
    await misbehave({ drop: 1 });
    await expect(send({ secret: secret() })).rejects.toThrow('fetch failed');
    await misbehave({ fail: 1 }, () => 0.999);
    expect(await post({ secret: secret() })).toBe(500);
    await misbehave({ fail: 0, drop: 0 }, () => 0);
    expect(await post({ secret: secret() })).toBe(204);
  });

  test('an answer comes late, and who has hung up meanwhile is said to have', async () => {
    await misbehave({ delayMs: 50 });
    expect(await post({ secret: secret() })).toBe(204);
    const hangingUp = new AbortController();
    await misbehave({ delayMs: 200 });
    const given = send({ secret: secret(), signal: hangingUp.signal });
    await until(() => reads === 2); // it is known by its signature, and waits
    hangingUp.abort();
    await expect(given).rejects.toThrow('aborted');
    await until(() => verified.length === 2);
    expect(told()).toEqual([
      'evt_1 1 answered 204 after 0.05 s',
      'evt_1 1 answered 204 after 0.2 s, the sender had hung up',
    ]);
  });

  test('what is not signed is refused as ever, and counts as no attempt', async () => {
    await misbehave({ fail: 1, failFirst: 1 });
    expect(await post({ secret: createSecret() })).toBe(401);
    expect(await post({ secret: secret() })).toBe(500);
    expect(told()).toEqual(['evt_1 1 answered 500']);
  });

  test('closing does not wait for an answer that is held back', async () => {
    await misbehave({ delayMs: 60_000 });
    const given = send({ secret: secret() });
    await until(() => reads === 1);
    const startedAt = performance.now();
    await listener.close();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await expect(given).rejects.toThrow('fetch failed');
  });
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
