import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import type { Random } from '../random.js';

/** What a receiver has in its books of one event at one endpoint. */
export interface Receipt {
  /** Requests that were answered with 2xx. */
  accepted: number;
  refused: number;
  /** From the event to its first 2xx. */
  latencyMs: number;
}

export interface Receiver {
  readonly url: string;
  /** The secret of the endpoint that was registered for a path; what comes there earlier is not verified. */
  register(path: string, secret: string): void;
  /** By path and `webhook-id`. */
  readonly books: ReadonlyMap<string, ReadonlyMap<string, Receipt>>;
  /** Requests that the `standardwebhooks` package would not verify. */
  readonly unverified: readonly string[];
  /** Events whose data have this member. */
  havingMember(name: string): number;
  /** Different events that were accepted, at all paths. */
  accepted(): number;
  close(): Promise<void>;
}

/** A customer's server: verifies what comes, refuses a share of it at random, and never answers under `/hang`. */
export async function startReceiver({
  failPercent,
  random,
}: {
  failPercent: number;
  random: Random;
}): Promise<Receiver> {
  const secrets = new Map<string, string>();
  const books = new Map<string, Map<string, Receipt>>();
  const unverified: string[] = [];
  const members = new Map<string, number>();
  let accepted = 0;

  const receive = (path: string, headers: http.IncomingHttpHeaders, body: string): number => {
    let event: { timestamp: string; data: object };
    try {
      event = new Webhook(secrets.get(path) ?? '').verify(body, headers as Record<string, string>) as typeof event;
    } catch (error) {
      unverified.push(`${path} ${headers['webhook-id']}: ${(error as Error).message}`);
      return 400;
    }
    for (const name of Object.keys(event.data)) members.set(name, (members.get(name) ?? 0) + 1);
    const id = String(headers['webhook-id']);
    const receipts = books.get(path) ?? new Map<string, Receipt>();
    books.set(path, receipts);
    const receipt = receipts.get(id) ?? { accepted: 0, refused: 0, latencyMs: 0 };
    receipts.set(id, receipt);
    if (random.chance(failPercent / 100)) {
      receipt.refused++;
      return 500;
    }
    if (receipt.accepted++ === 0) {
      accepted++;
      receipt.latencyMs = Date.now() - Date.parse(event.timestamp);
    }
    return 204;
  };

  const server = http.createServer((request, response) => {
    const path = request.url ?? '/';
    let body = '';
    request.setEncoding('utf8').on('data', (part: string) => {
      body += part;
    });
    request.on('end', () => {
      if (path.startsWith('/hang')) return;
      response.writeHead(receive(path, request.headers, body)).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    register: (path, secret) => secrets.set(path, secret),
    books,
    unverified,
    havingMember: (name) => members.get(name) ?? 0,
    accepted: () => accepted,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
