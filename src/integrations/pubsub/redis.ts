import { Redis, type RedisOptions } from 'ioredis';
import { type PubSub, type PubSubOptions, pubSubOver } from './pubsub.js';

const channel = 'billing_hint';
/** How often whoever lives by hints is told to look while Redis is away. PostgreSQL, which they look into, may well be there. */
const lookMs = 5_000;

const options: RedisOptions = {
  // Hints wait with us, where their number is limited, and a failure is told at once.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: null,
  connectTimeout: 5_000,
  disconnectTimeout: 500,
  keepAlive: 10_000,
  retryStrategy: (times) => Math.min(5_000, 50 * 2 ** times),
};

/**
 * Redis PUBLISH and SUBSCRIBE, for many processes: the database then has no part in their hints. Two connections, since one
 * that listens can't speak. While Redis is away everything goes on by polling.
 */
export function createRedisPubSub({ url, onError, checkMs }: PubSubOptions): PubSub {
  const { host } = new URL(url);
  /** Said once for each outage. An error of ioredis holds the command that failed, with AUTH the password: only its words go on. */
  let isTold = false;
  const tell = (error: Error): void => {
    if (isTold) return;
    isTold = true;
    onError(new Error(`Redis at ${host}: ${error.message || (error as NodeJS.ErrnoException).code || error.name}`));
  };
  return pubSubOver(
    ({ receive, opened, away }) => {
      const speaker = new Redis(url, options);
      const listener = new Redis(url, options);
      let isListening = false;
      let isClosed = false;

      const meet = (): void => {
        if (!isListening || speaker.status !== 'ready') return;
        isTold = false;
        opened();
      };
      for (const connection of [speaker, listener]) {
        connection.on('error', tell);
        connection.on('close', () => {
          if (!isClosed) tell(new Error('the connection ended'));
        });
      }
      speaker.on('ready', meet);
      listener.on('close', () => {
        isListening = false;
      });
      listener.on('ready', () => {
        listener.subscribe(channel).then(() => {
          isListening = true;
          meet();
        }, tell);
      });
      listener.on('message', (_channel, payload) => receive(payload));
      const isOpen = (): boolean => isListening && speaker.status === 'ready';
      const looking = setInterval(() => {
        if (!isOpen()) away();
      }, lookMs).unref();

      return {
        isOpen,
        send: async (payloads) => {
          const answers = await speaker.pipeline(payloads.map((payload) => ['publish', channel, payload])).exec();
          const failure = answers?.find(([error]) => error)?.[0];
          if (failure) throw new Error(failure.message);
        },
        cut: () => {
          for (const connection of [speaker, listener]) connection.disconnect(true);
        },
        close: async () => {
          isClosed = true;
          clearInterval(looking);
          for (const connection of [speaker, listener]) connection.disconnect();
        },
      };
    },
    { onError: tell, checkMs },
  );
}
