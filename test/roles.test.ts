import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { sql } from '../src/platform/sql.js';
import { type Program, startProgram } from './support/program.js';
import { listen } from './support/sockets.js';
import { startWorld, until, type World } from './support/world.js';

// One role a process, each a process of its own; this one only looks into the database, and has no part in the work.

let world: World;
let [api, worker] = ['', ''];
const running: Program[] = [];

async function start(ROLES: string): Promise<string> {
  const env = { ROLES, PORT: '0', DATABASE_URL: world.databaseUrl, WEBHOOK_ALLOW_INSECURE: '1', LOG_LEVEL: 'error' };
  const program = startProgram('main.js', [], env);
  running.push(program);
  const [, url] = await program.printed(/Health +(http\S+)\/healthz/);
  return url!;
}

beforeAll(async () => {
  world = await startWorld({ worker: false });
  await world.relay.stop();
  api = await start('api');
}, 60_000);
afterAll(async () => {
  for (const program of running) await program.stop();
  await world.stop();
});

const setUp = (token: string, enabled: boolean): Promise<Response> =>
  fetch(`${api}/api/v1/billing/wallet/auto-recharge`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ enabled, threshold: 1, amount: 5 }),
  });
const outbox = () => world.rows(sql`select 1 from outbox`);

test('without a worker sockets hear of a commit at once, and what else is to be done waits', async () => {
  const account = await world.account();
  const client = createClient({
    url: `${api.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${account.token}` },
  });
  const heard = listen(client, 'subscription { billingEvents(after: "0") { cursor type } }');
  expect((await setUp(account.token, true)).status).toBe(200);
  await heard.first(1);
  const startedAt = performance.now();
  expect((await setUp(account.token, false)).status).toBe(200);
  await heard.first(2);
  expect(performance.now() - startedAt).toBeLessThan(2_500); // and not by the feed's own look every five seconds
  expect(await outbox()).toHaveLength(2);
  expect(await world.rows(sql`select 1 from graphile_worker.jobs`)).toEqual([]);
  await client.dispose();
});

test('a worker takes up what waits, and then what is told to it; it has no doors', async () => {
  worker = await start('worker');
  await until(async () => (await outbox()).length === 0, 'what waited');
  const account = await world.account();
  const startedAt = performance.now();
  await setUp(account.token, true);
  await until(async () => (await outbox()).length === 0, 'what was told');
  expect(performance.now() - startedAt).toBeLessThan(5_000);

  const statusOf = async (path: string): Promise<number> => (await fetch(worker + path)).status;
  expect(await statusOf('/healthz')).toBe(200);
  expect(await statusOf('/readyz')).toBe(200);
  for (const path of ['/graphql?query={__typename}', '/graphiql', '/api/v1/billing/plans', '/webhooks/stripe', '/'])
    expect(await statusOf(path)).toBe(404);
}, 60_000);

test('a change made by the worker is heard on a socket of the other process', async () => {
  const account = await world.account();
  const client = createClient({
    url: `${api.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${account.token}` },
  });
  const heard = listen(client, 'subscription { billingEvents(after: "0") { cursor type } }');
  await setUp(account.token, true);
  await heard.first(1);
  // The wallet comes due, as if it had been used: only the worker's sweep looks.
  await world.rows(
    sql`update wallet set low_threshold_minor = 100, low_due_at = now() where account_id = ${account.id}`,
  );
  const events = await heard.first(2);
  expect(events[1].data.billingEvents.type).toBe('wallet.low');
  await client.dispose();
}, 30_000);
