import type { RawBuilder } from 'kysely';
import { type Clock, sweepNow } from './clock.js';
import type { Db } from './db.js';
import type { Logger } from './log.js';
import { rowsOf, sql } from './sql.js';

/** Whose rows a sweep finishes: one account's, or those of all that live by the wall clock. */
export interface SweepOf {
  readonly accountId?: string | undefined;
}

/**
 * Part of a due statement's `where`: the rows of `table` that a sweep may take. Accounts with a test clock are left out by
 * the statement itself, so that their rows, however long due by the wall, never fill the batch before anybody else's.
 */
export const sweptRows = (table: string, { accountId }: SweepOf): RawBuilder<boolean> => {
  const column = sql.ref(`${table}.account_id`);
  return accountId === undefined
    ? sql<boolean>`not exists (select 1 from account where account.id = ${column} and account.test_clock_at is not null)`
    : sql<boolean>`${column} = ${accountId}`;
};

/** How many rows one round of a sweep takes. */
const batchSize = 100;

/**
 * The rows of a table whose due time has passed by the clock of those they belong to, the longest due first. `column` is
 * null on rows that nothing is due on.
 */
export async function dueRows(
  { db, clock }: { db: Pick<Db, 'orm'>; clock: Clock },
  [table, column]: DueColumn,
  of: SweepOf,
): Promise<DueRow[]> {
  const em = db.orm.em.fork();
  const now = await sweepNow(em, clock, of.accountId);
  const due = sql.ref(`${table}.${column}`);
  const rows = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select account_id, id from ${sql.table(table)}
      where ${due} <= ${now} and ${sweptRows(table, of)} order by ${due}, id limit ${batchSize}`,
  );
  return rows.map(({ account_id: accountId, id }) => ({ accountId, id }));
}

/** Table and column of a due time. */
export type DueColumn = readonly [table: string, column: string];

export interface DueRow {
  readonly accountId: string;
  readonly id: string;
}

/** Finds rows whose due time has passed and finishes each exactly once. Returns how many it finished. */
export type Sweep = () => Promise<number>;

/** Finishes row after row; one that fails is logged and left for the next round, and never keeps its neighbours waiting. */
export async function finishEach<Row>(
  log: Logger,
  rows: readonly Row[],
  finish: (row: Row) => Promise<void>,
  { stopAt = () => false }: { stopAt?: (error: unknown) => boolean } = {},
): Promise<number> {
  let finished = 0;
  for (const row of rows) {
    try {
      await finish(row);
      finished++;
    } catch (error) {
      log.error({ err: error, row }, 'a due row could not be finished; it is tried again soon');
      if (stopAt(error)) break; // the next would fail as well, and other sweeps wait
    }
  }
  return finished;
}

export interface Sweeps {
  start(): void;
  /** Runs every sweep once, now, in order, and until none finds anything. For tests and the command line. */
  runOnce(): Promise<number>;
  stop(): Promise<void>;
}

/** Every 5 s, so that whatever a `kill -9` left behind is finished well within 60 s. A sweep never runs beside itself. */
export function createSweeps({
  sweeps,
  log,
  everyMs = 5_000,
}: {
  sweeps: Record<string, Sweep>;
  log: Logger;
  everyMs?: number;
}): Sweeps {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<number> | undefined;
  let stopped = false;

  const round = async (): Promise<number> => {
    let total = 0;
    for (const [name, sweep] of Object.entries(sweeps)) {
      if (stopped) return total;
      try {
        const finished = await sweep();
        if (finished > 0) log.debug({ sweep: name, finished }, 'sweep');
        total += finished;
      } catch (error) {
        log.error({ err: error, sweep: name }, 'a sweep failed; it runs again soon');
      }
    }
    return total;
  };

  const next = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      running = round().finally(next);
    }, everyMs).unref();
  };

  return {
    start: next,
    runOnce: async () => {
      let total = 0;
      for (let finished = 1; finished > 0; total += finished) finished = await round();
      return total;
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
