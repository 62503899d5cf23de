import type { RawBuilder } from 'kysely';
import { type Clock, sweepNow } from './clock.js';
import type { Db } from './db.js';
import type { Logger } from './log.js';
import { instantOf, rowsOf, sql } from './sql.js';

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

/** How many rows a page has, and after how many that are finished a round ends: other sweeps have their turn then. */
const pageSize = 100;

/** Where a row stands among those that are due: the longest due come first. */
export interface DuePlace {
  readonly dueAt: Date;
  readonly id: string;
}

/** Before every row. */
export const firstPlace: DuePlace = { dueAt: new Date(0), id: '00000000-0000-0000-0000-000000000000' };

/** Rows behind `after`, up to `upTo` where it is given; in the order of their places. */
export type ReadPage<Row> = (range: { after: DuePlace; upTo: DuePlace | undefined; limit: number }) => Promise<Row[]>;

/** Table and column of a due time. */
export type DueColumn = readonly [table: string, column: string];

export interface DueRow extends DuePlace {
  readonly accountId: string;
}

/** Finds rows whose due time has passed and finishes each exactly once. Returns how many it finished. */
export type Sweep = () => Promise<number>;

/** Finishes row after row; one that fails is logged and left for the next round, and never keeps its neighbours waiting. */
export async function finishEach<Row>(
  log: Logger,
  rows: readonly Row[],
  finish: (row: Row) => Promise<void>,
): Promise<number> {
  let finished = 0;
  for (const row of rows) if ((await attempt(log, row, finish)) === undefined) finished++;
  return finished;
}

interface Failure {
  error: unknown;
}

async function attempt<Row>(log: Logger, row: Row, finish: (row: Row) => Promise<void>): Promise<Failure | undefined> {
  try {
    await finish(row);
    return undefined;
  } catch (error) {
    log.error({ err: error, row }, 'a due row could not be finished; it is tried again soon');
    return { error };
  }
}

/**
 * Finishes due rows page after page. However many fail, they are passed by, and tried again in the next round: none of them
 * keeps another from being done. A round ends when a page's worth is finished. Answers how many are.
 */
export async function finishPages<Row extends DuePlace>(
  log: Logger,
  read: ReadPage<Row>,
  finish: (row: Row) => Promise<void>,
): Promise<number> {
  return (await finishRange(log, { read, finish, after: firstPlace })).finished;
}

/**
 * Finishes the rows of a table whose due time has passed by the clock of those they belong to, the longest due first, as
 * `finishPages` does. `column` is null on rows that nothing is due on. A failure to `stopAt` ends the round, as the next row
 * would fail as well and other sweeps wait; the next round begins behind it, so that a row that alone fails so each time
 * never stands before the others.
 */
export async function finishDue(
  { db, clock, log }: { db: Pick<Db, 'orm'>; clock: Clock; log: Logger },
  [table, column]: DueColumn,
  of: SweepOf,
  finish: (row: DueRow) => Promise<void>,
  { stopAt }: { stopAt?: (error: unknown) => boolean } = {},
): Promise<number> {
  const now = await sweepNow(db.orm.em.fork(), clock, of.accountId);
  const due = sql.ref(`${table}.${column}`);
  const read: ReadPage<DueRow> = async ({ after, upTo, limit }) => {
    const rows = await rowsOf(
      db.orm.em.fork(),
      sql<{ account_id: string; id: string; due_at: string }>`
        select account_id, id, ${due} as due_at from ${sql.table(table)}
        where ${due} <= ${now} and ${sweptRows(table, of)} and (${due}, id) > (${after.dueAt}, ${after.id}::uuid)
          and (${upTo === undefined} or (${due}, id) <= (${upTo?.dueAt ?? now}, ${upTo?.id ?? after.id}::uuid))
        order by ${due}, id limit ${limit}`,
    );
    return rows.map((row) => ({ accountId: row.account_id, id: row.id, dueAt: instantOf(row.due_at) }));
  };
  const places = placesOf(db);
  const sweep = `${table}.${column} ${of.accountId ?? ''}`;
  const from = places.get(sweep);
  places.delete(sweep);

  let finished = 0;
  const laps = from === undefined ? [{ after: firstPlace }] : [{ after: from }, { after: firstPlace, upTo: from }];
  for (const lap of laps) {
    const done = await finishRange(log, { read, finish, stopAt, ...lap });
    finished += done.finished;
    const goOnAt = done.stoppedAt ?? (from && done.full ? done.at : undefined);
    if (goOnAt) places.set(sweep, goOnAt);
    if (goOnAt || done.full) break;
  }
  return finished;
}

async function finishRange<Row extends DuePlace>(
  log: Logger,
  {
    read,
    finish,
    after,
    upTo,
    stopAt = () => false,
  }: {
    read: ReadPage<Row>;
    finish: (row: Row) => Promise<void>;
    after: DuePlace;
    upTo?: DuePlace;
    stopAt?: ((error: unknown) => boolean) | undefined;
  },
): Promise<{ finished: number; full: boolean; at: DuePlace; stoppedAt?: DuePlace }> {
  let finished = 0;
  let at = after;
  while (finished < pageSize) {
    const rows = await read({ after: at, upTo, limit: pageSize });
    for (const row of rows) {
      const failure = await attempt(log, row, finish);
      if (!failure) finished++;
      else if (stopAt(failure.error)) return { finished, full: false, at: row, stoppedAt: row };
    }
    at = rows.at(-1) ?? at;
    if (rows.length < pageSize) break;
  }
  return { finished, full: finished >= pageSize, at };
}

const places = new WeakMap<object, Map<string, DuePlace>>();

/** Where rounds that were broken off go on, by the sweep. A process that forgets it loses a turn and nothing else. */
export function placesOf({ orm }: Pick<Db, 'orm'>): Map<string, DuePlace> {
  const known = places.get(orm) ?? new Map<string, DuePlace>();
  places.set(orm, known);
  return known;
}

export interface Sweeps {
  start(): void;
  /** Runs every sweep once, now, in order, and until none finds anything. For tests and the command line. */
  runOnce(): Promise<number>;
  stop(): Promise<void>;
}

/**
 * At once and then every 5 s, so that whatever a `kill -9` left behind is finished well within 60 s, even by a process that is
 * killed again and again soon after its start. A sweep never runs beside itself.
 */
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

  const next = (afterMs: number): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      running = round().finally(() => next(everyMs));
    }, afterMs).unref();
  };

  return {
    start: () => next(0),
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
