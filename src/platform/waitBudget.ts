import { AsyncLocalStorage } from 'node:async_hooks';
import type { Pool, PoolClient } from 'pg';

/** What a request may still wait for connections, in milliseconds. */
export interface WaitBudget {
  leftMs: number;
  /** How many of its waits are open, and since when at least one is: waits side by side use up the time once. */
  waiting: number;
  since: number;
}

const budgets = new AsyncLocalStorage<WaitBudget>();

export const waitBudget = (leftMs: number): WaitBudget => ({ leftMs, waiting: 0, since: 0 });

/** Runs what one caller waits for: all its waits for connections together take no longer than its budget. */
export const withWaitBudget = <T>(budget: WaitBudget, work: () => T): T => budgets.run(budget, work);

/** Runs what nobody waits for, or many do: it waits as long as the pool lets it. */
export const withoutWaitBudget = <T>(work: () => T): T => budgets.exit(work);

/**
 * The pool's own limit is for one wait, and a request needs a connection many times: where each of them waits a little less than the
 * limit, it would hang for a minute. What is left of a caller's budget is all it waits; then it hears what the pool says when it
 * gives up, and a connection that comes later goes back.
 */
export function limitWaits(pool: Pool): void {
  const connect = pool.connect.bind(pool) as (callback?: unknown) => Promise<PoolClient>;
  const limited = (callback?: unknown): Promise<PoolClient> => {
    const budget = callback === undefined ? budgets.getStore() : undefined;
    return budget ? waitWithin(budget, connect()) : connect(callback);
  };
  Object.assign(pool, { connect: limited });
}

function waitWithin(budget: WaitBudget, arriving: Promise<PoolClient>): Promise<PoolClient> {
  begin(budget);
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      end(budget);
      reject(new Error('timeout exceeded when trying to connect'));
    }, budget.leftMs);
    const inTime = (answer: () => void): void => {
      clearTimeout(timer);
      end(budget);
      answer();
    };
    arriving.then(
      (client) => (isLate ? client.release() : inTime(() => resolve(client))),
      (error: unknown) => (isLate ? undefined : inTime(() => reject(error))),
    );
  });
}

/** Uses up what has been waited until now. */
function charge(budget: WaitBudget): void {
  const now = performance.now();
  if (budget.waiting > 0) budget.leftMs = Math.max(0, budget.leftMs - (now - budget.since));
  budget.since = now;
}

function begin(budget: WaitBudget): void {
  charge(budget);
  budget.waiting += 1;
}

function end(budget: WaitBudget): void {
  charge(budget);
  budget.waiting -= 1;
}
