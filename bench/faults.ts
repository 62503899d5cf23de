// npm run faults -- [--runs 100] [--seed 1] [--only 'kill -9'] [--lanes 4]: the faults that money must survive, as real processes
// killed, connections cut and a provider that fails; prints a table, and exits with 1 when anything was lost, doubled or late.
import { SingleBar } from 'cli-progress';
import { expect } from 'expect';
import { columns } from '../src/cliTerminal.js';
import { proveEventOrder } from '../test/support/eventOrders.js';
import {
  type FaultCluster,
  type FaultWorld,
  startFaultCluster,
  startFaultWorld,
} from '../test/support/faults/faultWorld.js';
import type { Run } from '../test/support/faults/killPoints.js';
import { type FaultRow, faultTable, randomOf, runsOf } from '../test/support/faults/table.js';
import { startStripeWorld } from '../test/support/stripeWorld.js';
import { option, text } from './options.js';

const [runs, seed, lanes] = [option('runs', 100), option('seed', 1), option('lanes', 4)];
const only = text('only', '').toLowerCase();

interface Result {
  name: string;
  runs: number;
  boundMs: number | undefined;
  measured: string;
  worstMs: number;
  seconds: number;
  violations: string[];
}

const eventRow = 'Stripe events repeated, shuffled, delayed, dropped';
const rows = faultTable.filter(({ name }) => name.toLowerCase().includes(only));
const results: Result[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130)); // and the servers with us
const cluster = await startFaultCluster();
try {
  for (const row of rows) results.push(await runRow(row));
  if (eventRow.toLowerCase().includes(only)) results.push(await runEvents());
} finally {
  await cluster.stop();
}
report();

async function runRow(row: FaultRow): Promise<Result> {
  const total = runsOf(row, runs);
  const startedAt = performance.now();
  const bar = progress(row.name, total);
  const done: Run[] = [];
  const attempt = async (world: FaultWorld, i: number): Promise<{ isUsable: boolean }> => {
    let isUsable = true;
    try {
      done.push(await row.run({ world, random: randomOf(row, seed, i), i, runs: total, progress: () => bar.step() }));
    } catch (error) {
      done.push({ worstMs: 0, violations: [`run ${i} broke off: ${(error as Error).stack}`] });
      isUsable = false;
    }
    if (!row.whole) bar.step();
    return { isUsable };
  };
  let begun = 0;
  const lane = async (): Promise<void> => {
    // A row that starts its servers itself has a fresh world for each run; any other goes on in the same one until a run breaks off.
    while (begun < total) {
      const world = await worldFor(row, cluster);
      try {
        for (let i = begun++; i < total; i = begun++) {
          const { isUsable } = await attempt(world, i);
          if (row.whole) begun = total;
          if (row.env === undefined || !isUsable) break;
        }
      } finally {
        await world.stop();
      }
    }
  };
  await Promise.all(Array.from({ length: row.whole || row.alone ? 1 : Math.min(lanes, total) }, lane));
  bar.stop();
  const result: Result = {
    name: row.name,
    runs: total,
    boundMs: row.boundMs,
    measured: row.measured,
    worstMs: Math.max(...done.map(({ worstMs }) => worstMs)),
    seconds: Math.round((performance.now() - startedAt) / 1000),
    violations: done.flatMap(({ violations, worstMs }) => [
      ...violations,
      ...(worstMs > row.boundMs
        ? [`${row.measured} after ${Math.round(worstMs)} ms, expected ${row.boundMs} at most`]
        : []),
    ]),
  };
  // The table comes at the end of an hour; whoever breaks off before keeps what is known by then.
  process.stderr.write(
    `${row.name}: ${total} runs, worst ${Math.round(result.worstMs)} ms, ${result.violations.length} violations\n`,
  );
  return result;
}

async function worldFor(row: FaultRow, of: FaultCluster): Promise<FaultWorld> {
  const world = await startFaultWorld(of, { hooks: row.hooks ?? false, proxied: !row.direct });
  if (row.env) await world.start({ ...row.env });
  return world;
}

/** In one process: what counts is the order in which events come, and time moves by hand. */
async function runEvents(): Promise<Result> {
  Object.assign(globalThis, { expect }); // what the tests check with, outside of a test
  process.env.TEST_PG_URL = cluster.url;
  const total = 2 * runs;
  const startedAt = performance.now();
  const bar = progress(eventRow, total);
  const violations: string[] = [];
  const world = await startStripeWorld();
  for (let i = 0; i < total; i++) {
    await proveEventOrder(world, seed * 1_000_000 + i).catch((error: Error) => violations.push(error.message));
    bar.step();
  }
  bar.stop();
  await world.stop();
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return { name: eventRow, runs: total, boundMs: undefined, measured: '', worstMs: 0, seconds, violations };
}

/** A bar for people; a line now and then where nobody watches. */
function progress(name: string, total: number): { step(): void; stop(): void } {
  let done = 0;
  if (!process.stderr.isTTY) {
    const step = (): void => {
      if (++done % Math.max(1, Math.ceil(total / 10)) === 0) process.stderr.write(`${name}: ${done}/${total}\n`);
    };
    return { step, stop: () => {} };
  }
  const bar = new SingleBar({ format: `${name} {bar} {value}/{total} {eta_formatted}`, stream: process.stderr });
  bar.start(total, 0);
  return { step: () => bar.increment(), stop: () => bar.stop() };
}

function report(): void {
  const inSeconds = (ms: number): string => (ms === Number.POSITIVE_INFINITY ? 'never' : `${(ms / 1000).toFixed(1)} s`);
  const table = results.map((result) => [
    result.name,
    String(result.runs),
    result.boundMs === undefined ? '–' : `${result.measured} ≤ ${inSeconds(result.boundMs)}`,
    result.boundMs === undefined ? '–' : inSeconds(result.worstMs),
    String(result.violations.length),
    `${result.seconds} s`,
  ]);
  console.log(`\n${columns([['fault', 'runs', 'bound', 'worst', 'violations', 'took'], ...table])}\n`);
  for (const { name, violations } of results) for (const violation of violations) console.log(`${name}: ${violation}`);
  const broken = results.reduce((sum, { violations }) => sum + violations.length, 0);
  console.log(`seed ${seed}, violations: ${broken}`);
  if (results.length === 0)
    console.log(`--only '${only}' fits none of: ${faultTable.map(({ name }) => name).join(' · ')} · ${eventRow}`);
  process.exitCode = broken > 0 || results.length === 0 ? 1 : 0;
}
