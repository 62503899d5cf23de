import { type Client, type ClientOptions, createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { until, type World } from './world.js';

export const socketUrl = ({ url }: Pick<World, 'url'>): string => `${url.replace(/^http/, 'ws')}/graphql`;

/** A socket that may be cut before it is connected, which Node's hold to be an error. */
export class CutSocket extends WebSocket {
  constructor(...args: ConstructorParameters<typeof WebSocket>) {
    super(...args);
    this.on('error', () => {});
  }
}

/** The client everybody uses, with the token where it puts it. */
export const connect = (world: Pick<World, 'url'>, token: string, options: Partial<ClientOptions> = {}): Client =>
  createClient({
    url: socketUrl(world),
    webSocketImpl: CutSocket,
    retryAttempts: 0,
    lazyCloseTimeout: 0,
    connectionParams: { authorization: `Bearer ${token}` },
    ...options,
  });

export interface Heard {
  // biome-ignore lint/suspicious/noExplicitAny: answers are what the test is about
  results: any[];
  /** Settles when the operation has ended: `complete`, or with what ended it. */
  ended: Promise<unknown>;
  /** Waits (at most 10 s) for this many results and returns them. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are what the test is about
  first(count: number): Promise<any[]>;
  stop(): void;
}

/** Runs an operation and keeps what it answers. */
export function listen(client: Client, query: string, variables?: Record<string, unknown>): Heard {
  const results: unknown[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<unknown>();
  const stop = client.subscribe(
    { query, variables: variables ?? null },
    { next: (result) => results.push(result), error: (error) => resolve(error), complete: () => resolve('complete') },
  );
  return {
    results,
    ended,
    first: async (count) => {
      const early = ended.then((how) => {
        if (results.length < count) throw new Error(`ended before result ${count}: ${query}: ${JSON.stringify(how)}`);
      });
      await Promise.race([early, until(() => results.length >= count, `result ${count} of ${query}`)]);
      return results.slice(0, count);
    },
    stop,
  };
}

export interface RawSocket {
  socket: WebSocket;
  // biome-ignore lint/suspicious/noExplicitAny: answers are what the test is about
  messages: any[];
  closed: Promise<{ code: number; reason: string; afterMs: number }>;
  send(message: object | string): void;
  /** Waits for a message of this type about this operation. */
  // biome-ignore lint/suspicious/noExplicitAny: answers are what the test is about
  next(type: string, id?: string): Promise<any>;
}

/** A socket without a client, for what no client would do. With a token it is initialised. */
export async function rawSocket(world: Pick<World, 'url'>, token?: string): Promise<RawSocket> {
  const socket = new WebSocket(socketUrl(world), 'graphql-transport-ws');
  const openedAt = performance.now();
  // biome-ignore lint/suspicious/noExplicitAny: answers are what the test is about
  const messages: any[] = [];
  socket.on('message', (data) => messages.push(JSON.parse(String(data))));
  socket.on('error', () => {}); // the close code tells
  const closed = new Promise<{ code: number; reason: string; afterMs: number }>((resolve) => {
    socket.once('close', (code, reason) =>
      resolve({ code, reason: String(reason), afterMs: performance.now() - openedAt }),
    );
  });
  await new Promise((resolve) => socket.once('open', resolve));
  const raw: RawSocket = {
    socket,
    messages,
    closed,
    send: (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    next: async (type, id) => {
      const find = () => messages.find((message) => message.type === type && (id === undefined || message.id === id));
      await until(() => find() !== undefined, `a message of type ${type}`);
      return find();
    },
  };
  if (token !== undefined) {
    raw.send({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } });
    await raw.next('connection_ack');
  }
  return raw;
}
