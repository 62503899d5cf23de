import { accountNow, type Clock } from './clock.js';
import type { Db } from './db.js';
import type { Relay } from './relay.js';
import { instantOf, rowsOf, sql } from './sql.js';
import type { DueColumn, SweepOf } from './sweeps.js';

/** One kind of work that comes due on rows of an account. */
export interface DueSweep {
  readonly name: string;
  /** Table and column of the due time. */
  readonly due: DueColumn;
  /** Finishes what is due of one account, or of all that live by the wall clock; returns how many rows it finished. */
  run(of: SweepOf): Promise<number>;
}

/** What happens by itself to one account, as whoever moves its clock needs it. */
export interface DueWork {
  /** Every table and column that says when something is due on an account. */
  readonly dueColumns: readonly DueSweep['due'][];
  /** The earliest time, up to `until`, at which something is due on the account. */
  nextDueAt(accountId: string, until: Date): Promise<Date | undefined>;
  /** Does what is due by the account's now, in the order of the sweeps, with all that follows from it. */
  run(accountId: string): Promise<void>;
}

/** What was due could not be finished, so that time may not go on: the provider is away, or a row is broken. */
export class WorkStuck extends Error {
  override readonly name = 'WorkStuck';
}

/** More than any real instant has: rounds that go on for ever are a defect, and shall not take the process with them. */
const maxRounds = 1_000;

export function createDueWork({
  db,
  clock,
  relay,
  sweeps,
}: {
  db: Db;
  clock: Clock;
  relay: Pick<Relay, 'drain' | 'holding'>;
  sweeps: readonly DueSweep[];
}): DueWork {
  const nextDueAt = async (accountId: string, until: Date): Promise<Date | undefined> => {
    const times = sweeps.map(
      ({ due: [table, column] }) =>
        sql`select min(${sql.ref(column)}) as at from ${sql.table(table)} where account_id = ${accountId} and ${sql.ref(column)} <= ${until}`,
    );
    const [row] = await rowsOf(
      db.orm.em.fork(),
      sql<{ at: string | null }>`select min(at) as at from (${sql.join(times, sql` union all `)}) due`,
    );
    return row?.at == null ? undefined : instantOf(row.at);
  };

  const round = async (accountId: string): Promise<number> => {
    let finished = 0;
    for (const sweep of sweeps) finished += await sweep.run({ accountId });
    await relay.drain(accountId);
    return finished;
  };

  return {
    dueColumns: sweeps.map(({ due }) => due),
    nextDueAt,
    run: (accountId) =>
      relay.holding(accountId, async () => {
        await relay.drain(accountId);
        for (let rounds = 0; ; rounds++) {
          const now = await accountNow(db.orm.em.fork(), clock, accountId);
          const due = await nextDueAt(accountId, now);
          if (due === undefined) return;
          if (rounds >= maxRounds || (await round(accountId)) === 0) {
            throw new WorkStuck(`what was due at ${due.toISOString()} on account ${accountId} could not be finished`);
          }
        }
      }),
  };
}
