import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { accountTimes, type Clock } from './clock.js';
import { isConnectionLost, sqlState } from './connectionLoss.js';
import { type EventDraft, writeEvents } from './eventLog.js';
import type { Logger } from './log.js';

/** The database as use cases see it. */
export interface Db {
  readonly orm: MikroORM;
  readonly log: Logger;
  /** Called after each commit that wrote events or usage. A hint; losing it costs latency, not truth. */
  onCommit: (hint: CommitHint) => void;
  /**
   * Runs first in each transaction begun with this database: for a note that must be written with an effect, whichever use
   * case has it. What it throws takes the effect back.
   */
  alongside?: (tx: Tx) => Promise<void>;
}

export interface CommitHint {
  readonly accountId: string;
  /** The account's last event, when this commit wrote any. */
  readonly seq: bigint | undefined;
  readonly usage: boolean;
}

/** One transaction on one account. */
export interface Tx {
  readonly em: EntityManager;
  readonly accountId: string;
  /** Taken once from the clock, so that everything in the transaction bears one time. */
  readonly now: Date;
  /** Appends to the account's event log when the transaction commits. */
  emit(event: EventDraft): void;
  /** Says that usage counters changed, for the live summaries. */
  touchUsage(): void;
}

const maxAttempts = 6;

/** Serialisation failure and deadlock: PostgreSQL says that nothing of the transaction is left, even at its COMMIT. */
const undoneStates: ReadonlySet<string> = new Set(['40001', '40P01']);

/** Thrown inside a transaction when it lost a race that only shows at the end: the whole work runs again. */
export class TransactionRace extends Error {
  override readonly name = 'TransactionRace';
}

/**
 * May the whole work run again? Only when nothing can be left of this try: a COMMIT whose answer was lost may have worked, and
 * work that ran twice would count twice. Whoever asked is then told that it is unknown, and asks again with the key.
 */
function mayRunAgain(error: unknown, { commitSent }: { commitSent: boolean }): boolean {
  const state = sqlState(error) ?? '';
  if (error instanceof TransactionRace || undoneStates.has(state)) return true;
  return isConnectionLost(error) && !commitSent;
}

/** One transaction over many accounts: for set-wise work that is done the same way on each. */
export interface ManyTx {
  readonly em: EntityManager;
  /** The transaction as one account's: its own time, its own events. */
  of(accountId: string): Tx;
}

/**
 * Runs `work` in one transaction of one account and retries the whole of it where PostgreSQL says so, or where the connection
 * was lost before the COMMIT. `work` must therefore have no effect outside the transaction: no network call, no publication.
 */
export const transact = <T>(
  deps: { db: Db; clock: Clock },
  accountId: string,
  work: (tx: Tx) => Promise<T>,
): Promise<T> => transactMany(deps, [accountId], (many) => work(many.of(accountId)));

/**
 * The same over many accounts, for work that takes its rows by the set. Only where one account's failure may take the
 * others' work of this transaction with it: whoever calls must then be able to do them one by one.
 */
export async function transactMany<T>(
  { db, clock }: { db: Db; clock: Clock },
  accountIds: readonly string[],
  work: (tx: ManyTx) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const drafts = new Map(accountIds.map((id) => [id, { events: [] as EventDraft[], usage: false }]));
    let seqs: ReadonlyMap<string, bigint> = new Map();
    let commitSent = false;
    try {
      const result = await db.orm.em.fork().transactional(
        async (entities) => {
          const em = entities as EntityManager;
          const times = await accountTimes(em, clock, accountIds);
          const views = new Map([...drafts].map(([id, draft]) => [id, view(em, id, times.get(id)!, draft)]));
          if (db.alongside) for (const tx of views.values()) await db.alongside(tx);
          const value = await work({
            em,
            of: (accountId) => {
              const tx = views.get(accountId);
              if (!tx) throw new Error(`account ${accountId} is not part of this transaction`);
              return tx;
            },
          });
          await em.flush();
          // Last, because the log's row locks order everything an account sees: hold them as short as possible.
          const batches = [...drafts].map(([accountId, { events }]) => ({
            accountId,
            now: times.get(accountId)!,
            events,
          }));
          seqs = await writeEvents(em, batches);
          commitSent = true; // by whoever called us, next
          return value;
        },
        { clear: true },
      );
      for (const [accountId, { usage }] of drafts) {
        const seq = seqs.get(accountId);
        if (seq !== undefined || usage) db.onCommit({ accountId, seq, usage });
      }
      return result;
    } catch (error) {
      if (!mayRunAgain(error, { commitSent }) || attempt >= maxAttempts) throw error;
      const state = sqlState(error);
      db.log.debug({ accounts: accountIds.length, accountId: accountIds[0], state, attempt }, 'transaction retried');
      await sleep(Math.random() * 2 ** attempt * 5);
    }
  }
}

const view = (
  em: EntityManager,
  accountId: string,
  now: Date,
  draft: { events: EventDraft[]; usage: boolean },
): Tx => ({
  em,
  accountId,
  now,
  emit: (event) => draft.events.push(event),
  touchUsage: () => {
    draft.usage = true;
  },
});
