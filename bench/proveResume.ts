// npm run prove:resume -- [--events 10000] [--cuts 100] [--clients 4] [--seed 1]: clients whose connections are cut at random times
// while events are written by several transactions at once; each must hear every event once and in order. Exits with 1 otherwise.
import { createClient } from 'graphql-ws';
import { createKey } from '../src/account/apiKeys.js';
import { createAccount } from '../src/account/createAccount.js';
import { openCore } from '../src/app.js';
import { readConfig } from '../src/config.js';
import { transact } from '../src/platform/db.js';
import { createLogger } from '../src/platform/log.js';
import { removeCluster, startTemplateCluster } from '../test/support/cluster.js';
import { startProgram } from '../test/support/program.js';
import { type Random, randomFrom } from '../test/support/random.js';
import { CutSocket } from '../test/support/sockets.js';
import { option } from './options.js';
import { conclude } from './throwAwayWorld.js';

const [events, cuts, clients, seed] = [
  option('events', 10_000),
  option('cuts', 100),
  option('clients', 4),
  option('seed', 1),
];
const writers = 4;
const mostAtOnce = 20;
const longestMs = 250;
const withinMs = 300_000;

async function prove(url: string, deps: Awaited<ReturnType<typeof openCore>>['deps']): Promise<void> {
  const { id } = await createAccount(deps, { name: 'Proof' });
  const { token } = await createKey(deps, { accountId: id, scopes: ['events:read'] });
  const startedAt = performance.now();
  const followers = Array.from({ length: clients }, (_, i) => follow({ url, token, random: randomFrom(seed + i) }));
  await write(deps, id);
  const writtenMs = performance.now() - startedAt;
  const heard = await Promise.all(followers);
  conclude(
    {
      events,
      clients,
      'cuts of each client': heard.map((one) => one.cuts).join(', '),
      'cuts while events were written': heard
        .map((one) => one.cutAtMs.filter((ms) => ms < writtenMs).length)
        .join(', '),
      'written in': `${(writtenMs / 1_000).toFixed(1)} s`,
      'heard by all after': `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`,
    },
    heard.flatMap(({ seen, cutAtMs }, i) => {
      const inTime = cutAtMs.filter((ms) => ms < writtenMs).length;
      const few = inTime < cuts ? [`only ${inTime} of ${cuts} cuts fell into the time of writing`] : [];
      return [...wrongIn(seen), ...few].map((wrong) => `client ${i}: ${wrong}`);
    }),
  );
}

/** Events of random transactions, so slowly that all cuts fall into the time of writing. */
async function write(deps: Awaited<ReturnType<typeof openCore>>['deps'], accountId: string): Promise<void> {
  const random = randomFrom(seed + 1_000_000);
  let left = events;
  let told = 0;
  const pauseMs = (cuts * longestMs) / (events / (mostAtOnce / 2)) / 2;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      const count = Math.min(left, 1 + random.int(0, mostAtOnce - 1));
      left -= count;
      await transact(deps, accountId, async (tx) => {
        for (let i = 0; i < count; i++) tx.emit({ type: 'wallet.updated', data: { i } });
      });
      const done = Math.floor((10 * (events - left)) / events);
      if (done > told) process.stderr.write(`${events - left}/${events} events written\n`);
      told = Math.max(told, done);
      await new Promise((resolve) => setTimeout(resolve, pauseMs * writers));
    }
  };
  await Promise.all(Array.from({ length: writers }, lane));
}

/** Follows the log through all cuts, each time from the last event it has heard, until it has heard the last of all. */
async function follow({
  url,
  token,
  random,
}: {
  url: string;
  token: string;
  random: Random;
}): Promise<{ seen: number[]; cuts: number; cutAtMs: number[] }> {
  const seen: number[] = [];
  const cutAtMs: number[] = [];
  const startedAt = performance.now();
  const deadline = startedAt + withinMs;
  while (seen.length < events && performance.now() < deadline) {
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: CutSocket,
      retryAttempts: 0,
      connectionParams: { token },
    });
    const ended = Promise.withResolvers<void>();
    let isOver = false;
    client.subscribe<{ billingEvents: { cursor: string } }>(
      {
        query: 'subscription($after: String) { billingEvents(after: $after) { cursor type data } }',
        variables: { after: String(seen.at(-1) ?? 0) },
      },
      {
        next: ({ data }) => {
          if (isOver || !data) return; // what comes after the cut was never heard
          seen.push(Number(data.billingEvents.cursor));
          if (seen.length >= events) ended.resolve();
        },
        error: () => ended.resolve(),
        complete: () => ended.resolve(),
      },
    );
    // Some cuts come before the connection stands, some in the middle of a replay, some long after.
    const isLast = cutAtMs.length >= cuts;
    const timer = setTimeout(() => ended.resolve(), isLast ? withinMs : random.int(0, longestMs));
    await ended.promise;
    clearTimeout(timer);
    isOver = true;
    if (!isLast) cutAtMs.push(performance.now() - startedAt);
    client.terminate();
  }
  return { seen, cuts: cutAtMs.length, cutAtMs };
}

/** Where what was heard is not 1, 2, 3 … to the last. */
function wrongIn(seen: readonly number[]): string[] {
  const wrong: string[] = [];
  for (const [i, seq] of seen.entries()) {
    if (seq !== (seen[i - 1] ?? 0) + 1) wrong.push(`${seq} was heard after ${seen[i - 1] ?? 'nothing'}`);
  }
  if (seen.length !== events) wrong.push(`${seen.length} events were heard, expected ${events}`);
  return wrong.slice(0, 5);
}

const { pg, dataDir } = await startTemplateCluster('billing-prove-resume');
const env = { DATABASE_URL: pg.url, PORT: '0', LOG_LEVEL: 'error' };
const program = startProgram('main.js', [], env);
try {
  const [url] = await program.printed(/http:\/\/127\.0\.0\.1:\d+/);
  const core = await openCore({ config: readConfig(env), databaseUrl: pg.url, log: createLogger('error') });
  try {
    await prove(url, core.deps);
  } finally {
    await core.close();
  }
} finally {
  await program.stop();
  await pg.stop();
  removeCluster(dataDir);
}
