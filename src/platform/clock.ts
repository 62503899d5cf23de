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
export async function accountNow(em: EntityManager, clock: Clock, accountId: string): Promise<Date> {
  if (clock.everywhere) return clock.now();
  const [row] = await rowsOf(
    em,
    sql<{ test_clock_at: string | null }>`select test_clock_at from account where id = ${accountId}`,
  );
  return row?.test_clock_at == null ? clock.now() : instantOf(row.test_clock_at);
}
