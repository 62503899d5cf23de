import { channel } from 'node:diagnostics_channel';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, Server as TcpServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { createWebhookPoster } from '../../src/webhook/postWebhook.js';

const development = { allowInsecure: true };
const strict = { allowInsecure: false };

/** Closed after each test, last opened first. A server ends only when its last connection has: a leak fails the test. */
let open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  const closing = open.reverse();
  open = [];
  for (const one of closing) await one.close();
});

describe('an attempt', () => {
  test('that is answered 2xx succeeds, and those after it use its connection again', async () => {
    const seen: unknown[] = [];
    const receiver = await serve(async (request, response) => {
      const { 'content-type': type, 'user-agent': agent, 'webhook-id': id } = request.headers;
      seen.push([request.method, request.url, type, agent, id, await text(request)]);
      response.writeHead(201).end('thanks');
    });
    const poster = openPoster();
    const input = { url: `${receiver.url}/hook?a=1`, headers: { 'webhook-id': 'evt_1' }, body: '{"type":"é"}' };

    for (let attempt = 0; attempt < 6; attempt += 1) {
      expect(await poster.post(input)).toEqual({
        ok: true,
        status: 201,
        durationMs: expect.any(Number),
        responseExcerpt: 'thanks',
        error: null,
        retryAfterSeconds: null,
        gone: false,
      });
    }
    const sent = ['POST', '/hook?a=1', 'application/json', 'Semaswift-Billing-Webhooks/1', 'evt_1', input.body];
    expect(seen).toEqual(Array(6).fill(sent));
    // A post in the very tick in which the one before ended finds its connection not free yet: two take turns.
    expect(receiver.connections).toBeLessThanOrEqual(2);
  });

  test.each([
    [500, { ok: false, error: 'status 500', gone: false }],
    [404, { ok: false, error: 'status 404', gone: false }],
    [410, { ok: false, error: 'status 410', gone: true }],
    [204, { ok: true, error: null, gone: false }],
    [304, { ok: false, error: 'redirect', gone: false }],
  ])('that is answered %i says so', async (status, outcome) => {
    const receiver = await serve((_request, response) => response.writeHead(status).end());
    expect(await openPoster().post(post(receiver.url))).toMatchObject({ status, ...outcome });
  });

  test.each([301, 302, 303, 307, 308])('that is redirected by %i fails and follows nothing', async (status) => {
    const canary = await serve((_request, response) => response.end());
    const receiver = await serve((_request, response) =>
      response.writeHead(status, { location: canary.url }).end('moved'),
    );
    const outcome = await openPoster().post(post(receiver.url));
    expect(outcome).toMatchObject({ ok: false, status, error: 'redirect', responseExcerpt: 'moved' });
    expect(canary.connections).toBe(0);
  });

  test('without an answer ends at the deadline', async () => {
    const receiver = await serve(() => {});
    const outcome = await openPoster({ timeoutMs: 200 }).post(post(receiver.url));
    expect(outcome).toMatchObject({ ok: false, status: null, error: 'timeout', responseExcerpt: '' });
    expect(outcome.durationMs).toBeGreaterThanOrEqual(190);
    expect(outcome.durationMs).toBeLessThan(1_000);
  });

  test.each([
    [200, { ok: true, error: null }],
    [503, { ok: false, error: 'status 503' }],
  ])('whose %i drips on ends at the deadline, and the status decides', async (status, expected) => {
    const receiver = await serve((_request, response) => {
      response.writeHead(status).write('drip ');
      const drip = setInterval(() => response.write('drip '), 20);
      response.on('close', () => clearInterval(drip));
    });
    const outcome = await openPoster({ timeoutMs: 200 }).post(post(receiver.url));
    expect(outcome).toMatchObject({ status, ...expected, responseExcerpt: expect.stringMatching(/^drip drip /) });
    expect(outcome.durationMs).toBeLessThan(1_000);
  });

  test('whose answer is 1 MB reads little more than 20 kB of it and drops the connection', async () => {
    const sockets = watchSockets();
    const receiver = await serve((_request, response) => response.end(Buffer.alloc(1_000_000, 'x')));
    const poster = openPoster();
    const outcome = await poster.post(post(receiver.url));
    expect(outcome).toMatchObject({ ok: true, status: 200, responseExcerpt: 'x'.repeat(1_000) });
    // 20 kB, plus at most the one read of 64 KiB that was under way.
    expect(sockets[0]?.bytesRead).toBeLessThanOrEqual(20_000 + 65_536);
    expect(sockets[0]?.destroyed).toBe(true);

    await poster.post(post(receiver.url));
    expect(receiver.connections).toBe(2);
  });

  test('whose answer never ends stops reading it long before the deadline', async () => {
    const receiver = await serve((_request, response) => {
      const pump = () => {
        while (!response.destroyed && response.write('x'.repeat(1_000)));
      };
      response.on('drain', pump);
      pump();
    });
    const outcome = await openPoster().post(post(receiver.url));
    expect(outcome).toMatchObject({ ok: true, status: 200 });
    expect(outcome.durationMs).toBeLessThan(2_000);
  });

  test('whose answer breaks off keeps its status and what came', async () => {
    const receiver = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half', () => response.destroy());
    });
    expect(await openPoster().post(post(receiver.url))).toMatchObject({
      ok: true,
      status: 200,
      responseExcerpt: 'half',
    });
  });

  test.each([
    ['invalid UTF-8', Buffer.from([0x61, 0xff, 0x62]), 'a\uFFFDb'],
    ['NUL, which PostgreSQL refuses', Buffer.from('a\0b'), 'a\uFFFDb'],
    ['a character cut in two by the limit', Buffer.from(`${'x'.repeat(999)}é${'y'.repeat(50)}`), 'x'.repeat(999)],
    ['a character cut in two by the receiver', Buffer.from([0x61, 0xc3]), 'a\uFFFD'],
  ])('whose answer has %s yields storable text', async (_what, answer, excerpt) => {
    const receiver = await serve((_request, response) => response.end(answer));
    expect((await openPoster().post(post(receiver.url))).responseExcerpt).toBe(excerpt);
  });

  test.each([
    ['120', 120],
    ['0', 0],
    ['999999999999', 86_400],
    [new Date(Date.now() - 60_000).toUTCString(), 0],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 86_400],
    ['-5', null],
    ['soon', null],
    ['Xxx, 99 Yyy 2026 00:00:00 GMT', null],
  ])('whose answer says Retry-After: %s asks for %s seconds', async (header, seconds) => {
    const receiver = await serve((_request, response) => response.writeHead(503, { 'retry-after': header }).end());
    expect((await openPoster().post(post(receiver.url))).retryAfterSeconds).toBe(seconds);
  });

  test('whose answer names a time to retry asks for the seconds until then', async () => {
    const receiver = await serve((_request, response) => {
      response.writeHead(429, { 'retry-after': new Date(Date.now() + 90_000).toUTCString() }).end();
    });
    const { retryAfterSeconds } = await openPoster().post(post(receiver.url));
    expect(retryAfterSeconds).toBeGreaterThan(85);
    expect(retryAfterSeconds).toBeLessThanOrEqual(90);
  });
});

