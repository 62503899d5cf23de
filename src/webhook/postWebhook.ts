import { promises as dns } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, request } from 'undici';
import { type AddressLookup, isAllowedAddress, type TargetPolicy } from './targetAddress.js';

export interface WebhookPost {
  url: string;
  /** The signature headers; content type and user agent are added. */
  headers: Record<string, string>;
  body: string;
}

/** What became of one attempt. */
export interface PostOutcome {
  /** The receiver answered 2xx in time. */
  ok: boolean;
  /** `null` when no answer came. */
  status: number | null;
  durationMs: number;
  /** The first 1 kB of the answer as text; what isn't UTF-8 or can't be stored as text is replaced by U+FFFD. */
  responseExcerpt: string;
  /** A short reason, e.g. `timeout`, `connect refused`, `redirect`, `status 500`; `null` when ok. */
  error: string | null;
  /** What the answer's Retry-After asks for, at most a day. */
  retryAfterSeconds: number | null;
  /** 410: the receiver wants no more deliveries. */
  gone: boolean;
}

export interface WebhookPoster {
  /** Never throws for what network or receiver do wrong. A `signal` that fires ends the attempt as `aborted`. */
  post(input: WebhookPost, signal?: AbortSignal): Promise<PostOutcome>;
  /** Waits for the attempts under way (for one that was aborted, at most until it is connected), then disconnects. */
  close(): Promise<void>;
}

const MAX_READ_BYTES = 20_000;
const MAX_EXCERPT_BYTES = 1_000;
const MAX_RETRY_AFTER_SECONDS = 86_400;

const defaults = {
  /** For the whole attempt, from lookup to the last byte read. */
  timeoutMs: 15_000,
  /** For lookup, TCP and TLS together. */
  connectTimeoutMs: 5_000,
  lookup: dns.lookup as AddressLookup,
};

/** A failure that we ourselves caused; the message is the reason shown to the endpoint's owner. */
class PostRefused extends Error {}

/**
 * Posts webhooks over HTTP/1.1, keeping connections alive per host. Redirects are not followed. `policy` is applied
 * to the very addresses a socket gets, so a name that changed its addresses since registration is no way in.
 */
export function createWebhookPoster(policy: TargetPolicy, options: Partial<typeof defaults> = {}): WebhookPoster {
  const { timeoutMs, connectTimeoutMs, lookup } = { ...defaults, ...options };
  // The attempt has one deadline of its own, so the client's limits for headers and body are off.
  const agent = new Agent({
    connect: guardConnector(policy, lookup, connectTimeoutMs),
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  async function post(input: WebhookPost, signal?: AbortSignal): Promise<PostOutcome> {
    const startedAt = performance.now();
    const elapsedMs = () => Math.round(performance.now() - startedAt);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(new PostRefused('timeout')), timeoutMs);
    const abort = () => stop.abort(new PostRefused('aborted'));
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    try {
      stop.signal.throwIfAborted();
      const stopped = rejectOnAbort(stop.signal);
      const answered = request(input.url, {
        dispatcher: agent,
        method: 'POST',
        headers: { ...input.headers, 'content-type': 'application/json', 'user-agent': 'Semaswift-Billing-Webhooks/1' },
        body: input.body,
        signal: stop.signal,
      });
      const { statusCode, headers, body } = await Promise.race([answered, stopped]);
      const responseExcerpt = await readExcerpt(body);
      const ok = statusCode >= 200 && statusCode < 300;
      return {
        ok,
        status: statusCode,
        durationMs: elapsedMs(),
        responseExcerpt,
        error: ok ? null : statusCode < 400 ? 'redirect' : `status ${statusCode}`,
        retryAfterSeconds: parseRetryAfter(headers['retry-after']),
        gone: statusCode === 410,
      };
    } catch (error) {
      return {
        ok: false,
        status: null,
        durationMs: elapsedMs(),
        responseExcerpt: '',
        error: describeFailure(error),
        retryAfterSeconds: null,
        gone: false,
      };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  return { post, close: () => agent.close() };
}

/** undici looks at a request's signal only once it is connected; the attempt has to end sooner. */
function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Opens sockets to allowed addresses only. The check stands here because nothing can come between it and connect. */
function guardConnector(policy: TargetPolicy, lookup: AddressLookup, timeoutMs: number): buildConnector.connector {
  const lookupAllowed: LookupFunction = (hostname, _options, callback) => {
    lookup(hostname, { all: true }).then(
      (addresses) =>
        // One address that isn't allowed refuses the name, as at registration: a mixed answer is how rebinding starts.
        addresses.every(({ address }) => isAllowedAddress(address, policy))
          ? callback(null, addresses)
          : callback(new PostRefused('address not allowed'), []),
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
  // autoSelectFamily makes the socket ask for all addresses. HTTP/2 is off: there, an answer that is cut short would
  // only end its stream, and the receiver's connection would live on.
  const connect = buildConnector({ lookup: lookupAllowed, autoSelectFamily: true, allowH2: false, timeout: timeoutMs });
  return (target, callback) => {
    if (target.protocol !== 'https:' && !policy.allowInsecure) return callback(new PostRefused('https expected'), null);
    // A literal address is never looked up.
    if (isIP(target.hostname) !== 0 && !isAllowedAddress(target.hostname, policy)) {
      return callback(new PostRefused('address not allowed'), null);
    }
    connect(target, callback);
  };
}

/**
 * Reads at most 20 kB and then drops the connection; a shorter answer is read to its end, so that its connection can
 * be used again. The status has decided by now: a body that breaks off or drips past the deadline shortens the excerpt.
 */
async function readExcerpt(body: AsyncIterable<Buffer>): Promise<string> {
  const kept: Buffer[] = [];
  let readBytes = 0;
  try {
    for await (const chunk of body) {
      if (readBytes < MAX_EXCERPT_BYTES) kept.push(chunk);
      readBytes += chunk.length;
      if (readBytes >= MAX_READ_BYTES) break;
    }
  } catch {
    // What was read until then is still the best account of what the receiver said.
  }
  const excerpt = Buffer.concat(kept).subarray(0, MAX_EXCERPT_BYTES);
  // `stream` leaves out a character that the cut went through. PostgreSQL's text can't hold NUL.
  return new TextDecoder().decode(excerpt, { stream: readBytes > MAX_EXCERPT_BYTES }).replaceAll('\0', '\uFFFD');
}

/** RFC 9110, 10.2.3: seconds or an HTTP date; anything else counts as not given. */
function parseRetryAfter(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((parseHttpDateMs(value) - Date.now()) / 1000);
  return Number.isNaN(seconds) ? null : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS);
}

/** `Date.parse` alone would take '-5' for a year. */
function parseHttpDateMs(value: string): number {
  return /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(value)
    ? Date.parse(value)
    : Number.NaN;
}

/** By the error's code or, where it has none, its name. */
const reasons = new Map([
  ['ECONNREFUSED', 'connect refused'],
  ['UND_ERR_CONNECT_TIMEOUT', 'connect timeout'],
  ['ENOTFOUND', 'name does not resolve'],
  ['EAI_AGAIN', 'name does not resolve'],
  ['ECONNRESET', 'connection lost'],
  ['EPIPE', 'connection lost'],
  ['UND_ERR_SOCKET', 'connection lost'],
  ['HTTPParserError', 'not an HTTP answer'],
]);

function describeFailure(error: unknown): string {
  if (error instanceof PostRefused) return error.message;
  const { code, name } = error as NodeJS.ErrnoException;
  return reasons.get(String(code)) ?? reasons.get(name) ?? `failed (${code ?? name})`;
}
