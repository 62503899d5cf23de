import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  path: string;
  headers: Record<string, string>;
  body: string;
  /** Milliseconds of the wall. */
  at: number;
}

export type Answered = 'hang' | { status: number; headers?: Record<string, string>; body?: string; afterMs?: number };

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** What it answers, by path; 204 where nothing is said. */
  readonly answers: Map<string, () => Answered>;
  /** What came to one path. */
  at(path: string): Received[];
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
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answers,
    at: (path) => received.filter((one) => one.path === path),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
