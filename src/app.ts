import type { AddressInfo } from 'node:net';
import { type EntityManager, MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { createHealthServer, createServer, type Server } from './api/server.js';
import type { Config } from './config.js';
import { guardedTables } from './entities.js';
import type { PaymentProvider } from './integrations/payments/provider.js';
import { createSandboxProvider } from './integrations/payments/sandbox.js';
import { createStripeProvider } from './integrations/payments/stripe.js';
import { createPostgresPubSub } from './integrations/pubsub/postgres.js';
import type { PubSub } from './integrations/pubsub/pubsub.js';
import { ormConfig } from './ormConfig.js';
import { createAccountLocks } from './platform/accountLocks.js';
import { type Clock, systemClock } from './platform/clock.js';
import type { Db } from './platform/db.js';
import type { Deps } from './platform/deps.js';
import { DroppingClient } from './platform/droppingClient.js';
import { createDueWork } from './platform/dueWork.js';
import { createEventFeed, eventsTopic } from './platform/eventFeed.js';
import { createJobs, migrateJobs } from './platform/jobs.js';
import type { Logger } from './platform/log.js';
import { createRelay, type Relay } from './platform/relay.js';
import { asRuntimeRole, type Guard, grantRuntimeRole, runtimeRole } from './platform/runtimeRole.js';
import { createSweeps, type Sweeps } from './platform/sweeps.js';
import { usageTopic } from './platform/topics.js';
import { limitWaits, withoutWaitBudget } from './platform/waitBudget.js';
import { dueSweepsOf, jobsOf, sinksOf, sweepsOf } from './schedule.js';
import { createDeliveryPump } from './webhook/deliveryPump.js';
import { createWebhookPoster } from './webhook/postWebhook.js';

/**
 * A statement that takes longer has gone wrong, and PostgreSQL ends it. Where PostgreSQL itself has stopped answering, the
 * client gives up a little later: whoever waits is answered 503 and never hangs. Milliseconds.
 */
const timeouts = { statement_timeout: 5_000, query_timeout: 6_000, connectionTimeoutMillis: 5_000 };

/** Everything that does the work, without a door: what the command line uses. */
export interface Core {
  readonly deps: Deps;
  readonly relay: Relay;
  /** Does the database keep this process from changing what is append-only? */
  readonly guard: Guard;
  /** Runs work in one transaction of the role that owns the tables: for what the running product may not do. */
  asOwner<T>(work: (em: EntityManager) => Promise<T>): Promise<T>;
  setPublicUrl(url: string): void;
  close(): Promise<void>;
}

export interface CoreOptions {
  config: Config;
  databaseUrl: string;
  /** The same database as the role that owns the tables; by default that of `databaseUrl`. */
  ownerUrl?: string;
  log: Logger;
  clock?: Clock;
}

/**
 * Creates and upgrades all tables as their owner, and lets the login of `databaseUrl` run the product on them. Two processes
 * that start at once do it one after the other.
 */
export async function migrate({
  databaseUrl,
  ownerUrl = databaseUrl,
  log,
}: Pick<CoreOptions, 'databaseUrl' | 'ownerUrl' | 'log'>): Promise<void> {
  const lock = new pg.Client({ connectionString: ownerUrl });
  await lock.connect();
  try {
    await lock.query(`select pg_advisory_lock(hashtext('billing-migrate'))`);
    const orm = await MikroORM.init(ormConfig({ clientUrl: ownerUrl }));
    await orm.migrator.up();
    await orm.close();
    await migrateJobs({ url: ownerUrl, log });
    const logins = [decodeURIComponent(new URL(databaseUrl).username)];
    const reason = await grantRuntimeRole(lock, { ...guardedTables, logins });
    if (reason !== undefined) log.debug({ reason }, `the role ${runtimeRole} could not be made or given its rights`);
  } finally {
    await lock.end();
  }
}

/** Builds `Deps` by hand, once. */
export async function openCore(options: CoreOptions): Promise<Core> {
  const { config, log, clock = systemClock, ownerUrl = options.databaseUrl } = options;
  const { url: databaseUrl, guard } = await asRuntimeRole(options.databaseUrl, guardedTables);
  if (!guard.inForce) log.warn({ role: guard.role, reason: guard.reason }, unguarded);
  const orm = await MikroORM.init(
    ormConfig({
      clientUrl: databaseUrl,
      ensureDatabase: false, // a mistyped name is an error, not a new database
      pool: { min: 0, max: config.databasePoolSize },
      driverOptions: { ...timeouts, Client: DroppingClient, onPoolCreated: limitWaits },
      logger: (message) => log.debug({ from: 'mikro-orm' }, message),
    }),
  );
  const db: Db = { orm, log, onCommit: () => {} };
  const pubsub = await openPubSub({ config, databaseUrl, log });
  const provider = openProvider({ config, databaseUrl, log, clock });
  let publicUrl = config.publicUrl ?? `http://${config.host}:${config.port}`;
  let owner: Promise<MikroORM> | undefined;

  const features: Omit<Deps, 'dueWork'> = {
    db,
    clock,
    payments: provider.payments,
    pubsub,
    feed: createEventFeed({ db, pubsub }),
    jobs: createJobs({ url: databaseUrl, log }),
    log,
    locks: createAccountLocks({
      url: databaseUrl,
      onError: (error) => log.warn({ err: error }, 'locks of accounts: database connection lost'),
    }),
    testClocks: config.testClocks,
    webhookPolicy: { allowInsecure: config.webhookAllowInsecure },
    seller: config.seller,
    publicUrl: () => publicUrl,
  };
  const relay = createRelay({ db, pubsub, sinks: sinksOf(features) });
  const deps: Deps = {
    ...features,
    dueWork: createDueWork({ db, clock, relay, sweeps: dueSweepsOf(features) }),
  };
  db.onCommit = ({ accountId, seq, usage }) =>
    withoutWaitBudget(() => {
      if (usage) pubsub.publish(usageTopic(accountId), '');
      if (seq === undefined) return;
      pubsub.publish(eventsTopic(accountId), seq.toString()); // sockets hear of it before anything else is done with it
      relay.nudge(accountId);
    });
  return {
    deps,
    relay,
    guard,
    asOwner: async (work) => {
      owner ??= MikroORM.init(ormConfig({ clientUrl: ownerUrl, ensureDatabase: false, pool: { min: 0, max: 2 } }));
      return (await owner).em.fork().transactional((em) => work(em as EntityManager));
    },
    setPublicUrl: (url) => {
      publicUrl = config.publicUrl ?? url;
    },
    close: async () => {
      await deps.jobs.stop();
      await deps.locks.close();
      await pubsub.close();
      await provider.close();
      await orm.close();
      await (await owner?.catch(() => undefined))?.close();
    },
  };
}

const unguarded =
  `the ledger is append-only by this program alone: the database would let it change postings. To have it refuse, make the role ` +
  `${runtimeRole} and grant it to the login of DATABASE_URL, then migrate`;

/** Redis where it is configured, and only then loaded; else the database itself tells the other processes. */
async function openPubSub({
  config: { redisUrl },
  databaseUrl,
  log,
}: Pick<CoreOptions, 'config' | 'databaseUrl' | 'log'>): Promise<PubSub> {
  const onError = (error: Error): void =>
    log.warn({ err: error }, 'hints between processes are interrupted: going on by polling, and reconnecting');
  if (redisUrl === undefined) return createPostgresPubSub({ url: databaseUrl, onError });
  const { createRedisPubSub } = await import('./integrations/pubsub/redis.js');
  return createRedisPubSub({ url: redisUrl, onError });
}

/** Stripe where a key is configured, else the sandbox on a pool of its own: what it moves, no rollback takes back. */
function openProvider({ config, databaseUrl, log, clock }: Required<Omit<CoreOptions, 'ownerUrl'>>): {
  payments: PaymentProvider;
  close(): Promise<void>;
} {
  if (config.stripe) {
    if (config.stripe.webhookSecret === undefined) {
      log.warn(
        'STRIPE_WEBHOOK_SECRET is not set: what Stripe sends is not taken, and only read from its list once a minute',
      );
    }
    const payments = createStripeProvider({ ...config.stripe, onRejectedKey: (message) => log.error(message) });
    return { payments, close: async () => {} };
  }
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 5, allowExitOnIdle: true, ...timeouts });
  pool.on('error', (error) => log.warn({ err: error }, 'sandbox payments: database connection lost'));
  return { payments: createSandboxProvider({ pool, now: () => clock.now() }), close: () => pool.end() };
}

