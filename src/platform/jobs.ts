import {
  Logger,
  makeWorkerUtils,
  type Runner,
  run,
  runMigrations,
  type TaskList,
  type WorkerUtils,
} from 'graphile-worker';
import pg from 'pg';
import type { Logger as Log } from './log.js';

/** Jobs only make happen sooner what a due time on a row makes happen anyway (see sweeps). */
export interface Jobs {
  add(task: string, payload: object, options?: { runAt?: Date; jobKey?: string }): Promise<void>;
  start(tasks: TaskList): Promise<void>;
  /** Takes no more jobs and waits for those under way. Safe to repeat. */
  stop(): Promise<void>;
}

/** Creates graphile-worker's own tables; safe to repeat. */
export async function migrateJobs({ url, log }: { url: string; log: Log }): Promise<void> {
  await runMigrations({ connectionString: url, logger: forwarded(log) });
}

export function createJobs({ url, log, concurrency = 12 }: { url: string; log: Log; concurrency?: number }): Jobs {
  const pool = new pg.Pool({ connectionString: url, max: concurrency + 2 });
  const report = (error: Error): void => {
    if (!pool.ending) log.warn({ err: error }, 'job queue: database connection lost');
  };
  // graphile-worker requires handlers on the pool and on every client: without them a lost connection ends the process.
  pool.on('error', report);
  pool.on('connect', (client) => client.on('error', report));
  let utils: Promise<WorkerUtils> | undefined;
  let runner: Runner | undefined;
  let stopped: Promise<void> | undefined;

  const stop = async (): Promise<void> => {
    await runner?.stop();
    await (await utils?.catch(() => undefined))?.release(); // whoever asked for them has heard of the failure
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
        noHandleSignals: true,
        crontab: '',
        logger: forwarded(log),
      });
    },
    stop: () => (stopped ??= stop()),
  };
}

const forwarded = (log: Log): Logger =>
  new Logger(() => (level, message) => {
    if (level === 'error') log.error({ from: 'graphile-worker' }, message);
    else if (level === 'warning') log.warn({ from: 'graphile-worker' }, message);
    else log.debug({ from: 'graphile-worker' }, message);
  });
