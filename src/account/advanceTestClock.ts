import { setTimeout as sleep } from 'node:timers/promises';
import { LockMode } from '@mikro-orm/postgresql';
import { BillingError, invalid } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { WorkStuck } from '../platform/dueWork.js';
import { claimKey } from '../platform/idempotency.js';
import { OutboxStuck } from '../platform/relay.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach } from '../platform/sweeps.js';
import { Account } from './account.entity.js';
import { readTestClock, requireTestClocks, type TestClock, testClockOf } from './testClock.js';

export interface AdvanceTestClockInput {
  idempotencyKey?: string | undefined;
  to: Date;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'dueWork' | 'locks' | 'log'>;

/** How far one advance may go. */
const maxYears = 10;

/** How long a request waits for the clock to arrive before it goes on without the caller; and a round of the sweep. */
const [requestMs, sweepMs] = [8_000, 4_000];

/**
 * Moves the account's time, any distance in one step: what comes due in between happens in order, each at its own time. A
 * long way goes on after the answer (ADVANCING). CONFLICT while another advance is under way, INVALID backwards.
 */
export async function advanceTestClock(
  deps: Needs & Pick<Deps, 'payments' | 'testClocks'>,
  actor: Actor,
  { idempotencyKey, ...input }: AdvanceTestClockInput,
  { withinMs = requestMs }: { withinMs?: number } = {},
): Promise<{ replayed: boolean }> {
  requireTestClocks(deps, actor);
  const { accountId } = actor;
  const until = performance.now() + withinMs;
  const claim = await transact(deps, accountId, async (tx) => {
    const claimed = await claimKey(tx, { operation: 'advanceTestClock', key: idempotencyKey, input, answer: {} });
    if (claimed.replayed) return claimed;
    const account = await tx.em.findOneOrFail(
      Account,
      { id: accountId },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    checkTarget(testClockOf(account), input.to);
    account.testClockTargetAt = input.to;
    return claimed;
  });
  // A sweep may have taken it up before we did: then this waits with the caller.
  while (!claim.replayed && performance.now() < until) {
    if (await moveTestClock(deps, { accountId, until })) break;
    await sleep(50);
  }
  return { replayed: claim.replayed };
}

function checkTarget(clock: TestClock | undefined, to: Date): void {
  if (!clock)
    throw new BillingError('ILLEGAL_STATE', 'The account has no test clock: give it one with createTestClock first');
  if (clock.status === 'ADVANCING') {
    const message = `The clock is on its way to ${clock.target.toISOString()}: advance it again when it has arrived`;
    throw new BillingError('CONFLICT', message, { field: ['to'], retryable: true });
  }
  const found = Number.isNaN(to.getTime()) ? 'no instant' : to.toISOString();
  if (!(to >= clock.now)) throw invalid(`to is ${found}, expected ${clock.now.toISOString()} or later`, 'to');
  const latest = new Date(clock.now);
  latest.setUTCFullYear(latest.getUTCFullYear() + maxYears);
  if (to > latest) throw invalid(`to is ${found}, expected at most ${maxYears} years ahead`, 'to');
}

/**
 * Moves a clock towards its target for as long as it may (`until`, of `performance.now()`); does what is due at its present
 * in any case. True when it has arrived and all is done. One process at a time moves it; each step is committed, so that
 * whoever comes after a crash goes on where it broke off.
 */
async function moveTestClock(
  deps: Needs,
  { accountId, until }: { accountId: string; until: number },
): Promise<boolean> {
  const { db, dueWork } = deps;
  const moved = await deps.locks.hold({ accountId, purpose: 'test-clock' }, async () => {
    try {
      for (;;) {
        await dueWork.run(accountId);
        const { now, target } = (await readTestClock(db.orm.em.fork(), accountId))!;
        if (target <= now) return true;
        if (performance.now() >= until) return false;
        const at = (await dueWork.nextDueAt(accountId, target)) ?? target;
        await rowsOf(
          db.orm.em.fork(),
          sql`update account set test_clock_at = ${at} where id = ${accountId} and test_clock_at = ${now} and test_clock_at < ${at}`,
        );
      }
    } catch (error) {
      if (!(error instanceof WorkStuck || error instanceof OutboxStuck)) throw error;
      deps.log.warn({ err: error, accountId }, 'a test clock has to wait; it goes on soon');
      return false;
    }
  });
  return moved?.result ?? false;
}

/**
 * Sweep: takes clocks on their way further (an advance that was too long for its request, or whose process died), and does
 * what has come due at the present of those that stand still, since no other sweep looks after their accounts. In
 * any order: one with years to go, or one that is stuck, is not always the first.
 */
export async function advanceTestClocks(deps: Needs): Promise<number> {
  const until = performance.now() + sweepMs;
  const waiting = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ id: string }>`
      select id from account where test_clock_at is not null and (test_clock_target_at > test_clock_at or exists (
        ${sql.join(
          deps.dueWork.dueColumns.map(
            ([table, column]) =>
              sql`select 1 from ${sql.table(table)} where account_id = account.id and ${sql.ref(column)} <= account.test_clock_at`,
          ),
          sql` union all `,
        )}))
      order by random() limit 100`,
  );
  let arrived = 0;
  await finishEach(deps.log, waiting, async ({ id: accountId }) => {
    if (performance.now() < until && (await moveTestClock(deps, { accountId, until }))) arrived++;
  });
  return arrived;
}
