import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from '@mikro-orm/postgresql';
import { parseExact } from '../platform/exactJson.js';
import { rowsOf, sql } from '../platform/sql.js';
import { behaved, fateOf, type Misbehaviour } from './misbehave.js';
import { validSecrets } from './secrets.js';
import { verifyWebhook } from './signature.js';
import type { FormerSecret } from './webhook.entity.js';

export interface ReceivedWebhook {
  /** `webhook-id`: the same on every attempt of one delivery. */
  readonly id: string;
  readonly type: string;
  /** RFC 3339 instant of the event. */
  readonly timestamp: string;
  /** Numbers keep their digits (see exactJson). */
  readonly data: unknown;
  /** 1 for the first that came under this id, 2 for its first repeat. */
  readonly attempt: number;
  /** What was done to it on purpose, `answered 500` or `dropped`; absent where it was taken. */
  readonly fault?: string;
}

export interface WebhookListenerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** The `whsec_…` secrets to try. Asked at a first delivery, and again when one fits none of those known. */
  readSecrets: (port: number) => Promise<readonly string[]>;
  onVerified: (webhook: ReceivedWebhook) => void;
  /** What to do wrong; nothing unless said. */
  misbehaviour?: Misbehaviour;
  /** From 0 up to 1, for the shares of that. */
  random?: () => number;
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

/**
 * A receiver for trying out webhooks: answers 204 to what is signed with one of the secrets, 401 to anything else, and does
 * wrong what it is told to.
 */
export async function listenWebhooks({
  host,
  port: asked,
  misbehaviour = behaved,
  random = Math.random,
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
  const attempts = new Map<string, number>();
  const closing = new AbortController();

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
    const attempt = (attempts.get(id) ?? 0) + 1;
    attempts.set(id, attempt);
    const fault = await answer(response, attempt);
    const { type, timestamp, data } = parseExact(body) as Record<string, unknown>;
    options.onVerified({
      id,
      type: String(type),
      timestamp: String(timestamp),
      data,
      attempt,
      ...(fault && { fault }),
    });
  }

  /** Answers, or does what it was told to do wrong; says what that was. */
  async function answer(response: ServerResponse, attempt: number): Promise<string | undefined> {
    const { delayMs, retryAfter } = misbehaviour;
    if (delayMs > 0) await sleep(delayMs, undefined, { signal: closing.signal });
    const late = delayMs > 0 ? ` after ${delayMs / 1_000} s` : '';
    // Whoever asked may have given up meanwhile: it is said, as the answer reaches nobody.
    const gone = response.destroyed ? ', the sender had hung up' : '';
    const fate = fateOf(misbehaviour, { attempt, random: random() });
    if (fate.kind === 'drop') {
      response.destroy();
      return `dropped${late}${gone}`;
    }
    const status = fate.kind === 'fail' ? fate.status : 204;
    const asks = fate.kind === 'fail' && retryAfter !== undefined;
    response.writeHead(status, asks ? { 'retry-after': String(retryAfter) } : {}).end();
    if (fate.kind === 'take' && late === '') return undefined;
    return `answered ${status}${asks ? ` with Retry-After: ${retryAfter}` : ''}${late}${gone}`;
  }

  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/`,
    port,
    close: () =>
      new Promise((resolve) => {
        closing.abort();
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
      former_secrets: FormerSecret[];
    }>`select url, secret, former_secrets from webhook_endpoint where deleted_at is null order by id desc`,
  );
  return endpoints
    .filter(({ url }) => isLoopback(new URL(url), port))
    .flatMap(({ secret, former_secrets: formerSecrets }) => validSecrets({ secret, formerSecrets }, new Date()));
}

function isLoopback({ protocol, hostname, port: given }: URL, port: number): boolean {
  const actual = Number(given || (protocol === 'https:' ? 443 : 80));
  return actual === port && /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
