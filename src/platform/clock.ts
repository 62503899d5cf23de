import type { EntityManager } from '@mikro-orm/postgresql';
import { instantOf, rowsOf, sql } from './sql.js';

/** The one source of "now" (milliseconds). Rules take `now` as an argument; only use cases ask a clock. */
export interface Clock {
  now(): Date;
  /** True: this time holds for every account, even one with a test clock of its own. */
  readonly everywhere?: boolean;
}

export const systemClock: Clock = { now: () => new Date() };

/** A clock that stands still at one instant: for work that belongs to another time than the wall's. */
export const clockAt = (at: Date): Clock => ({ now: () => new Date(at), everywhere: true });

/** The same time for everybody: for work that belongs to the outside world, such as posting to a customer's server. */
export const wallClock = (clock: Clock): Clock => ({ now: () => clock.now(), everywhere: true });

/** "Now" as an account lives it: its test clock's, where it has one, else the wall's. */
export const accountNow = async (em: EntityManager, clock: Clock, accountId: string): Promise<Date> =>
  (await accountTimes(em, clock, [accountId])).get(accountId)!;

/** The same for many accounts, by one statement at the most. */
export async function accountTimes(
  em: EntityManager,
  clock: Clock,
  accountIds: readonly string[],
): Promise<Map<string, Date>> {
  const wall = clock.now();
  const times = new Map(accountIds.map((id) => [id, wall]));
  if (clock.everywhere) return times;
  const rows = await rowsOf(
    em,
    sql<{ id: string; test_clock_at: string }>`
      select id, test_clock_at from account where id = any(${accountIds}::uuid[]) and test_clock_at is not null`,
  );
  for (const row of rows) times.set(row.id, instantOf(row.test_clock_at));
  return times;
}

/** "Now" of a sweep: of the one account it is for, else the wall's. */
export const sweepNow = (em: EntityManager, clock: Clock, accountId: string | undefined): Promise<Date> =>
  accountId === undefined ? Promise.resolve(clock.now()) : accountNow(em, clock, accountId);
