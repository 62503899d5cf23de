import { type Random, randomFrom } from '../random.js';
import { renewTwice, spendAtOnce } from './contention.js';
import type { FaultWorld } from './faultWorld.js';
import { type KillPoint, killAt, killPoints, type Run } from './killPoints.js';
import { cutCommits, failingProvider, failingStatements } from './liveFaults.js';
import { operations } from './operations.js';
import { exhaustPool, stopDatabase, terminate } from './outages.js';
import { killAtRandom } from './randomKills.js';

/** A row of the fault table: what is done, how often when 100 runs are asked for, and what its time may be. */
export interface FaultRow {
  readonly name: string;
  /** Of 100 runs. */
  readonly runs: number;
  readonly boundMs: number;
  /** What the time is that is held against the bound. */
  readonly measured: string;
  /** How the server is started; `undefined`: the row starts it. */
  readonly env: Readonly<Record<string, string>> | undefined;
  /** Straight on PostgreSQL, so that it is refused as PostgreSQL refuses. */
  readonly direct?: boolean;
  /** Stripe's webhooks arrive as well. Without them, only our own sweeps can find out. */
  readonly hooks?: boolean;
  /** All its runs are one, in one world. */
  readonly whole?: boolean;
  /** It stops the PostgreSQL that all worlds share: nothing else at the same time. */
  readonly alone?: boolean;
  run(of: { world: FaultWorld; random: Random; i: number; runs: number; progress: () => void }): Promise<Run>;
}

const settled = { boundMs: 60_000, measured: 'settled' } as const;

const killRows = Object.entries(killPoints).map(
  ([name, points]): FaultRow => ({
    name,
    runs: 100,
    ...settled,
    env: {},
    run: ({ world, i }) => {
      const point: KillPoint = points[i % points.length]!;
      return killAt(
        world,
        Object.keys(operations).map((operation) => ({ operation, point })),
      );
    },
  }),
);

export const faultTable: readonly FaultRow[] = [
  ...killRows,
  {
    name: 'kill -9 at random, 20 clients',
    runs: 200,
    ...settled,
    env: {},
    hooks: true,
    whole: true,
    run: ({ world, random, runs, progress }) =>
      killAtRandom(world, { kills: runs, clients: 20, random, killed: progress }),
  },
  { name: 'connection cut during COMMIT', runs: 20, ...settled, env: {}, run: ({ world }) => cutCommits(world) },
  {
    name: 'provider: timeout, 500, 429, truncated, reset',
    runs: 20,
    ...settled,
    env: {},
    run: ({ world, random }) => failingProvider(world, random),
  },
  {
    name: 'PostgreSQL stopped hard and started',
    runs: 10,
    boundMs: 10_000,
    measured: 'back',
    env: {},
    direct: true,
    alone: true,
    run: ({ world, random }) => stopDatabase(world, random),
  },
  {
    name: '40001 and 40P01 on 20 % of statements',
    runs: 10,
    boundMs: 90_000, // 20 s of failing, and the rest within 60 s of it
    measured: 'settled',
    env: {},
    run: ({ world, random }) => failingStatements(world, random),
  },
  {
    name: 'pool exhausted, 200 clients',
    runs: 5,
    boundMs: 5_500,
    measured: 'slowest answer',
    env: { DATABASE_POOL_SIZE: '5' },
    run: ({ world }) => exhaustPool(world),
  },
  { name: 'two processes, two schedulers', runs: 5, ...settled, env: undefined, run: ({ world }) => renewTwice(world) },
  {
    name: '100 spends of one balance at once',
    runs: 5,
    boundMs: 180_000, // the table has none: one after the other takes as long as it takes
    measured: 'done',
    env: {},
    run: ({ world }) => spendAtOnce(world),
  },
  {
    name: 'SIGTERM under load',
    runs: 10,
    boundMs: 10_000,
    measured: 'ended',
    env: {},
    run: ({ world, random }) => terminate(world, random),
  },
];

export const runsOf = ({ runs }: FaultRow, of: number): number => Math.max(1, Math.round((runs * of) / 100));

export const randomOf = (row: FaultRow, seed: number, i: number): Random =>
  randomFrom(
    seed * 1_000_003 + i + ([...row.name].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 0) % 1_000),
  );
