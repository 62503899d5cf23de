import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestAccount, World } from './world.js';

export interface Received {
  path: string;
  headers: Record<string, string>;
  body: string;
  /** Milliseconds of the wall. */
  at: number;
}

/** An endpoint of an account at a path of its own. */
export interface Registered {
  /** The public id. */
  id: string;
  path: string;
  secret: string;
}

export type Answered = 'hang' | { status: number; headers?: Record<string, string>; body?: string; afterMs?: number };

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** What it answers, by path; 204 where nothing is said. */
  readonly answers: Map<string, () => Answered>;
  /** What came to one path. */
  at(path: string): Received[];
  /** Registers a new path of it through REST. */
  register(
    world: Pick<World, 'rest'>,
    account: Pick<TestAccount, 'token'>,
    events?: readonly string[],
  ): Promise<Registered>;
  close(): Promise<void>;
}

/** A customer's server that keeps what it gets and answers as a test says. */
export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const answers = new Map<string, () => Answered>();
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => {
      body += part.toString();
    });
    request.on('end', () => {
      const path = request.url ?? '/';
      received.push({ path, headers: request.headers as Record<string, string>, body, at: Date.now() });
      const answer = answers.get(path)?.() ?? { status: 204 };
      if (answer === 'hang') return;
      const { status, headers, body: text, afterMs } = answer;
      const reply = () => response.writeHead(status, headers).end(text);
      if (afterMs === undefined) reply();
      else setTimeout(reply, afterMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let paths = 0;
  return {
    url,
    received,
    answers,
    at: (path) => received.filter((one) => one.path === path),
    register: async (world, { token }, events = []) => {
      const path = `/hook-${++paths}`;
      const { body } = await world.rest(token, 'POST', '/webhooks', { url: url + path, events });
      return { id: body.id, path, secret: body.secret };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
