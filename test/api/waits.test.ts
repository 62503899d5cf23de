import { startWorld, type World } from '../support/world.js';

const connections = 2;
let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false, env: { DATABASE_POOL_SIZE: String(connections) } });
});
afterAll(() => world.stop());

test('a request that finds no connection is told so well before the pool itself would give up, whichever door it takes', async () => {
  const account = await world.account();
  await world.gql(account.token, '{ wallet { id } }'); // from now on its key is known
  const holders = Array.from({ length: connections }, () => world.deps.db.orm.em.fork());
  for (const holder of holders) {
    await holder.begin();
    await holder.execute('select 1');
  }
  try {
    for (const ask of [
      () => world.gql(account.token, '{ wallet { id } invoices(first: 1) { nodes { id } } paymentMethods { id } }'),
      () => world.rest(account.token, 'POST', '/wallet/top-up', { amount: 5 }),
    ]) {
      const startedAt = performance.now();
      expect((await ask()).status).toBe(503);
      expect(performance.now() - startedAt).toBeLessThan(4_500); // the pool waits 5 s for each
    }
  } finally {
    for (const holder of holders) await holder.rollback();
  }
  expect((await world.gql(account.token, '{ wallet { id } }')).errors).toBeUndefined();
});