export interface App extends Core {
  readonly server: Server;
  readonly sweeps: Sweeps;
  /** `http://127.0.0.1:4000` */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Opens the doors and starts what happens by itself, as far as the process has the role for it. `stop` finishes what is under
 * way, in the order of dependence. Without `worker` the jobs and sweeps of the role rest: a test does by hand what they would.
 */
export async function startApp(options: CoreOptions & { worker?: boolean }): Promise<App> {
  const { config, log, worker = true } = options;
  const { roles } = config;
  const core = await openCore(options);
  const { deps, relay } = core;
  const poster = createWebhookPoster(deps.webhookPolicy);
  const pump = createDeliveryPump({ ...deps, poster });
  const sweeps = createSweeps({ sweeps: sweepsOf(deps, { retention: config.retention, asOwner: core.asOwner }), log });
  const server = roles.api ? await createServer(deps, config) : createHealthServer(deps);
  try {
    await server.app.listen({ host: config.host, port: config.port });
  } catch (error) {
    await core.close();
    throw error;
  }
  const { address, family, port } = server.app.server.address() as AddressInfo;
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  core.setPublicUrl(url);
  if (roles.worker) relay.start();
  if (roles.worker && worker) {
    await deps.jobs.start(jobsOf(deps));
    pump.start();
    sweeps.start();
  }
  return {
    ...core,
    server,
    sweeps,
    url,
    stop: async () => {
      await server.close();
      await sweeps.stop();
      await relay.stop();
      await pump.stop();
      await deps.jobs.stop();
      await poster.close();
      await core.close();
    },
  };
}
