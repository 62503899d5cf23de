import { LockMode } from '@mikro-orm/postgresql';
import { BillingError, invalid } from '../domain/errors.js';
import type { Actor } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { rowsOf, sql } from '../platform/sql.js';
import { Account } from './account.entity.js';
import { requireTestClocks } from './testClock.js';

export interface CreateTestClockInput {
  idempotencyKey?: string | undefined;
  /** Where the account's time stands from now on. */
  now: Date;
}

/** Years a clock may show: those that calendars and cards are sure to know. */
const [firstYear, lastYear] = [2000, 2100];

/**
 * Gives the account a time of its own, which then moves only by `advanceTestClock`. ILLEGAL_STATE once the account has a
 * history: its past would lie in another time than its future.
 */
export async function createTestClock(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'testClocks'>,
  actor: Actor,
  { idempotencyKey, ...input }: CreateTestClockInput,
): Promise<{ replayed: boolean }> {
  requireTestClocks(deps, actor);
  const year = input.now.getUTCFullYear();
  if (!(year >= firstYear && year < lastYear))
    throw invalid(`now is not a time from ${firstYear} to ${lastYear - 1}`, 'now');
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const claim = await claimKey(tx, { operation: 'createTestClock', key: idempotencyKey, input, answer: {} });
    if (claim.replayed) return { replayed: true };
    const account = await tx.em.findOneOrFail(
      Account,
      { id: accountId },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    if (account.testClockAt) {
      throw new BillingError('ILLEGAL_STATE', 'The account has a test clock already: move it with advanceTestClock');
    }
    // The account can't ask the features that stand right of it; their tables say all there is to know.
    const history = await rowsOf(
      tx.em,
      sql`select 1 from subscription where account_id = ${accountId} union all select 1 from invoice where account_id = ${accountId}
          union all select 1 from usage_event where account_id = ${accountId} union all select 1 from payment where account_id = ${accountId}
          union all select 1 from wallet_grant where account_id = ${accountId} limit 1`,
    );
    if (history.length > 0) {
      throw new BillingError(
        'ILLEGAL_STATE',
        'The account has a history (a subscription, invoice, payment, credit or usage): make a new account for a test clock',
      );
    }
    account.testClockAt = input.now;
    account.testClockTargetAt = input.now;
    // A wallet that asked for a look did so in the wall's time.
    await rowsOf(
      tx.em,
      sql`update wallet set recharge_due_at = case when recharge_due_at is not null then ${input.now}::timestamptz end,
            low_due_at = case when low_due_at is not null then ${input.now}::timestamptz end where account_id = ${accountId}`,
    );
    return { replayed: false };
  });
}
