import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EntityManager } from '@mikro-orm/postgresql';
import { parseExact } from '../platform/exactJson.js';
import { rowsOf, sql } from '../platform/sql.js';
import { verifyWebhook } from './signature.js';

export interface ReceivedWebhook {
  /** `webhook-id`: the same on every attempt of one delivery. */
  readonly id: string;
  readonly type: string;
  /** RFC 3339 instant of the event. */
  readonly timestamp: string;
  /** Numbers keep their digits (see exactJson). */
  readonly data: unknown;
}

export interface WebhookListenerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** The `whsec_…` secrets to try. Asked at a first delivery, and again when one fits none of those known. */
  readSecrets: (port: number) => Promise<readonly string[]>;
  onVerified: (webhook: ReceivedWebhook) => void;
  /** A request that was not a verified delivery, and why. */
  onRefused: (refusal: { id: string; status: number; reason: string }) => void;
}

export interface WebhookListener {
  /** Where it listens, e.g. `http://127.0.0.1:4001/`. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

const maxBodyBytes = 1_000_000;

/** A receiver for trying out webhooks: answers 204 to what is signed with one of the secrets, 401 to anything else. */
export async function listenWebhooks({
  host,
  port: asked,
  ...options
}: WebhookListenerOptions): Promise<WebhookListener> {
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy()); // the sender went away in the middle
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(asked, host, resolve);
  });
  const { address, family, port } = server.address() as AddressInfo;
  const verify = createVerifier(() => options.readSecrets(port));

  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = String(request.headers['webhook-id'] ?? '');
    const refuse = (status: number, reason: string): void => {
      response
        .writeHead(status, { 'content-type': 'text/plain', ...(status === 405 ? { allow: 'POST' } : {}) })
        .end(`${reason}\n`);
      options.onRefused({ id, status, reason });
    };
    if (request.method !== 'POST') return refuse(405, `${request.method} is not POST`);
    const body = await readBody(request);
    if (body === undefined) {
      response.setHeader('connection', 'close'); // the rest of the body stays unread
      return refuse(413, `the body is larger than ${maxBodyBytes} bytes`);
    }
    const failure = await verify(request.headers, body);
    if (failure !== undefined) return refuse(401, failure);
    response.writeHead(204).end();
    const { type, timestamp, data } = parseExact(body) as Record<string, unknown>;
    options.onVerified({ id, type: String(type), timestamp: String(timestamp), data });
  }

  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Undefined when the body is too large. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not `for await`: leaving that early would destroy the socket before the answer is written.
  const ended = new Promise<boolean>((resolve, reject) => {
    request.on('error', reject);
    request.on('end', () => resolve(true));
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
      else resolve(false);
    });
  });
  return (await ended) ? Buffer.concat(chunks).toString('utf8') : undefined;
}

/** Says why a delivery can't be trusted; undefined when it can. Secrets are read once for all that wait for them. */
function createVerifier(
  readSecrets: () => Promise<readonly string[]>,
): (headers: IncomingMessage['headers'], body: string) => Promise<string | undefined> {
  let known: readonly string[] = [];
  let reading: Promise<void> | undefined;

  const check = (headers: IncomingMessage['headers'], body: string): string | undefined => {
    let failure = 'no secret is known for this port';
    for (const secret of known) {
      try {
        verifyWebhook({ headers, body, secret });
        return undefined;
      } catch (error) {
        failure = (error as Error).message;
      }
    }
    return failure;
  };

  return async (headers, body) => {
    if (headers['webhook-signature'] === undefined) return 'the request is not signed';
    if (check(headers, body) === undefined) return undefined;
    reading ??= readSecrets()
      .then((secrets) => {
        known = secrets;
      })
      .finally(() => {
        reading = undefined;
      });
    try {
      await reading;
    } catch (error) {
      return `the secrets could not be read: ${(error as Error).message}`;
    }
    return check(headers, body);
  };
}

/** The secrets of all endpoints, of whatever account, whose URL points at this port of this machine. For the command line. */
export async function loopbackSecrets(em: EntityManager, port: number): Promise<string[]> {
  const endpoints = await rowsOf(
    em,
    sql<{
      url: string;
      secret: string;
    }>`select url, secret from webhook_endpoint where deleted_at is null order by id desc`,
  );
  return endpoints.filter(({ url }) => isLoopback(new URL(url), port)).map(({ secret }) => secret);
}

function isLoopback({ protocol, hostname, port: given }: URL, port: number): boolean {
  const actual = Number(given || (protocol === 'https:' ? 443 : 80));
  return actual === port && /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
