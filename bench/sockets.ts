// Many sockets on one process: memory of an idle one, deliveries a second, and how long an event takes from its COMMIT to each
// client, beside a bare `ws` broadcast of the same texts in the same run. `npm run bench:sockets -- --sockets 5000 --events 40`
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { WebSocket } from 'ws';
import { createKey } from '../src/account/apiKeys.js';
import { createAccount } from '../src/account/createAccount.js';
import { openCore } from '../src/app.js';
import { columns } from '../src/cliTerminal.js';
import { readConfig } from '../src/config.js';
import { transact } from '../src/platform/db.js';
import { createLogger } from '../src/platform/log.js';
import { removeCluster, startTemplateCluster } from '../test/support/cluster.js';
import { startProgram } from '../test/support/program.js';
import { option } from './options.js';

const count = option('sockets', 5_000);
/** Events one by one, each when the last has reached everybody; and events that come in one COMMIT. */
const events = option('events', 40);
const burst = option('burst', 20);
const turns = option('turns', 3);
const atOnce = 100;
const withinMs = 60_000;

/** One side of the comparison: a server in a process of its own, with all its clients here. */
interface Side {
  readonly name: string;
  readonly pid: number;
  readonly idleBytes: number;
  /** Makes so many events happen at once; returns when they have. */
  emit(count: number): Promise<number>;
  readonly heard: Heard;
  close(): Promise<void>;
}

/** What the clients of a side have heard, in all. */
class Heard {
  total = 0;
  lastAt = 0;
  #from = 0;
  delays: number[] = [];
  #wanted = 0;
  #done = (): void => {};

  hear(): void {
    this.total++;
    this.lastAt = performance.now();
    this.delays.push(this.lastAt - this.#from);
    if (this.total === this.#wanted) this.#done();
  }

  /** Waits until `more` have been heard of what happened at a time; throws when some don't come. */
  async expect(more: number, from: Promise<number> | number): Promise<void> {
    this.#wanted = this.total + more;
    const done = new Promise<void>((resolve) => {
      this.#done = resolve;
    });
    this.delays = [];
    this.#from = performance.now(); // until it is known; nothing is heard before it has happened
    const at = await from;
    this.delays = this.delays.map((delay) => Math.max(0, delay + this.#from - at));
    this.#from = at;
    if (this.total >= this.#wanted) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.#wanted - this.total} of ${more} were not heard`)), withinMs);
    });
    await Promise.race([done, late]).finally(() => clearTimeout(timer));
  }
}

const { pg, dataDir } = await startTemplateCluster('billing-bench-sockets');
const closing: (() => Promise<unknown>)[] = [];
try {
  const ours = await startOurs();
  const bare = await startBare(ours.text());
  await compare(ours, bare);
} finally {
  for (const close of closing.reverse()) await close();
  await pg.stop();
  removeCluster(dataDir);
}

/** The product as `main.js` runs it; events are committed by this process, so that the hint crosses processes as well. */
async function startOurs(): Promise<Side & { text: () => string }> {
  const env = { DATABASE_URL: pg.url, PORT: '0', LOG_LEVEL: 'error' };
  const program = startProgram('main.js', [], env);
  closing.push(() => program.stop());
  const [url] = await program.printed(/http:\/\/127\.0\.0\.1:\d+/);
  const core = await openCore({ config: readConfig(env), databaseUrl: pg.url, log: createLogger('error') });
  closing.push(() => core.close());
  const { id } = await createAccount(core.deps, { name: 'Bench' });
  const { token } = await createKey(core.deps, { accountId: id, scopes: ['*'] });
  const heard = new Heard();
  let last = '';
  const connect = async (): Promise<WebSocket> => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { token } }));
    await once(socket, 'message');
    const query = 'subscription { billingEvents(after: "0") { cursor type occurredAt data } }';
    socket.send(JSON.stringify({ id: crypto.randomUUID(), type: 'subscribe', payload: { query } }));
    socket.on('message', (data: Buffer) => {
      if (!data.includes('"type":"next"')) return;
      if (heard.total % count === 0) last = data.toString();
      heard.hear();
    });
    return socket;
  };
  const { idleBytes, close } = await fill('Semaswift Billing', program.process.pid!, connect);
  const emit = async (n: number): Promise<number> => {
    let at = 0;
    const { onCommit } = core.deps.db;
    core.deps.db.onCommit = (hint) => {
      at = performance.now();
      onCommit(hint);
    };
    await transact(core.deps, id, async (tx) => {
      for (let i = 0; i < n; i++) tx.emit({ type: 'wallet.updated', data: { balance: 250, currency: 'USD', i } });
    });
    core.deps.db.onCommit = onCommit;
    return at;
  };
  await heard.expect(count, emit(1)); // from the beginning of the log: also whoever is not subscribed yet hears it
  return { name: 'Semaswift Billing', pid: program.process.pid!, idleBytes, emit, heard, close, text: () => last };
}

