import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { freePort } from './program.js';

/** Why tests with Redis can't run here; undefined where they can. `.ci/run` installs it where it may. */
export const withoutRedis: string | undefined =
  spawnSync('redis-server', ['--version']).status === 0
    ? undefined
    : 'no redis-server on this machine (apt-get install redis-server)';

export interface TestRedis {
  /** With the password. */
  readonly url: string;
  readonly password: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** On the same port. */
  start(): Promise<void>;
}

/** A redis-server of this test's own, that keeps nothing. It runs only from `start` on. */
export async function testRedis(): Promise<TestRedis> {
  const port = await freePort();
  const password = 'not-for-the-log';
  let server: ChildProcess | undefined;
  const endWithUs = (): void => void server?.kill('SIGKILL');
  process.once('exit', endWithUs);
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    password,
    kill: async () => {
      const ended = server && server.exitCode === null && server.signalCode === null ? once(server, 'exit') : undefined;
      server?.kill('SIGKILL');
      await ended;
      server = undefined;
    },
    start: async () => {
      const settings = { port, bind: '127.0.0.1', save: '', appendonly: 'no', requirepass: password };
      server = spawn(
        'redis-server',
        Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      for await (const text of server.stdout!.setEncoding('utf8').iterator({ destroyOnReturn: false }))
        if (String(text).includes('Ready to accept connections')) break;
      server.stdout!.resume();
    },
  };
}
