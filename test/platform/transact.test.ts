import { MikroORM } from '@mikro-orm/postgresql';
import { Account } from '../../src/account/account.entity.js';
import { billingErrorOf } from '../../src/api/errors.js';
import { ormConfig } from '../../src/ormConfig.js';
import { type Db, type Tx, transact } from '../../src/platform/db.js';
import { DroppingClient } from '../../src/platform/droppingClient.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { eventsOf } from '../support/billing.js';
import { type PgProxy, type Rule, startPgProxy } from '../support/faults/pgProxy.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
let proxy: PgProxy;
let orm: MikroORM;
let db: Db;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  const url = new URL(world.databaseUrl);
  proxy = await startPgProxy(Number(url.port));
  url.port = String(proxy.port);
  orm = await MikroORM.init(
    ormConfig({
      clientUrl: url.href,
      ensureDatabase: false,
      pool: { min: 0, max: 1 }, // a slot that is not given back shows at the next transaction
      driverOptions: { query_timeout: 3_000, connectionTimeoutMillis: 1_000, Client: DroppingClient },
    }),
  );
  db = { orm, log: world.deps.log, onCommit: () => {} };
});
afterEach(() => {
  proxy.rule = undefined;
});
afterAll(async () => {
  await orm.close(true);
  await proxy.close();
  await world.stop();
});

/** A rule for the nth statement like this, once. */
function once(pattern: RegExp, verdict: ReturnType<Rule>, nth = 1): Rule {
  let seen = 0;
  return (statement) => (pattern.test(statement.text) && ++seen === nth ? verdict : undefined);
}

/** Adds a mark to the account's name, by a statement and by the unit of work, and counts how often it was begun. */
async function mark(account: TestAccount): Promise<{ begun: number; error: unknown }> {
  let begun = 0;
  const work = async ({ em }: Tx): Promise<void> => {
    begun++;
    await rowsOf(em, sql`update account set name = name || '!' where id = ${account.id}`);
    (await em.findOneOrFail(Account, { id: account.id })).name += '?';
  };
  const error = await transact({ db, clock: world.clock }, account.id, work).catch((failed: unknown) => failed);
  return { begun, error };
}

const nameOf = async ({ id }: TestAccount): Promise<string> => {
  const [row] = await world.rows(sql<{ name: string }>`select name from account where id = ${id}`);
  return row!.name;
};
const marked = 'Test!?';

describe.each(['40001', '40P01'])('%s', (sqlState) => {
  test.each([
    ['the first statement', /./, 1],
    ['a statement in the middle', /^update account/, 1],
    ['the flush', /^update "account"/, 1],
    ['the COMMIT', /^commit/i, 1],
  ] as const)('at %s: the whole work runs again, and counts once', async (_where, pattern, nth) => {
    const account = await world.account();
    proxy.rule = once(pattern, { kind: 'fail', sqlState }, nth);
    const { begun, error } = await mark(account);
    expect(error).toBeUndefined();
    if (!pattern.test('begin')) expect(begun).toBe(2);
    expect(await nameOf(account)).toBe(marked);
  });
});

test('an event goes with its transaction, even when only the COMMIT fails', async () => {
  const account = await world.account();
  const emit = (): Promise<void> =>
    transact({ db, clock: world.clock }, account.id, async (tx) => tx.emit({ type: 'wallet.updated', data: {} }));
  proxy.rule = once(/^commit/i, { kind: 'fail', sqlState: '23514' });
  await expect(emit()).rejects.toMatchObject({ code: '23514' });
  expect(await eventsOf(world, account)).toEqual([]);
  await emit();
  expect((await eventsOf(world, account)).map(({ seq }) => seq)).toEqual([1n]);
});

describe('the connection is lost', () => {
  test.each([
    ['before BEGIN', /^begin/i, 'cut_before'],
    ['before a statement', /^update account/, 'cut_before'],
    ['after a statement', /^update account/, 'cut_after'],
    ['while an entity is read', /^select .*"account"/, 'cut_before'],
    ['in the flush', /^update "account"/, 'cut_after'],
  ] as const)('%s: the whole work runs again, and counts once', async (_where, pattern, kind) => {
    const account = await world.account();
    let cuts = 0;
    proxy.rule = once(pattern, { kind, seen: () => cuts++ });
    expect((await mark(account)).error).toBeUndefined();
    expect(cuts).toBe(1);
    expect(await nameOf(account)).toBe(marked);
  });

  test.each([
    ['before PostgreSQL has seen it', 'cut_before', 'Test'],
    ['after it has worked', 'cut_after', marked],
  ] as const)('at the COMMIT, %s: unknown, so that nothing runs again, and the caller hears 503', async (_when, kind, name) => {
    const account = await world.account();
    proxy.rule = once(/^commit/i, { kind });
    const { begun, error } = await mark(account);
    expect(begun).toBe(1);
    expect(billingErrorOf(error, 'r').code).toBe('UNAVAILABLE');
    expect(await nameOf(account)).toBe(name);
  });

  test('again and again: the pool keeps its only slot', async () => {
    const account = await world.account();
    for (let i = 0; i < 5; i++) {
      proxy.rule = once(/^commit/i, { kind: 'cut_before' });
      await mark(account);
    }
    proxy.rule = undefined;
    expect((await mark(account)).error).toBeUndefined();
  });
});