async function startBare(text: string): Promise<Side> {
  const child: ChildProcess = fork(path.join(import.meta.dirname, 'bareBroadcast.js'));
  closing.push(async () => child.disconnect());
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const heard = new Heard();
  const { idleBytes, close } = await fill('bare ws broadcast', child.pid!, async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    await once(socket, 'open');
    socket.on('message', () => heard.hear());
    return socket;
  });
  const emit = async (n: number): Promise<number> => {
    const at = performance.now();
    child.send({ texts: Array.from({ length: n }, () => text) });
    return at;
  };
  await heard.expect(count, emit(1));
  return { name: 'bare ws broadcast', pid: child.pid!, idleBytes, emit, heard, close };
}

/** Opens all sockets of a side; returns how much more memory its process has then, a socket. */
async function fill(
  name: string,
  pid: number,
  connect: () => Promise<WebSocket>,
): Promise<{ idleBytes: number; close(): Promise<void> }> {
  const before = residentBytes(pid);
  const sockets: WebSocket[] = [];
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < count) {
      begun++;
      sockets.push(await connect());
      if (sockets.length % 1_000 === 0) process.stderr.write(`${name}: ${sockets.length}/${count} sockets\n`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  const idleBytes = (residentBytes(pid) - before) / count;
  return { idleBytes, close: async () => sockets.forEach((socket) => void socket.terminate()) };
}

/** What the process holds in memory, by Linux. */
function residentBytes(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1_024;
}

async function compare(...sides: Side[]): Promise<void> {
  const results = new Map(sides.map((side) => [side, { delays: [] as number[], rates: [] as number[] }]));
  for (let turn = 0; turn < turns; turn++) {
    for (const side of sides) {
      const { delays, rates } = results.get(side)!;
      for (let i = 0; i < events; i++) {
        await side.heard.expect(count, side.emit(1));
        for (const delay of side.heard.delays) delays.push(delay);
      }
      const at = side.emit(burst);
      await side.heard.expect(count * burst, at);
      rates.push((1_000 * count * burst) / (side.heard.lastAt - (await at)));
      process.stderr.write(`turn ${turn + 1}/${turns}: ${side.name}\n`);
    }
  }
  const rows = sides.map((side) => {
    const { delays, rates } = results.get(side)!;
    const sorted = Float64Array.from(delays).sort();
    const at = (share: number): string => `${sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(1)} ms`;
    const perSecond = [...rates].sort((a, b) => a - b)[Math.floor(rates.length / 2)]!;
    return [
      side.name,
      `${(side.idleBytes / 1_024).toFixed(1)} kB`,
      Math.round(perSecond).toLocaleString('en-US'),
      at(0.5),
      at(0.99),
      at(1),
    ];
  });
  console.log(`\n${count} sockets, ${turns} × (${events} single events, then ${burst} in one COMMIT)\n`);
  console.log(columns([['', 'memory a socket', 'deliveries/s', 'p50', 'p99', 'max'], ...rows]));
}
