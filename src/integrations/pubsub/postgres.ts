import pg from 'pg';
import { type PubSub, type PubSubOptions, pubSubOver } from './pubsub.js';

const channel = 'billing_hint';

/**
 * PostgreSQL LISTEN/NOTIFY on one connection of its own. Notifications are sent outside billing transactions, because
 * NOTIFY inside one takes a lock that serialises every commit of the database.
 */
export function createPostgresPubSub({ url, onError, checkMs }: PubSubOptions): PubSub {
  return pubSubOver(
    ({ receive, opened }) => {
      let client: pg.Client | undefined;
      let closed = false;
      let reconnect: NodeJS.Timeout | undefined;

      const connect = async (attempt: number): Promise<void> => {
        const next = new pg.Client({ connectionString: url, keepAlive: true, connectionTimeoutMillis: 5_000 });
        next.on('error', (error) => lose(next, error));
        next.on('end', () => lose(next, new Error('the LISTEN connection ended')));
        next.on('notification', ({ payload }) => receive(payload ?? '[]'));
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
        opened();
      };

      const lose = (lost: pg.Client, error: Error): void => {
        if (closed || client !== lost) return;
        client = undefined;
        onError(error);
        void connect(0);
      };

      void connect(0);
      return {
        isOpen: () => client !== undefined,
        send: async (payloads) => {
          await client!.query('select pg_notify($1, payload) from unnest($2::text[]) as payload', [channel, payloads]);
        },
        cut: () =>
          (
            client as unknown as { connection?: { stream: { destroy(): void } } } | undefined
          )?.connection?.stream.destroy(),
        close: async () => {
          closed = true;
          clearTimeout(reconnect);
          await client?.end();
        },
      };
    },
    { onError, checkMs },
  );
}
