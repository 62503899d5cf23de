import type pg from 'pg';
import { DroppingClient } from './droppingClient.js';

/** Locks of accounts that span many transactions. */
export interface AccountLocks {
  /** Runs `work` while nobody else, in any process, holds the lock; `undefined` at once when somebody does. */
  hold<T>(name: { accountId: string; purpose: string }, work: () => Promise<T>): Promise<{ result: T } | undefined>;
  close(): Promise<void>;
}

/** As everywhere: a database that is frozen must not hold up who asks, nor the sweeps that wait for it. */
const timeouts = { query_timeout: 6_000, connectionTimeoutMillis: 5_000 };

/**
 * Session locks of PostgreSQL on one connection that all of the process share: a process that dies gives its locks back at
 * once. A connection that is lost meanwhile loses them too, so whatever they guard must bear a second one at work.
 */
export function createAccountLocks({ url, onError }: { url: string; onError: (error: Error) => void }): AccountLocks {
  const mine = new Set<string>(); // a session gets its own lock again: the process looks here first
  let session: Promise<pg.Client> | undefined;

  const connect = async (): Promise<pg.Client> => {
    const client = new DroppingClient({ connectionString: url, keepAlive: true, ...timeouts });
    client.on('error', (error) => {
      session = undefined;
      onError(error);
    });
    client.on('end', () => {
      session = undefined;
    });
    await client.connect();
    return client;
  };
  const connected = (): Promise<pg.Client> => {
    session ??= connect().catch((error: unknown) => {
      session = undefined;
      throw error;
    });
    return session;
  };

  /** One statement at a time: a connection has no queue of its own to rely on. */
  let last: Promise<unknown> = Promise.resolve();
  const ask = (client: pg.Client, statement: string, key: string): Promise<pg.QueryResult> => {
    const answer = last.then(() => client.query(statement, [key]));
    last = answer.catch(() => undefined);
    return answer;
  };

  return {
    hold: async ({ accountId, purpose }, work) => {
      const key = `${purpose} ${accountId}`;
      if (mine.has(key)) return undefined;
      mine.add(key);
      try {
        const client = await connected();
        const { rows } = await ask(client, 'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked', key);
        if (!rows[0].locked) return undefined;
        try {
          return { result: await work() };
        } finally {
          // When the connection is gone, so is the lock.
          await ask(client, 'select pg_advisory_unlock(hashtextextended($1, 0))', key).catch(onError);
        }
      } finally {
        mine.delete(key);
      }
    },
    close: async () => {
      const client = await session?.catch(() => undefined);
      await client?.end();
    },
  };
}
