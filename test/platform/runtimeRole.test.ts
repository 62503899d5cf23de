import { Writable } from 'node:stream';
import pg from 'pg';
import { pino } from 'pino';
import { createAccount } from '../../src/account/createAccount.js';
import { type Core, migrate, openCore } from '../../src/app.js';
import { readConfig } from '../../src/config.js';
import { guardedTables } from '../../src/entities.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { systemActor } from '../../src/platform/actor.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { createLogger } from '../../src/platform/log.js';
import { asRuntimeRole } from '../../src/platform/runtimeRole.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { checkForgettable, forgetSimulation } from '../../src/simulateForget.js';
import { topUp } from '../../src/wallet/topUp.js';
import { usd } from '../support/billing.js';
import { removeCluster, tmpDataDir } from '../support/cluster.js';
import { startWorld, until, type World } from '../support/world.js';

const refused = { code: '42501' };

describe('the application on its database', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  test.each(guardedTables.appendOnly)('cannot change or remove a row of %s', async (table) => {
    const name = sql.id(table);
    await expect(world.rows(sql`update ${name} set account_id = account_id`)).rejects.toMatchObject(refused);
    await expect(world.rows(sql`delete from ${name}`)).rejects.toMatchObject(refused);
    await expect(world.rows(sql`truncate ${name} cascade`)).rejects.toMatchObject(refused);
    expect(await world.rows(sql`select 1 from ${name} where false`)).toEqual([]);
  });

  test('an amount that was posted stays as it is, also after a reset of the session', async () => {
    const account = await world.account();
    await pay(world, account.id);
    const change = sql`update ledger_posting set amount_minor = amount_minor + 1 where account_id = ${account.id}`;
    await expect(world.rows(change)).rejects.toMatchObject(refused);
    const after = world.deps.db.orm.em.fork().transactional(async (em) => {
      await rowsOf(em as never, sql`reset role`);
      await rowsOf(em as never, sql`reset all`);
      await rowsOf(em as never, change);
    });
    await expect(after).rejects.toMatchObject(refused);
    expect(await world.ownerRows(sql`${change} returning 1`)).toHaveLength(2); // the test could fail
  });

  test('its jobs are done: row security of their tables lets them be seen', async () => {
    const account = await world.account();
    await pay(world, account.id);
    await until(
      async () => (await world.ownerRows(sql`select 1 from graphile_worker._private_jobs`)).length === 0,
      'an empty queue',
    );
  });

  test('every table of the product is open to it otherwise', async () => {
    const { url, guard } = await asRuntimeRole(world.databaseUrl, guardedTables);
    expect(guard).toEqual({ role: 'billing_app', inForce: true, reason: undefined });
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const { rows } = await client.query(
        `select c.relname from pg_class c where relnamespace in ('public'::regnamespace, 'sandbox'::regnamespace) and relkind = 'r'
           and relname <> 'mikro_orm_migrations' and relname <> all($1::text[])
           and not (has_table_privilege(oid, 'SELECT') and has_table_privilege(oid, 'INSERT')
             and has_table_privilege(oid, 'UPDATE') and has_table_privilege(oid, 'DELETE'))`,
        [guardedTables.appendOnly],
      );
      expect(rows).toEqual([]);
    } finally {
      await client.end();
    }
  });
});

/** Moves money through provider, ledger, event log and job queue. */
async function pay({ deps }: Pick<Core, 'deps'>, accountId: string): Promise<void> {
  const actor = systemActor(accountId);
  await addPaymentMethod(deps, actor, { idempotencyKey: 'card', type: 'card', token: 'tok_visa', makeDefault: true });
  expect(await topUp(deps, actor, { amount: usd('5.00') })).toMatchObject({ error: undefined });
  await deps.jobs.add('wallet.recharge', { accountId }, { jobKey: `recharge-${accountId}` });
}

