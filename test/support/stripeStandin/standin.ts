import { createHash } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Books } from './books.js';
import { Hooks } from './hooks.js';
import { resolveRoute } from './routes.js';
import { invalid, newRef, parseForm, StripeFault, type Wire } from './wire.js';

/** What goes wrong with a request: `…before` it took effect, or after. */
export interface Fault {
  kind:
    | 'drop_before'
    | 'drop_after'
    | 'hang_before'
    | 'hang_after'
    | 'status_before'
    | 'status_after'
    | 'truncate'
    | 'rate_limit'
    | 'lock_timeout'
    | 'slow';
  method?: string;
  path?: RegExp;
  /** Only requests that bear this text, such as an account's id. */
  body?: string;
  /** How many requests it hits, default 1. */
  times?: number;
  /** How long `slow` takes, default 50. */
  ms?: number;
  /** Called when it hits: `…_after` with the effect done. */
  seen?: () => void;
}

interface StoredAnswer {
  fingerprint: string;
  at: number;
  done?: { status: number; body: Wire };
}

/** A Stripe of our own on a loopback port: stateful, with Stripe's rules for idempotency keys, and books to look into. */
export interface StripeStandin {
  readonly url: string;
  readonly books: Books;
  readonly hooks: Hooks;
  /** Every request, in order. */
  readonly requests: { method: string; path: string; key: string | undefined }[];
  fail(...faults: Fault[]): void;
  heal(): void;
  /** Moves its clock: keys are forgotten after 24 hours. */
  advanceSeconds(seconds: number): void;
  stop(): Promise<void>;
}

const keysLastSeconds = 24 * 3600;
/** The SDK makes these where the caller gave no key: nobody can send them again after a crash. */
const isSdkKey = (key: string | undefined): boolean => key === undefined || key.startsWith('stripe-node-retry-');

