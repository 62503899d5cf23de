import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKey } from '../../../src/account/apiKeys.js';
import { createAccount } from '../../../src/account/createAccount.js';
import { type Core, openCore } from '../../../src/app.js';
import { parseCatalog } from '../../../src/catalog/catalogFile.js';
import { publishCatalog } from '../../../src/catalog/publishCatalog.js';
import { readConfig } from '../../../src/config.js';
import { addPaymentMethod } from '../../../src/payment/addPaymentMethod.js';
import { type Actor, systemActor } from '../../../src/platform/actor.js';
import { clockAt } from '../../../src/platform/clock.js';
import type { Deps } from '../../../src/platform/deps.js';
import { publicId } from '../../../src/platform/ids.js';
import { createLogger } from '../../../src/platform/log.js';
import { rowsOf, type sql } from '../../../src/platform/sql.js';
import { freshKey, testCatalogYaml } from '../billing.js';
import { removeCluster, startAgain, startTemplateCluster } from '../cluster.js';
import { freePort, type Program, startProgram } from '../program.js';
import { type StripeStandin, startStripeStandin } from '../stripeStandin/standin.js';
import { asAdmin } from '../world.js';
import { type PgProxy, startPgProxy } from './pgProxy.js';

const secrets = { STRIPE_SECRET_KEY: 'sk_test_x', STRIPE_WEBHOOK_SECRET: 'whsec_test' };

export interface FaultAccount {
  id: string;
  publicId: string;
  token: string;
  actor: Actor;
}

/** A PostgreSQL of its own with a migrated template that worlds copy. It can be stopped hard and comes back on its port. */
export interface FaultCluster {
  readonly url: string;
  readonly port: number;
  /** Immediate shutdown: no checkpoint, every connection ends; the next start recovers. */
  stopHard(): Promise<void>;
  startAgain(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * The compiled server as a process of its own, which may be killed and started again; a stand-in for Stripe that outlives it; and a
 * proxy before PostgreSQL. What is checked is looked up past both.
 */
export interface FaultWorld {
  readonly cluster: FaultCluster;
  readonly proxy: PgProxy;
  readonly standin: StripeStandin;
  /** The use cases in this process, straight on the database: for making accounts and looking behind the doors. */
  readonly deps: Deps;
  readonly url: string;
  /** Starts the server and waits until it listens. */
  start(env?: Record<string, string>): Promise<void>;
  /** A second server on another port, on the same database. */
  startBeside(env?: Record<string, string>): Promise<{ url: string; program: Program }>;
  server(): Program;
  kill(): Promise<void>;
  account(options?: { card?: string | undefined; at?: Date }): Promise<FaultAccount>;
  operatorToken(): Promise<string>;
  rows<Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]>;
  /** As the owner of the tables, who may also change what is append-only. */
  ownerRows<Row>(query: ReturnType<typeof sql<Row>>): Promise<Row[]>;
  stop(): Promise<void>;
}

export async function startFaultCluster(): Promise<FaultCluster> {
  const { pg, dataDir } = await startTemplateCluster('billing-faults-pg');
  const { port, url } = pg;
  let postgres = pg;
  return {
    url,
    port,
    stopHard: async () => {
      const pid = Number(fs.readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
      process.kill(pid, 'SIGQUIT');
      while (fs.existsSync(path.join(dataDir, 'postmaster.pid')) && isAlive(pid)) await sleep(20);
    },
    startAgain: async () => {
      postgres = await startAgain(dataDir, port);
    },
    stop: async () => {
      await postgres.stop();
      removeCluster(dataDir);
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export async function startFaultWorld(
  cluster: Pick<FaultCluster, 'url' | 'port'> & Partial<FaultCluster>,
  { hooks = false, proxied = true }: { hooks?: boolean; proxied?: boolean } = {},
): Promise<FaultWorld> {
  const name = `f_${randomBytes(6).toString('hex')}`;
  await asAdmin(cluster.url, (admin) => admin.query(`create database ${name} template template_billing`));
  const databaseUrl = cluster.url.replace(/[^/]+$/, name);
  const proxy = await startPgProxy(cluster.port);
  const standin = await startStripeStandin();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  if (hooks) standin.hooks.target = { url: `${url}/webhooks/stripe`, secret: secrets.STRIPE_WEBHOOK_SECRET };
  const logFile = path.join(os.tmpdir(), `billing-faults-${name}.log`);

  const stripe = { ...secrets, STRIPE_API_BASE: standin.url };
  const config = readConfig({ ...stripe, DATABASE_URL: databaseUrl, DATABASE_POOL_SIZE: '4', LOG_LEVEL: 'silent' });
  const core: Core = await openCore({ config, databaseUrl, log: createLogger('silent') });
  await publishCatalog(core.deps, parseCatalog(testCatalogYaml));

  const spawnServer = async (env: Record<string, string>): Promise<Program> => {
    const program = startProgram('main.js', [], {
      ...stripe,
      DATABASE_URL: proxied ? databaseUrl.replace(/:\d+\//, `:${proxy.port}/`) : databaseUrl,
      DATABASE_POOL_SIZE: '20',
      WEBHOOK_ALLOW_INSECURE: '1',
      LOG_LEVEL: process.env.FAULTS_LOG ?? 'error',
      ...env,
    });
    const endWithUs = (): void => void program.process.kill('SIGKILL');
    process.once('exit', endWithUs);
    program.process.once('exit', () => {
      process.off('exit', endWithUs);
      fs.appendFileSync(logFile, `${program.stdout()}${program.stderr()}\n`);
    });
    await program.printed(/is ready/, 90_000).catch(async (error: unknown) => {
      await program.stop('SIGKILL'); // its port is wanted again
      throw error;
    });
    return program;
  };
  let server: Program | undefined;
  const beside: Program[] = [];

  return {
    cluster: cluster as FaultCluster,
    proxy,
    standin,
    deps: core.deps,
    url,
    start: async (env = {}) => {
      server = await spawnServer({ PORT: String(port), ...env });
    },
    startBeside: async (env = {}) => {
      const other = await freePort();
      const program = await spawnServer({ PORT: String(other), ...env });
      beside.push(program);
      return { url: `http://127.0.0.1:${other}`, program };
    },
    server: () => server!,
    kill: async () => {
      await server?.stop('SIGKILL');
    },
    account: async ({ card = 'tok_visa', at } = {}) => {
      const deps = at ? { ...core.deps, clock: clockAt(at) } : core.deps;
      const { id } = await createAccount(deps, { name: 'Fault' });
      const { token } = await createKey(core.deps, { accountId: id, scopes: ['*:*'] });
      const actor = systemActor(id);
      await addPaymentMethod(deps, actor, { idempotencyKey: freshKey(), type: 'card', token: card, makeDefault: true });
      return { id, publicId: publicId('account', id), token, actor };
    },
    operatorToken: async () => (await createKey(core.deps, { accountId: undefined, scopes: ['*:*'] })).token,
    rows: (query) => rowsOf(core.deps.db.orm.em.fork(), query),
    ownerRows: (query) => core.asOwner((em) => rowsOf(em, query)),
    stop: async () => {
      for (const program of [server, ...beside]) await program?.stop('SIGKILL');
      standin.hooks.target = undefined;
      await standin.stop();
      await core.close();
      await proxy.close();
      if (!process.env.FAULTS_LOG) fs.rmSync(logFile, { force: true });
    },
  };
}