describe('a failing network', () => {
  test('that refuses the connection is named', async () => {
    const receiver = await serve(() => {});
    await receiver.close();
    expect(await openPoster().post(post(receiver.url))).toMatchObject({
      ok: false,
      status: null,
      error: 'connect refused',
    });
  });

  test('that hangs up without an answer is named', async () => {
    const receiver = await serve((request) => request.socket.destroy());
    expect(await openPoster().post(post(receiver.url))).toMatchObject({ ok: false, error: 'connection lost' });
  });

  test('that speaks something else is named', async () => {
    const canary = await listenTcp((socket) => socket.end('220 mail ready\r\n'));
    const outcome = await openPoster().post(post(`http://127.0.0.1:${canary.port}`));
    expect(outcome).toMatchObject({ ok: false, error: 'not an HTTP answer' });
  });

  test('that finishes no TLS handshake ends at the connect limit', async () => {
    const canary = await listenTcp(() => {});
    const outcome = await openPoster({ connectTimeoutMs: 150 }).post(post(`https://127.0.0.1:${canary.port}`));
    expect(outcome).toMatchObject({ ok: false, error: 'connect timeout' });
    // The client's connect timer is coarse: it may ring up to a second late.
    expect(outcome.durationMs).toBeLessThan(2_000);
  });

  test('that resolves no name in time ends at the connect limit', async () => {
    const poster = openPoster({ connectTimeoutMs: 150, lookup: () => new Promise(() => {}) });
    expect(await poster.post(post('http://hooks.example.com'))).toMatchObject({ ok: false, error: 'connect timeout' });
  });

  test('that does not know the name is named', async () => {
    const lookup = async () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }));
    expect(await openPoster({ lookup }).post(post('http://hooks.example.com'))).toMatchObject({
      error: 'name does not resolve',
    });
  });
});