describe('on a PostgreSQL that is not ours', () => {
  const dataDir = tmpDataDir('billing-roles-pg');
  let server: EmbeddedPostgres;
  let warnings: string[];
  beforeAll(async () => {
    removeCluster(dataDir);
    server = await startEmbeddedPostgres({ dataDir, durable: false, database: 'unused' });
  });
  afterAll(async () => {
    await server.stop();
    removeCluster(dataDir);
  });
  beforeEach(() => {
    warnings = [];
  });

  const asSuperuser = async (statements: readonly string[], database = 'postgres') => {
    const admin = new pg.Client({ connectionString: server.url.replace(/[^/]+$/, database) });
    await admin.connect();
    try {
      for (const statement of statements) await admin.query(statement);
    } finally {
      await admin.end();
    }
  };
  const urlOf = (login: string, database: string): string => {
    const url = new URL(server.url);
    Object.assign(url, { username: login, password: 'secret', pathname: `/${database}` });
    return url.href;
  };

  async function withProduct(
    { databaseUrl, ownerUrl }: { databaseUrl: string; ownerUrl?: string },
    work: (core: Core, accountId: string) => Promise<void>,
  ): Promise<void> {
    const lines = new Writable({
      write: (line, _, done) => {
        warnings.push(String(line));
        done();
      },
    });
    const log = pino({ level: 'warn' }, lines);
    const owner = ownerUrl === undefined ? {} : { ownerUrl };
    await migrate({ databaseUrl, ...owner, log });
    await migrate({ databaseUrl, ...owner, log }); // the second start finds everything done
    const core = await openCore({ config: readConfig({ DATABASE_URL: databaseUrl }), databaseUrl, ...owner, log });
    try {
      const { id } = await createAccount(core.deps, { name: 'Guarded' });
      await pay(core, id);
      await work(core, id);
    } finally {
      await core.close();
    }
  }
  const remove = ({ deps }: Core): Promise<unknown> => rowsOf(deps.db.orm.em.fork(), sql`delete from ledger_posting`);
  const postings = async ({ deps }: Core): Promise<number> =>
    (await rowsOf(deps.db.orm.em.fork(), sql`select 1 from ledger_posting`)).length;

  test('where no role can be made, it says so once and works unguarded', async () => {
    await asSuperuser([`create role plain login password 'secret'`, 'create database plain owner plain']);
    await withProduct({ databaseUrl: urlOf('plain', 'plain') }, async (core, accountId) => {
      expect(core.guard).toMatchObject({ role: 'plain', inForce: false, reason: 'role "billing_app" does not exist' });
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/append-only by this program alone.*billing_app/);
      await forgetSimulation(core, { accountId, suffix: '_none' });
      expect(await postings(core)).toBe(0);
    });
  });

  test('an owner that may make roles is guarded from itself, and still forgets simulations', async () => {
    await asSuperuser([`create role maker login createrole password 'secret'`, 'create database maker owner maker']);
    await withProduct({ databaseUrl: urlOf('maker', 'maker') }, async (core, accountId) => {
      expect([core.guard, warnings]).toEqual([{ role: 'billing_app', inForce: true, reason: undefined }, []]);
      await expect(remove(core)).rejects.toMatchObject(refused);
      await checkForgettable(core);
      await forgetSimulation(core, { accountId, suffix: '_none' });
      expect(await postings(core)).toBe(0);
    });
  });

  test('a login without tables runs the product when the owner migrates, and needs him to forget', async () => {
    await asSuperuser([
      `create role landlord login createrole password 'secret'`,
      `create role tenant login password 'secret'`,
      'grant billing_app to landlord with admin option',
      'create database house owner landlord',
    ]);
    const [databaseUrl, ownerUrl] = [urlOf('tenant', 'house'), urlOf('landlord', 'house')];
    await withProduct({ databaseUrl, ownerUrl }, async (core) => {
      expect([core.guard.inForce, warnings]).toEqual([true, []]);
      await expect(remove(core)).rejects.toMatchObject(refused);
      await checkForgettable(core);
    });
    const alone = await openCore({
      config: readConfig({ DATABASE_URL: databaseUrl }),
      databaseUrl,
      log: createLogger('silent'),
    });
    await expect(checkForgettable(alone)).rejects.toMatchObject({
      message: expect.stringMatching(/MIGRATION_DATABASE_URL/),
    });
    await alone.close();
  });

  test('rights that somebody gave by hand are taken back by the next migration', async () => {
    const databaseUrl = urlOf('maker', 'maker');
    await asSuperuser(['grant all on ledger_posting to billing_app'], 'maker');
    const before = await asRuntimeRole(databaseUrl, guardedTables);
    expect(before.guard).toMatchObject({ inForce: false, reason: expect.stringMatching(/may change ledger_posting/) });
    await migrate({ databaseUrl, log: createLogger('silent') });
    expect((await asRuntimeRole(databaseUrl, guardedTables)).guard.inForce).toBe(true);
  });
});
