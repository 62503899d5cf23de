import { EventEmitter } from 'node:events';
import {
  Logger,
  makeWorkerUtils,
  type Runner,
  run,
  runMigrations,
  type TaskList,
  type WorkerEvents,
  type WorkerUtils,
} from 'graphile-worker';
import pg from 'pg';
import { createLiveWorkers } from './liveWorkers.js';
import type { Logger as Log } from './log.js';

/** Jobs only make happen sooner what a due time on a row makes happen anyway (see sweeps). */
export interface Jobs {
  add(task: string, payload: object, options?: { runAt?: Date; jobKey?: string }): Promise<void>;
  start(tasks: TaskList): Promise<void>;
  /**
   * Frees the jobs that workers of killed processes hold, which graphile-worker itself would do after four hours; answers of
   * how many processes. From `start` on it happens every five seconds.
   */
  freeOfGone(): Promise<number>;
  /** Takes no more jobs and waits for those under way. Safe to repeat. */
  stop(): Promise<void>;
}

/** Creates graphile-worker's own tables; safe to repeat. */
export async function migrateJobs({ url, log }: { url: string; log: Log }): Promise<void> {
  await runMigrations({ connectionString: url, logger: forwarded(log) });
}

const freeEveryMs = 5_000;

export function createJobs({
  url,
  log,
  concurrency = 12,
  now,
}: {
  url: string;
  log: Log;
  concurrency?: number;
  now?: () => number;
}): Jobs {
  const pool = new pg.Pool({ connectionString: url, max: concurrency + 2 });
  const report = (error: Error): void => {
    if (!pool.ending) log.warn({ err: error }, 'job queue: database connection lost');
  };
  // graphile-worker requires handlers on the pool and on every client: without them a lost connection ends the process.
  pool.on('error', report);
  pool.on('connect', (client) => client.on('error', report));
  const live = createLiveWorkers({ url, onError: report, ...(now ? { now } : {}) });
  let mine: string | undefined; // what our own jobs are locked by
  const events: WorkerEvents = new EventEmitter();
  events.on('pool:create', ({ workerPool }) => {
    mine = workerPool.id;
  });
  let freeing: Promise<unknown> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let utils: Promise<WorkerUtils> | undefined;
  let runner: Runner | undefined;
  let stopped: Promise<void> | undefined;

  const freeOfGone = async (): Promise<number> => {
    if (mine !== undefined) await live.confirm(mine);
    const gone = await live.gone();
    if (gone.length === 0) return 0;
    await (await madeOnce()).forceUnlockWorkers(gone);
    log.info({ processes: gone.length }, 'jobs of killed processes are free again');
    return gone.length;
  };

  /** Beside the sweeps, whose rounds may take long. A job may thus run twice, as ever where a process dies or hangs. */
  const freeAgainAndAgain = (): void => {
    freeing = freeOfGone()
      .catch((error: unknown) =>
        log.warn({ err: error }, 'job queue: nobody knows which workers live; looking again soon'),
      )
      .finally(() => {
        if (!stopped) timer = setTimeout(freeAgainAndAgain, freeEveryMs).unref();
      });
  };

  const stop = async (): Promise<void> => {
    clearTimeout(timer);
    await freeing;
    await runner?.stop();
    await (await utils?.catch(() => undefined))?.release(); // whoever asked for them has heard of the failure
    await live.close(); // last of all: until here its workers live
    await pool.end();
  };

  /** Made once, however many ask for it at the same time: each one made looks through graphile-worker's migrations. */
  const madeOnce = (): Promise<WorkerUtils> => {
    utils ??= makeWorkerUtils({ pgPool: pool, logger: forwarded(log) }).catch((error: unknown) => {
      utils = undefined;
      throw error;
    });
    return utils;
  };

  return {
    add: async (task, payload, options = {}) => {
      const { addJob } = await madeOnce();
      await addJob(task, payload, {
        ...(options.runAt ? { runAt: options.runAt } : {}),
        ...(options.jobKey ? { jobKey: options.jobKey } : {}),
        maxAttempts: 3, // a sweep repeats what stays undone
      });
    },
    start: async (tasks) => {
      runner = await run({
        pgPool: pool,
        taskList: tasks,
        concurrency,
        events,
        noHandleSignals: true,
        crontab: '',
        logger: forwarded(log),
      });
      freeAgainAndAgain();
    },
    freeOfGone,
    stop: () => (stopped ??= stop()),
  };
}

const forwarded = (log: Log): Logger =>
  new Logger(() => (level, message) => {
    if (level === 'error') log.error({ from: 'graphile-worker' }, message);
    else if (level === 'warning') log.warn({ from: 'graphile-worker' }, message);
    else log.debug({ from: 'graphile-worker' }, message);
  });