export async function startStripeStandin(): Promise<StripeStandin> {
  let offset = 0;
  let faults: Fault[] = [];
  const second = (): number => Math.floor(Date.now() / 1000) + offset;
  const hooks = new Hooks();
  const books = new Books(second, (event) => hooks.send(event));
  const answers = new Map<string, StoredAnswer>();
  const requests: StripeStandin['requests'] = [];

  const takeFault = (method: string, path: string, text: string): Fault | undefined => {
    const fault = faults.find(
      (of) =>
        (of.times ?? 1) > 0 &&
        (!of.method || of.method === method) &&
        (!of.path || of.path.test(path)) &&
        (!of.body || text.includes(of.body)),
    );
    if (fault) fault.times = (fault.times ?? 1) - 1;
    return fault;
  };

  /** Stripe's rules (docs.stripe.com/api/idempotent_requests): the first answer is repeated, errors included, for a day. */
  const execute = async ({
    method,
    path,
    key,
    text,
    fault,
  }: {
    method: string;
    path: string;
    key: string | undefined;
    text: string;
    fault: Fault | undefined;
  }): Promise<{ status: number; body: Wire; headers?: Record<string, string> }> => {
    const route = resolveRoute(method, path);
    if (!route)
      throw new StripeFault(404, {
        type: 'invalid_request_error',
        message: `Unrecognized request URL (${method}: ${path}).`,
      });
    if (method !== 'POST') return { status: 200, body: route.handle(books, route.id, parseForm(text)) };
    if (isSdkKey(key)) throw invalid('Every POST is expected to have an idempotency key of the application');

    const fingerprint = createHash('sha256').update(`${path}\n${text}`).digest('hex');
    let stored = answers.get(key!);
    if (stored?.done && second() - stored.at > keysLastSeconds) stored = undefined;
    if (stored && stored.fingerprint !== fingerprint) {
      throw new StripeFault(400, {
        type: 'idempotency_error',
        message: 'Keys for idempotent requests can only be used with the same parameters they were first used with.',
      });
    }
    if (stored && !stored.done) {
      throw new StripeFault(409, {
        type: 'idempotency_error',
        code: 'idempotency_key_in_use',
        message: 'There is currently another in-progress request using this Stripe Idempotency-Key.',
      });
    }
    if (stored?.done) return { ...stored.done, headers: { 'idempotent-replayed': 'true' } };

    const slot: StoredAnswer = { fingerprint, at: second() };
    answers.set(key!, slot);
    if (fault?.kind === 'slow') {
      fault.seen?.();
      await sleep(fault.ms ?? 50);
    }
    try {
      slot.done = { status: 200, body: structuredClone(route.handle(books, route.id, parseForm(text))) };
    } catch (error) {
      if (!(error instanceof StripeFault)) throw error;
      if (error.status !== 402) {
        answers.delete(key!); // what was refused before it began may be corrected under its key
        throw error;
      }
      slot.done = { status: 402, body: { error: error.error } };
    }
    if (fault?.kind === 'status_after') slot.done = { status: 500, body: serverError };
    return slot.done;
  };

  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url!, 'http://standin');
    const [method, path] = [request.method!, url.pathname];
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = method === 'POST' ? Buffer.concat(chunks).toString() : url.search.slice(1);
    if (path.startsWith('/__ctl/')) return answer(response, 200, control(path, { books, requests }));
    const key = request.headers['idempotency-key']?.toString();
    requests.push({ method, path, key });
    const hit = takeFault(method, path, text);
    const fault = hit?.kind;
    if (fault?.endsWith('_before')) hit?.seen?.();
    if (fault === 'drop_before') return void request.socket.destroy();
    if (fault === 'hang_before') return;
    if (fault === 'status_before') return answer(response, 500, serverError);
    if (fault === 'rate_limit' || fault === 'lock_timeout') {
      const error = { type: 'invalid_request_error', code: fault, message: 'Too many requests at once' };
      return answer(response, 429, { error });
    }
    let result: { status: number; body: Wire; headers?: Record<string, string> };
    try {
      if (!/^Bearer sk_test_\w+$/.test(request.headers.authorization ?? '')) {
        throw new StripeFault(401, { type: 'invalid_request_error', message: 'Invalid API Key provided: sk_****' });
      }
      result = await execute({ method, path, key, text, fault: hit });
    } catch (error) {
      if (!(error instanceof StripeFault)) throw error;
      result = { status: error.status, body: { error: error.error }, headers: error.headers };
    }
    if (!fault?.endsWith('_before') && fault !== 'slow') hit?.seen?.();
    if (fault === 'drop_after') return void request.socket.destroy();
    if (fault === 'hang_after') return;
    if (fault === 'truncate') {
      const whole = JSON.stringify(result.body);
      response.writeHead(result.status, { 'content-type': 'application/json', 'content-length': whole.length });
      response.write(whole.slice(0, whole.length >> 1));
      return void setTimeout(() => request.socket.destroy(), 5);
    }
    answer(response, result.status, result.body, result.headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    books,
    hooks,
    requests,
    fail: (...more) => {
      faults.push(...more.map((fault) => ({ ...fault })));
    },
    heal: () => {
      faults = [];
    },
    advanceSeconds: (seconds) => {
      offset += seconds;
    },
    stop: async () => {
      hooks.target = undefined;
      await hooks.drained();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const serverError = { error: { type: 'api_error', message: 'An error occurred' } };

function answer(response: http.ServerResponse, status: number, body: Wire, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', 'request-id': newRef('req'), ...headers });
  response.end(JSON.stringify(body));
}

/** A look inside from another process: `/__ctl/ledger`, `/__ctl/requests`. No part of Stripe. */
function control(path: string, { books, requests }: Pick<StripeStandin, 'books' | 'requests'>): Wire {
  if (path === '/__ctl/requests') return requests;
  const { charges, amountMinor, duplicates } = books.ledger();
  return { charges, amountMinor: amountMinor.toString(), duplicates };
}
