import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { removeCluster, tmpDataDir } from '../support/cluster.js';
import { until } from '../support/world.js';

const dataDir = tmpDataDir('billing-shared-pg');
const start = (role: 'server' | 'command'): Promise<EmbeddedPostgres> =>
  startEmbeddedPostgres({ dataDir, durable: false, role });
const pidFile = path.join(dataDir, 'postmaster.pid');

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

beforeAll(() => removeCluster(dataDir));
afterAll(() => removeCluster(dataDir));

test('of several first starts at once one makes the cluster and the others join it', async () => {
  const all = await Promise.all([start('server'), start('command'), start('server')]);
  expect(all.filter(({ owned }) => owned)).toHaveLength(1);
  expect(new Set(all.map(({ url }) => url)).size).toBe(1);
  for (const one of all.filter(({ owned }) => !owned)) await one.stop();
  await all.find(({ owned }) => owned)!.stop();
  expect(fs.existsSync(pidFile)).toBe(false);
});

test('a command that started the cluster stops it only when those who joined are through', async () => {
  const owner = await start('command');
  const joined = await start('command');
  expect([owner.owned, joined.owned]).toEqual([true, false]);
  let stopped = false;
  const stopping = owner.stop().then(() => {
    stopped = true;
  });
  await until(() => someoneWaits(joined.url), 'the owner to wait');
  expect(stopped).toBe(false);
  expect(await answers(joined.url)).toBe(true);

  const late = start('command'); // no longer lets anybody join
  await joined.stop();
  await stopping;
  expect((await late).owned).toBe(true);
  await (await late).stop();
});

test('a server does not build on the cluster of a command: it waits and starts it itself', async () => {
  const command = await start('command');
  let up = false;
  const server = start('server').then((started) => {
    up = true;
    return started;
  });
  const bystander = await start('command'); // one that may join has joined, so the server has had its chance
  await bystander.stop();
  expect(up).toBe(false);
  await command.stop();
  expect((await server).owned).toBe(true);
  await (await server).stop();
});

test('a server stops its cluster at once, whoever has joined', async () => {
  const server = await start('server');
  const joined = await start('command');
  await server.stop();
  expect(await answers(joined.url)).toBe(false);
  await joined.stop();
});

(process.platform === 'linux' ? test : test.skip)(
  'kill -9 of the owner stops the cluster, and the next start works at once',
  async () => {
    const module = path.resolve(import.meta.dirname, '../../src/platform/embeddedPostgres.js');
    const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
    await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, durable: false });
    process.stdout.write('up'); setInterval(() => {}, 1000);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(owner.stdout, 'data');
    const postmaster = Number(fs.readFileSync(pidFile, 'utf8').split('\n')[0]);
    owner.kill('SIGKILL');
    const next = await start('server');
    expect(next.owned).toBe(true);
    expect(
      fs.existsSync(`/proc/${postmaster}`) &&
        !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${postmaster}/stat`, 'utf8')),
    ).toBe(false);
    await next.stop();
  },
);

test('a pid file left behind whose pid is now another program does not keep the cluster from starting', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  try {
    fs.writeFileSync(pidFile, [other.pid, dataDir, 0, 1, '', '127.0.0.1', '', 'ready', ''].join('\n'));
    const started = await start('server');
    expect(started.owned).toBe(true);
    await started.stop();
  } finally {
    other.kill('SIGKILL');
    await once(other, 'exit');
  }
});

async function someoneWaits(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url.replace(/[^/]+$/, 'postgres') });
  await client.connect();
  try {
    const { rows } = await client.query(`select 1 from pg_locks where locktype = 'advisory' and not granted`);
    return rows.length > 0;
  } finally {
    await client.end();
  }
}
