import { type EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { ormConfig } from '../../src/ormConfig.js';
import { DroppingClient } from '../../src/platform/droppingClient.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { startWorld, until, type World } from '../support/world.js';

let world: World;
let orm: MikroORM;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  orm = await MikroORM.init(
    ormConfig({
      clientUrl: world.databaseUrl,
      ensureDatabase: false,
      pool: { min: 0, max: 1 },
      driverOptions: { query_timeout: 400, connectionTimeoutMillis: 2_000, Client: DroppingClient },
    }),
  );
});
afterAll(async () => {
  await orm.close(true);
  await world.stop();
});

const backend = async (em: EntityManager): Promise<number> => {
  const [row] = await rowsOf(em, sql<{ pid: number }>`select pg_backend_pid() as pid`);
  return row!.pid;
};

test.each([
  'in a statement',
  'at the commit',
])('a session that freezes %s is given up: its only pool slot and its locks are free again', async (where) => {
  const account = await world.account();
  let pid = 0;
  const frozen = orm.em.fork().transactional(async (em) => {
    pid = await backend(em as EntityManager);
    await rowsOf(em as EntityManager, sql`update account set name = 'held' where id = ${account.id}`);
    process.kill(pid, 'SIGSTOP');
    if (where === 'in a statement') await rowsOf(em as EntityManager, sql`select 1`);
  });
  await expect(frozen).rejects.toThrow(/read timeout/i);
  process.kill(pid, 'SIGCONT');
  // The pool has one slot: this needs it back, and the lock as well.
  await until(async () => {
    const em = orm.em.fork();
    return (await backend(em)) !== pid;
  }, 'another session');
  await rowsOf(orm.em.fork(), sql`update account set name = 'free' where id = ${account.id}`);
  const [row] = await world.rows(sql<{ name: string }>`select name from account where id = ${account.id}`);
  expect(row!.name).toBe('free');
});
