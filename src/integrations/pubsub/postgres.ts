import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { LocalListeners, type PubSub } from './pubsub.js';

const channel = 'billing_hint';
const maxGoodbyeMs = 1_000;

/**
 * PostgreSQL LISTEN/NOTIFY on one connection of its own. Notifications are sent outside billing transactions, because
 * NOTIFY inside one takes a lock that serialises every commit of the database; and in batches, one in flight.
 */
export function createPostgresPubSub({ url, onError }: { url: string; onError: (error: Error) => void }): PubSub {
  const origin = randomUUID();
  const local = new LocalListeners();
  const gapListeners = new Set<() => void>();
  let client: pg.Client | undefined;
  let closed = false;
  let sending = false;
  let waiting: string[] = [];
  let reconnect: NodeJS.Timeout | undefined;

  const connect = async (attempt: number): Promise<void> => {
    const next = new pg.Client({ connectionString: url, keepAlive: true });
    next.on('error', (error) => lose(next, error));
    next.on('end', () => lose(next, new Error('the LISTEN connection ended')));
    next.on('notification', ({ payload }) => {
      const [from, topic, message] = JSON.parse(payload ?? '[]') as [string, string, string];
      if (from !== origin) local.dispatch(topic, message);
    });
    try {
      await next.connect();
      await next.query(`listen ${channel}`);
    } catch (error) {
      await next.end().catch(() => {}); // it never was a connection: nothing to lose
      if (!closed) reconnect = setTimeout(() => void connect(attempt + 1), Math.min(5_000, 100 * 2 ** attempt));
      if (attempt === 0) onError(error as Error);
      return;
    }
    if (closed) return next.end();
    client = next;
    for (const listener of gapListeners) listener();
    void flush();
  };

  const lose = (lost: pg.Client, error: Error): void => {
    if (closed || client !== lost) return;
    client = undefined;
    onError(error);
    void connect(0);
  };

  const flush = async (): Promise<void> => {
    if (sending) return;
    sending = true;
    while (waiting.length > 0 && client) {
      const batch = waiting;
      waiting = [];
      try {
        await client.query('select pg_notify($1, payload) from unnest($2::text[]) as payload', [channel, batch]);
      } catch (error) {
        onError(error as Error); // hints only: receivers also poll
      }
    }
    sending = false;
  };

  void connect(0);
  return {
    publish: (topic, message) => {
      local.dispatch(topic, message);
      if (waiting.length < 10_000) waiting.push(JSON.stringify([origin, topic, message]));
      void flush();
    },
    subscribe: (topic, listener) => local.add(topic, listener),
    onGap: (listener) => {
      gapListeners.add(listener);
      return () => gapListeners.delete(listener);
    },
    close: async () => {
      // A short-lived process (the command line) still owes its hints.
      for (let waitedMs = 0; waiting.length > 0 && waitedMs < maxGoodbyeMs; waitedMs += 10) await sleep(10);
      closed = true;
      clearTimeout(reconnect);
      await client?.end();
    },
  };
}
