import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import { type Actor, requireScope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { Account } from './account.entity.js';

/** An account's own time. READY: it stands still at `now`; ADVANCING: it is on its way to `target`. */
export interface TestClock {
  now: Date;
  target: Date;
  status: 'READY' | 'ADVANCING';
}

/** Undefined: the account lives by the wall clock. */
export function testClockOf({
  testClockAt: now,
  testClockTargetAt,
}: Pick<Account, 'testClockAt' | 'testClockTargetAt'>): TestClock | undefined {
  if (!now) return undefined;
  const target = testClockTargetAt ?? now;
  return { now, target, status: target > now ? 'ADVANCING' : 'READY' };
}

export async function readTestClock(em: EntityManager, accountId: string): Promise<TestClock | undefined> {
  return testClockOf(await em.findOneOrFail(Account, { id: accountId }, { disableIdentityMap: true }));
}

export async function hasTestClock(em: EntityManager, accountId: string): Promise<boolean> {
  return (await readTestClock(em, accountId)) !== undefined;
}

/**
 * Who may move an account's time: an operator, and on an installation for tests whoever may change subscriptions. Nobody
 * where payments move real money.
 */
export function requireTestClocks({ payments, testClocks }: Pick<Deps, 'payments' | 'testClocks'>, actor: Actor): void {
  requireScope(actor, 'subscriptions:write');
  if (payments.name !== 'sandbox') {
    throw new BillingError('FORBIDDEN', 'Test clocks need test payments: this installation moves real money');
  }
  if (!actor.operator && !testClocks) {
    throw new BillingError('FORBIDDEN', "Test clocks are off (TEST_CLOCKS): an operator's token may use them");
  }
}
