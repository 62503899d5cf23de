import pg from 'pg';
import { limitWaits, waitBudget, withoutWaitBudget, withWaitBudget } from '../../src/platform/waitBudget.js';

let pool: pg.Pool;
beforeAll(() => {
  pool = new pg.Pool({ connectionString: process.env.TEST_PG_URL!, max: 1, connectionTimeoutMillis: 10_000 });
  limitWaits(pool);
});
afterAll(() => pool.end());

const held = 'timeout exceeded when trying to connect';

test('all waits of a caller together take no longer than its budget, and what comes too late goes back', async () => {
  const holder = await pool.connect();
  const startedAt = performance.now();
  await withWaitBudget(waitBudget(200), async () => {
    await expect(pool.connect()).rejects.toThrow(held);
    await expect(pool.connect()).rejects.toThrow(held);
  });
  expect(performance.now() - startedAt).toBeLessThan(2_000);
  holder.release();
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

test('a caller without any budget left still gets a connection that is free', async () => {
  const work = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) (await pool.connect()).release();
  };
  await (await pool.connect()).release();
  await withWaitBudget(waitBudget(50), async () => {
    const holder = await withoutWaitBudget(() => pool.connect());
    await expect(pool.connect()).rejects.toThrow(held);
    holder.release();
    await new Promise((resolve) => setImmediate(resolve));
    await work();
  });
});

test('waits side by side use the budget up once', async () => {
  const wide = new pg.Pool({ connectionString: process.env.TEST_PG_URL!, max: 4, connectionTimeoutMillis: 10_000 });
  limitWaits(wide);
  const holders = await Promise.all(Array.from({ length: 4 }, () => wide.connect()));
  await withWaitBudget(waitBudget(1_500), async () => {
    const waiting = Array.from({ length: 4 }, () => wide.connect());
    setTimeout(() => holders.map((client) => client.release()), 500);
    const clients = await Promise.all(waiting); // four waits of half a second: more than the budget one after the other
    const next = wide.connect();
    setTimeout(() => clients.map((client) => client.release()), 300);
    (await next).release();
  });
  await wide.end();
});

test('what a caller sets going for others does not wait on its budget', async () => {
  const holder = await pool.connect();
  const waiting = withWaitBudget(waitBudget(20), () => withoutWaitBudget(() => pool.connect()));
  await withWaitBudget(waitBudget(100), () => expect(pool.connect()).rejects.toThrow(held));
  holder.release();
  (await waiting).release();
});