describe('a signal', () => {
  test('that fires ends the attempt at once', async () => {
    const stop = new AbortController();
    const receiver = await serve(() => stop.abort());
    expect(await openPoster().post(post(receiver.url), stop.signal)).toMatchObject({
      ok: false,
      status: null,
      error: 'aborted',
    });
  });

  test('that fires ends an attempt that is still connecting, and sends nothing later', async () => {
    const stop = new AbortController();
    const found = Promise.withResolvers<LookupAddress[]>();
    const receiver = await serve((_request, response) => response.end());
    const poster = openPoster({
      lookup: () => {
        stop.abort();
        return found.promise;
      },
    });
    const url = `http://hooks.example.com:${receiver.port}`;
    const outcome = await poster.post(post(url), stop.signal);
    expect(outcome).toMatchObject({ ok: false, status: null, error: 'aborted' });
    expect(outcome.durationMs).toBeLessThan(1_000);

    found.resolve([{ address: '127.0.0.1', family: 4 }]);
    await poster.close();
    expect(receiver.requests).toBe(0);
  });

  test('that has fired before lets nothing out', async () => {
    const receiver = await serve((_request, response) => response.end());
    expect(await openPoster().post(post(receiver.url), AbortSignal.abort())).toMatchObject({ error: 'aborted' });
    expect(receiver.connections).toBe(0);
  });
});

describe('an address that is not allowed', () => {
  const answering =
    (...addresses: string[]) =>
    async (): Promise<LookupAddress[]> =>
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

  test.each([
    '127.0.0.1',
    '2130706433',
    '0177.0.0.1',
    '0x7f.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '0',
  ])('is never connected to when the URL spells it %s', async (host) => {
    const canary = await listenTcp((socket) => socket.destroy());
    const outcome = await openPoster({ policy: strict }).post(post(`https://${host}:${canary.port}`));
    expect(outcome).toMatchObject({ ok: false, status: null, error: 'address not allowed' });
    expect(canary.connections).toBe(0);
  });

  test.each([
    ['127.0.0.1'],
    ['::1'],
    ['::ffff:127.0.0.1'],
    ['8.8.8.8', '127.0.0.1'],
    ['127.0.0.1', '8.8.8.8'],
  ])('is never connected to when the name resolves to %s %s at delivery', async (...addresses) => {
    const canary = await listenTcp((socket) => socket.destroy());
    const poster = openPoster({ policy: strict, lookup: answering(...addresses) });
    const outcome = await poster.post(post(`https://hooks.example.com:${canary.port}`));
    expect(outcome).toMatchObject({ ok: false, status: null, error: 'address not allowed' });
    expect(canary.connections).toBe(0);
  });

  test('is refused on the connection after a rebind, though the one before was allowed', async () => {
    const receiver = await serve((_request, response) => response.writeHead(200, { connection: 'close' }).end());
    const answers = [answering('127.0.0.1'), answering('10.0.0.1')];
    const poster = openPoster({ lookup: () => answers.shift()!() });
    const url = `http://hooks.example.com:${receiver.port}`;
    expect(await poster.post(post(url))).toMatchObject({ ok: true });
    expect(await poster.post(post(url))).toMatchObject({ ok: false, error: 'address not allowed' });
  });

  test.each(['10.0.0.1', '169.254.169.254', '0.0.0.0', '::'])('is refused in development too: %s', async (address) => {
    const poster = openPoster({ lookup: answering(address) });
    expect(await poster.post(post('http://hooks.example.com:1'))).toMatchObject({ error: 'address not allowed' });
  });

  test.each(['127.0.0.1', '[::1]', 'localhost'])('is not the loopback in development: %s', async (host) => {
    const receiver = await serve((_request, response) => response.end(), host.includes(':') ? '::1' : '127.0.0.1');
    expect(await openPoster().post(post(`http://${host}:${receiver.port}`))).toMatchObject({ ok: true });
  });

  test('is not the only hurdle: http is refused outside development', async () => {
    const canary = await listenTcp((socket) => socket.destroy());
    expect(await openPoster({ policy: strict }).post(post(`http://127.0.0.1:${canary.port}`))).toMatchObject({
      error: 'https expected',
    });
    expect(canary.connections).toBe(0);
  });
});

