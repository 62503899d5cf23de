import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { accountNow, type Clock } from './clock.js';
import { type EventDraft, writeEvents } from './eventLog.js';
import type { Logger } from './log.js';

/** The database as use cases see it. */
export interface Db {
  readonly orm: MikroORM;
  readonly log: Logger;
  /** Called after each commit that wrote events or usage. A hint; losing it costs latency, not truth. */
  onCommit: (hint: CommitHint) => void;
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

/** Serialisation failure, deadlock, connection lost, server stopping or internal error: the whole work may run again. */
const retryableStates = new Set(['40001', '40P01', '08006', '08003', '57P01', 'XX000']);

/** Thrown inside a transaction when it lost a race that only shows at the end: the whole work runs again. */
export class TransactionRace extends Error {
  override readonly name = 'TransactionRace';
}

export const sqlState = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
};

/**
 * Runs `work` in one transaction of one account and retries the whole of it where PostgreSQL says so. `work` must
 * therefore have no effect outside the transaction: no network call, no publication.
 */
export async function transact<T>(
  { db, clock }: { db: Db; clock: Clock },
  accountId: string,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const events: EventDraft[] = [];
    let usage = false;
    let seq: bigint | undefined;
    try {
      const result = await db.orm.em.fork().transactional(
        async (em) => {
          const now = await accountNow(em as EntityManager, clock, accountId);
          const tx: Tx = {
            em: em as EntityManager,
            accountId,
            now,
            emit: (event) => events.push(event),
            touchUsage: () => {
              usage = true;
            },
          };
          const value = await work(tx);
          await em.flush();
          // Last, because the log's row lock orders everything the account sees: hold it as short as possible.
          if (events.length > 0) seq = await writeEvents(em as EntityManager, { accountId, now, events });
          return value;
        },
        { clear: true },
      );
      if (seq !== undefined || usage) db.onCommit({ accountId, seq, usage });
      return result;
    } catch (error) {
      const state = sqlState(error);
      const again = error instanceof TransactionRace || (state !== undefined && retryableStates.has(state));
      if (!again || attempt >= maxAttempts) throw error;
      db.log.debug({ accountId, state, attempt }, 'transaction retried');
      await sleep(Math.random() * 2 ** attempt * 5);
    }
  }
}
