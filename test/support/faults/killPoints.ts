import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../../src/platform/sql.js';
import { accountViolations, answerViolations, settledAfterMs } from './books.js';
import type { FaultWorld } from './faultWorld.js';
import { type Operation, operations, untilTold } from './operations.js';
import type { Statement, Verdict } from './pgProxy.js';

/** Where in the course of an operation the process is killed. */
export type KillPoint =
  | 'before the provider call'
  | 'after the charge, answer lost'
  | 'before COMMIT of the intent'
  | 'after COMMIT of the intent'
  | 'before COMMIT of the outcome'
  | 'after COMMIT of the outcome';

const intent = /^insert into "payment"/i;
const outcome = /^update "payment"/i;

/** Which COMMIT a point is at, and on which side of it. */
export const commits: Partial<Record<KillPoint, { pattern: RegExp; kind: 'hold_before' | 'hold_after' }>> = {
  'before COMMIT of the intent': { pattern: intent, kind: 'hold_before' },
  'after COMMIT of the intent': { pattern: intent, kind: 'hold_after' },
  'before COMMIT of the outcome': { pattern: outcome, kind: 'hold_before' },
  'after COMMIT of the outcome': { pattern: outcome, kind: 'hold_after' },
};

export const isCommitOf = (statement: Statement, pattern: RegExp, accountId: string): boolean =>
  /^commit\b/i.test(statement.text) && statement.wrote(pattern) && statement.mentions(accountId);

/** What one run came to: the time that its bound is about, and what was not as it must be. */
export interface Run {
  worstMs: number;
  violations: string[];
}

/** The points of each row; its runs take turns with them. */
export const killPoints: Readonly<Record<string, readonly KillPoint[]>> = {
  'kill -9 before the provider call': ['before the provider call'],
  'kill -9 after the charge, answer lost': ['after the charge, answer lost'],
  'kill -9 before COMMIT': ['before COMMIT of the outcome', 'before COMMIT of the intent'],
  'kill -9 after COMMIT': ['after COMMIT of the outcome', 'after COMMIT of the intent'],
};

/** Has every operation arrive at its point, kills the process there, starts it again, and lets the callers try on. */
export async function killAt(
  world: FaultWorld,
  aims: readonly { operation: string; point: KillPoint }[],
  { waitMs = 0 }: { waitMs?: number } = {},
): Promise<Run> {
  const { proxy, standin } = world;
  const cases = await Promise.all(
    aims.map(async ({ operation, point }) => {
      const prepared = await operations[operation]!(world);
      return { point, operation: prepared, chargesBefore: standin.books.ledger(prepared.account.id).charges };
    }),
  );
  const arrivals = cases.map(() => Promise.withResolvers<void>());
  const verdicts = new Map<string, { pattern: RegExp; verdict: Verdict }>();
  for (const [i, { point, operation }] of cases.entries()) {
    const seen = arrivals[i]!.resolve;
    const commit = commits[point];
    if (commit) {
      verdicts.set(operation.account.id, { pattern: commit.pattern, verdict: { kind: commit.kind, seen } });
      continue;
    }
    const kind = point === 'before the provider call' ? 'hang_before' : 'hang_after';
    standin.fail({ kind, method: 'POST', path: /payment_intents$/, body: operation.account.id, seen });
  }
  proxy.rule = (statement) => {
    for (const [accountId, { pattern, verdict }] of verdicts)
      if (isCommitOf(statement, pattern, accountId)) return verdict;
    return undefined;
  };

  const first = cases.map(({ operation }) => operation.attempt(world.url));
  const arrived = await within(Promise.all(arrivals.map(({ promise }) => promise)), 20_000);
  await world.kill();
  proxy.rule = undefined;
  standin.heal();
  await Promise.all(first);
  const violations = arrived ? [] : [`not every operation came to its point: ${describe(cases)}`];

  await world.start();
  const listeningAt = performance.now();
  if (waitMs > 0) await letTimePass(world, waitMs);
  const accountIds = cases.map(({ operation }) => operation.account.id);
  const told = await Promise.all(cases.map(({ operation }) => untilTold(world.url, operation)));
  await settledAfterMs(world, accountIds);
  const worstMs = performance.now() - listeningAt;
  for (const [i, { operation, chargesBefore, point }] of cases.entries()) {
    const { name, account } = operation;
    const broken = [
      ...answerViolations(world, { name, accountId: account.id, chargesBefore, told: told[i]! }),
      ...(await accountViolations(world, account.id)),
    ];
    violations.push(...broken.map((what) => `${name}, killed ${point}: ${what}`));
  }
  return { worstMs, violations };
}

const describe = (cases: readonly { point: KillPoint; operation: Operation }[]): string =>
  cases.map(({ point, operation }) => `${operation.name} ${point}`).join(', ');

/** As if so much time had gone by: what waits to be asked about is due so much sooner. */
export async function letTimePass({ rows }: FaultWorld, ms: number): Promise<void> {
  await rows(
    sql`update payment set reconcile_at = reconcile_at - make_interval(secs => ${ms / 1000}) where reconcile_at is not null`,
  );
}

async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return Promise.race([promise.then(() => true), sleep(ms, false, { ref: false })]);
}