describe('closing', () => {
  test('ends the idle connections', async () => {
    const sockets = watchSockets();
    const receiver = await serve((_request, response) => response.end());
    const poster = openPoster();
    await poster.post(post(receiver.url));
    expect(sockets.map((socket) => socket.destroyed)).toEqual([false]);
    await poster.close();
    expect(sockets.map((socket) => socket.destroyed)).toEqual([true]);
  });

  test('waits for the attempt under way', async () => {
    const closing = Promise.withResolvers<void>();
    const receiver = await serve(async (_request, response) => {
      closing.resolve(poster.close());
      setImmediate(() => response.end('done'));
    });
    const poster = openPoster();
    expect(await poster.post(post(receiver.url))).toMatchObject({ ok: true, responseExcerpt: 'done' });
    await closing.promise;
  });
});

function post(url: string) {
  return { url, headers: {}, body: '{}' };
}

type PosterOptions = NonNullable<Parameters<typeof createWebhookPoster>[1]>;

function openPoster({ policy = development, ...options }: PosterOptions & { policy?: typeof development } = {}) {
  const poster = createWebhookPoster(policy, options);
  let closed: Promise<void> | undefined;
  const opened = {
    post: poster.post,
    close() {
      closed ??= poster.close();
      return closed;
    },
  };
  open.push(opened);
  return opened;
}

async function serve(answer: RequestListener, host = '127.0.0.1') {
  const http = createServer(answer);
  const server = await listen(http, host);
  const receiver = Object.assign(server, { url: `http://127.0.0.1:${server.port}`, requests: 0 });
  http.on('request', () => {
    receiver.requests += 1;
  });
  return receiver;
}

/** Listens on both families, so that a spelling of either would reach it. */
function listenTcp(accept: (socket: Socket) => void) {
  return listen(
    createTcpServer((socket) => accept(socket.on('error', () => {}).resume())),
    '::',
  );
}

async function listen(server: TcpServer, host: string) {
  let connections = 0;
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, host);
  await once(server, 'listening');
  const listening = {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      // The HTTP server's own close would end idle connections from its side and so hide a leak on ours.
      TcpServer.prototype.close.call(server);
      await closed;
    },
  };
  open.push(listening);
  return listening;
}

/** The sockets that the HTTP client opens during a test. */
function watchSockets(): Socket[] {
  const sockets: Socket[] = [];
  const connected = channel('undici:client:connected');
  const keep = (message: unknown) => sockets.push((message as { socket: Socket }).socket);
  connected.subscribe(keep);
  open.push({
    async close() {
      connected.unsubscribe(keep);
    },
  });
  return sockets;
}
