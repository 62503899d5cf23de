import pg from 'pg';
import { createJobs, type Jobs } from '../../src/platform/jobs.js';
import { createLogger } from '../../src/platform/log.js';
import { sql } from '../../src/platform/sql.js';
import { type Program, startProgram } from '../support/program.js';
import { startWorld, until, type World } from '../support/world.js';

// Another process of the product takes a job and is killed over it. What looks after its jobs is in this one, with time by hand.

let world: World;
let jobs: Jobs;
let at = 0;
const running: Program[] = [];

beforeAll(async () => {
  world = await startWorld({ worker: false });
  jobs = createJobs({ url: world.databaseUrl, log: createLogger('error'), now: () => at });
});
afterAll(async () => {
  for (const program of running) await program.stop('SIGKILL');
  await jobs.stop();
  await world.stop();
});

async function startWorker(): Promise<Program> {
  const env = { ROLES: 'worker', PORT: '0', DATABASE_URL: world.databaseUrl, LOG_LEVEL: 'error' };
  const program = startProgram('main.js', [], env);
  running.push(program);
  await program.printed(/is ready/);
  return program;
}

const jobsThat = (where: ReturnType<typeof sql<boolean>>) =>
  world.rows(sql<{ id: string }>`select id from graphile_worker.jobs where ${where}`);
const locked = () => jobsThat(sql<boolean>`locked_by is not null`);
const livingWorkers = async (): Promise<number> =>
  (
    await world.rows(
      sql`select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    )
  ).length;
const afterSeconds = (seconds: number): Promise<number> => {
  at += seconds * 1_000;
  return jobs.freeOfGone();
};

/** Whatever looks at the account's wallet waits until it is released. */
async function holdWallet(accountId: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();
  await client.query('begin');
  const { rowCount } = await client.query('select 1 from wallet where account_id = $1 for update', [accountId]);
  expect(rowCount).toBe(1);
  return () => client.end();
}

test('a job of a killed process is free again within a minute and done by another; that of a living one is left to it', async () => {
  const account = await world.account();
  await world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });
  await world.settled();
  await world.ownerRows(sql`delete from graphile_worker._private_jobs`); // what that set off is not what this is about
  const release = await holdWallet(account.id);
  const worker = await startWorker();
  await until(async () => (await livingWorkers()) > 0, 'the workers saying that they live');
  await world.deps.jobs.add('wallet.recharge', { accountId: account.id });
  await until(async () => (await locked()).length === 1, 'the job being taken');
  for (let i = 0; i < 5; i++) expect(await afterSeconds(3_600)).toBe(0);
  expect(await locked()).toHaveLength(1);

  await worker.stop('SIGKILL');
  await until(async () => (await livingWorkers()) === 0, 'PostgreSQL noticing');
  expect(await afterSeconds(1)).toBe(0);
  expect(await afterSeconds(14)).toBe(0); // its connection alone may have been lost
  expect(await locked()).toHaveLength(1);
  expect(await afterSeconds(2)).toBe(1);
  expect(await locked()).toEqual([]);

  await release();
  await startWorker();
  await until(async () => (await jobsThat(sql<boolean>`true`)).length === 0, 'another process doing the job');
}, 60_000);

test('workers whose connection was lost say again that they live', async () => {
  expect(await livingWorkers()).toBeGreaterThan(0);
  const [row] = await world.rows(
    sql<{
      pid: number;
    }>`select pid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database()) limit 1`,
  );
  await world.ownerRows(sql`select pg_terminate_backend(${row!.pid})`);
  await until(async () => (await livingWorkers()) === 0, 'the loss');
  await until(async () => (await livingWorkers()) > 0, 'them saying it again');
}, 30_000);
