import { sql } from '../src/platform/sql.js';
import { changeWallet, type ProcessWorld, startProcessWorld } from './support/processes/processWorld.js';
import { type TestRedis, testRedis, withoutRedis } from './support/redis.js';
import { connect, listen } from './support/sockets.js';
import { until } from './support/world.js';

// One role a process, each a process of its own; this one only looks into the database, and has no part in the work.

if (withoutRedis !== undefined) process.stderr.write(`Processes that meet by Redis are not tested: ${withoutRedis}\n`);

describe.each(['LISTEN and NOTIFY', 'Redis'])('processes that tell each other by %s', (kind) => {
  const test = kind === 'Redis' && withoutRedis !== undefined ? globalThis.test.skip : globalThis.test;
  let redis: TestRedis | undefined;
  let world: ProcessWorld;
  let api: string;
  beforeAll(async () => {
    if (kind === 'Redis') {
      if (withoutRedis !== undefined) return;
      redis = await testRedis();
      await redis.start();
    }
    world = await startProcessWorld(redis ? { REDIS_URL: redis.url, LOG_LEVEL: 'warn' } : {});
    ({ url: api } = await world.start('api'));
  }, 60_000);
  afterAll(async () => {
    await world?.stop();
    await redis?.kill();
  });

  const query = 'subscription { billingEvents(after: "0") { cursor type } }';
  const outbox = () => world.rows(sql`select 1 from outbox`);

  test('without a worker sockets hear of a commit at once, and what else is to be done waits', async () => {
    const account = await world.account();
    const client = connect({ url: api }, account.token);
    const heard = listen(client, query);
    await changeWallet(api, account);
    await heard.first(1);
    const startedAt = performance.now();
    await changeWallet(api, account);
    await heard.first(2);
    expect(performance.now() - startedAt).toBeLessThan(2_500); // and not by the feed's own look every five seconds
    expect(await outbox()).toHaveLength(2);
    expect(await world.rows(sql`select 1 from graphile_worker.jobs`)).toEqual([]);
    await client.dispose();
  });

  test('a worker takes up what waits, and then what is told to it; it has no doors', async () => {
    const { url: worker } = await world.start('worker');
    await until(async () => (await outbox()).length === 0, 'what waited');
    await changeWallet(api, await world.account());
    await until(async () => (await outbox()).length === 0, 'what was told');

    const statusOf = async (path: string): Promise<number> => (await fetch(worker + path)).status;
    expect(await statusOf('/healthz')).toBe(200);
    expect(await statusOf('/readyz')).toBe(200);
    for (const path of ['/graphql?query={__typename}', '/graphiql', '/api/v1/billing/plans', '/webhooks/stripe', '/'])
      expect(await statusOf(path)).toBe(404);
  }, 60_000);

  test('a change made by the worker is heard on a socket of the other process', async () => {
    const account = await world.account();
    const client = connect({ url: api }, account.token);
    const heard = listen(client, query);
    await changeWallet(api, account);
    await heard.first(1);
    // The wallet comes due, as if it had been used: only the worker's sweep looks.
    await world.rows(
      sql`update wallet set low_threshold_minor = 100, low_due_at = now() where account_id = ${account.id}`,
    );
    const events = await heard.first(2);
    expect(events[1].data.billingEvents.type).toBe('wallet.low');
    await client.dispose();
  }, 30_000);

  if (kind === 'Redis')
    test('without Redis nothing is lost, only late; nobody is told its password', async () => {
      const account = await world.account();
      const client = connect({ url: api }, account.token);
      const heard = listen(client, query);
      await changeWallet(api, account);
      await heard.first(1);
      await redis!.kill();
      await changeWallet(api, account);
      await heard.first(2); // its own process tells it
      await until(async () => (await outbox()).length === 0, 'the worker, by its poll');
      await world.rows(
        sql`update wallet set low_threshold_minor = 100, low_due_at = now() where account_id = ${account.id}`,
      );
      await heard.first(3); // of the other process, by the feed's own look
      await client.dispose();
      await redis!.start();
      await until(() => world.printed().includes('"msg":"hints between processes are interrupted'), 'a word about it');
      expect(world.printed()).not.toContain(redis!.password);
    }, 60_000);
});
