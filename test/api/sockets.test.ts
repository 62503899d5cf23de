import { connect as connectTcp } from 'node:net';
import { createKey, revokeKey } from '../../src/account/apiKeys.js';
import { money } from '../../src/domain/money.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import { subscribed } from '../support/graphql.js';
import { connect, listen, rawSocket } from '../support/sockets.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const record = (account: TestAccount, transactionId: string, metric: string, value: string) =>
  recordUsage(world.deps, account.actor, [{ transactionId, metric, value }]);
const cursorQuery = ({ id }: TestAccount) =>
  sql<{ seq: string }>`select seq from event_cursor where account_id = ${id}`;
const pay = (account: TestAccount, idempotencyKey: string, minorUnits = 100n) =>
  topUp(world.deps, account.actor, { idempotencyKey, amount: money(minorUnits, 'USD') });

describe('the handshake', () => {
  test('without connection_init the socket is closed with 4408 after 3 s', async () => {
    const { closed } = await rawSocket(world);
    const { code, afterMs } = await closed;
    expect(code).toBe(4408);
    expect(afterMs).toBeGreaterThan(2_900);
    expect(afterMs).toBeLessThan(4_000);
  });

  test.each<[string, object | undefined]>([
    ['no payload', undefined],
    ['no token', {}],
    ['a wrong token', { authorization: 'Bearer nonsense' }],
    ['a token that is no text', { authorization: { a: 1 }, token: 7, headers: 'x' }],
  ])('%s is 4401', async (_what, payload) => {
    const socket = await rawSocket(world);
    socket.send({ type: 'connection_init', payload });
    expect((await socket.closed).code).toBe(4401);
  });

  test('an operation before the acknowledgement is 4401, a second init 4429, nonsense 4400', async () => {
    const early = await rawSocket(world);
    early.send({ id: '1', type: 'subscribe', payload: { query: '{ viewer { id } }' } });
    expect((await early.closed).code).toBe(4401);
    const { token } = await world.account();
    const twice = await rawSocket(world, token);
    twice.send({ type: 'connection_init' });
    expect((await twice.closed).code).toBe(4429);
    for (const nonsense of [
      '{',
      '{"type":"nonsense"}',
      '{"id":"1","type":"subscribe","payload":{}}',
      '{"id":"1","type":"subscribe","payload":{"query":7}}',
      '[]',
    ]) {
      const socket = await rawSocket(world, token);
      socket.send(nonsense);
      expect({ nonsense, code: (await socket.closed).code }).toEqual({ nonsense, code: 4400 });
    }
  });

  test.each(['authorization', 'Authorization'])('the token may stand as %s, in headers, or bare', async (name) => {
    const { token, publicId: id } = await world.account();
    for (const connectionParams of [
      { [name]: `Bearer ${token}` },
      { headers: { [name]: `Bearer ${token}` } },
      { token },
    ]) {
      const client = connect(world, '', { connectionParams });
      expect(await listen(client, '{ viewer { id } }').first(1)).toEqual([{ data: { viewer: { id } } }]);
      await client.dispose();
    }
  });

  test('an operator names the account; an unknown one, in whatever letters, closes with a reason and not with a crash', async () => {
    const account = await world.account();
    const { token } = await createKey(world.deps, { accountId: undefined, scopes: ['*'] });
    const client = connect(world, '', { connectionParams: { token, billingAccount: account.publicId } });
    expect(await listen(client, '{ viewer { id } }').first(1)).toEqual([
      { data: { viewer: { id: account.publicId } } },
    ]);
    await client.dispose();
    const lost = await rawSocket(world);
    lost.send({ type: 'connection_init', payload: { token, billingAccount: '😀'.repeat(200) } });
    expect(await lost.closed).toMatchObject({ code: 4400, reason: expect.stringMatching(/^No account/) });
    const unnamed = await rawSocket(world, token);
    unnamed.send({ id: '1', type: 'subscribe', payload: { query: 'subscription { usageUpdated { watermark } }' } });
    expect((await unnamed.next('error', '1')).payload[0].extensions.code).toBe('INVALID');
    unnamed.socket.close();
  });

  test.each([
    '//',
    'http://[',
    '/other',
    '/graphql/../x',
    '*',
  ])('an upgrade to %s ends the connection and not the server', async (path) => {
    const { hostname, port } = new URL(world.url);
    const socket = connectTcp(Number(port), hostname);
    socket.on('error', () => {}); // a reset is as good as an end
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.once('close', resolve).resume());
    expect((await fetch(`${world.url}/healthz`)).status).toBe(200);
  });
});

describe('limits', () => {
  test('a message over 64 kB closes the socket with 1009; one just below runs', async () => {
    const { token } = await world.account();
    const socket = await rawSocket(world, token);
    const message = (bytes: number) => ({
      id: '1',
      type: 'subscribe',
      payload: { query: '{ viewer { id } }', variables: { pad: 'x'.repeat(bytes) } },
    });
    socket.send(message(65_000));
    await socket.next('complete', '1');
    socket.send(message(66_000));
    expect((await socket.closed).code).toBe(1009);
  });

  test('an eleventh operation at a time is refused, and the ten go on', async () => {
    const account = await subscribed(world);
    const socket = await rawSocket(world, account.token);
    for (let i = 1; i <= 11; i++)
      socket.send({
        id: `${i}`,
        type: 'subscribe',
        payload: { query: 'subscription { walletUpdated { balance { amount } } }' },
      });
    expect((await socket.next('error', '11')).payload[0].extensions.code).toBe('LIMIT_EXCEEDED');
    await pay(account, 'k');
    await until(
      () =>
        new Set(
          socket.messages.filter((m) => m.payload?.data?.walletUpdated.balance.amount === '1.00').map((m) => m.id),
        ).size === 10,
    );
    socket.send({ id: '10', type: 'complete' });
    socket.send({ id: '12', type: 'subscribe', payload: { query: 'subscription { walletUpdated { id } }' } });
    await socket.next('next', '12');
    socket.socket.close();
  });

  test('a mistake in one operation ends that operation and no other', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const lasting = listen(client, 'subscription { usageUpdated { watermark } }');
    await lasting.first(1);
    const mistakes: [string, string, Record<string, unknown>?][] = [
      ['GRAPHQL_PARSE_FAILED', '{ viewer {'],
      ['GRAPHQL_VALIDATION_FAILED', '{ viewer { nam } }'],
      ['GRAPHQL_VALIDATION_FAILED', 'subscription { usageUpdated { watermark } walletUpdated { id } }'],
      ['INVALID', 'query($n: Int!) { plans(first: $n) { nodes { id } } }', { n: 'many' }],
      ['INVALID', 'query($s: [InvoiceStatus!]) { invoices(status: $s) { nodes { id } } }', { s: ['PAIT'] }],
      ['INVALID', 'subscription { billingEvents(after: "x") { id } }'],
      ['INVALID', 'subscription { billingEvents(types: ["nonsense"]) { id } }'],
      ['INVALID', '{ plans(first: 0) { nodes { id } } }'],
      ['OPERATION_RESOLUTION_FAILURE', 'query A { viewer { id } } query B { viewer { id } }'],
    ];
    for (const [code, query, variables] of mistakes) {
      const heard = listen(client, query, variables);
      const ended = (await heard.ended) as { message: string; extensions: { code: string } }[] | 'complete';
      const error = ended === 'complete' ? heard.results[0].errors[0] : ended[0];
      expect({ query, code: error.extensions?.code }).toEqual({ query, code });
      expect(error.message).not.toMatch(/did you mean/i);
    }
    await record(account, 'after', 'users', '3');
    expect((await lasting.first(2))[1].data.usageUpdated.watermark).toBe('1');
    await client.dispose();
  });

  test('a subscription without the scope is FORBIDDEN', async () => {
    const account = await world.account();
    const { token } = await createKey(world.deps, { accountId: account.id, scopes: [] });
    const client = connect(world, token);
    for (const field of [
      'billingEvents { id }',
      'usageThreshold { cursor }',
      'usageUpdated { watermark }',
      'invoiceUpdated { id }',
      'walletUpdated { id }',
    ]) {
      const heard = listen(client, `subscription { ${field} }`);
      await heard.ended;
      expect({ field, code: heard.results[0].errors[0].extensions.code }).toEqual({ field, code: 'FORBIDDEN' });
    }
    await client.dispose();
  });

  test('a consumer that stops reading is closed with 1013 instead of filling the memory', async () => {
    const account = await subscribed(world, { planCode: 'plan_enterprise' });
    await Promise.all(Array.from({ length: 60 }, (_, i) => pay(account, `k${i}`)));
    const socket = await rawSocket(world, account.token);
    socket.socket.pause();
    const query = `{ events(first: 100) { nodes { ${Array.from({ length: 30 }, (_, i) => `d${i}: data`).join(' ')} } } }`;
    for (let i = 0; i < 60; i++) {
      socket.send({ id: `${i}`, type: 'subscribe', payload: { query } });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    socket.socket.resume();
    expect((await socket.closed).code).toBe(1013);
  });
});

describe('the end of a key', () => {
  test('closes its sockets with 4401 within a second of its expiry and of its revocation, and no others', async () => {
    const account = await world.account();
    const staying = await rawSocket(world, account.token);
    const short = await createKey(world.deps, { accountId: account.id, scopes: ['*'], expiresInMs: 1_500 });
    const expiring = await rawSocket(world, short.token);
    const { reason, code } = await expiring.closed;
    expect(Date.now() - short.key.expiresAt!.getTime()).toBeLessThan(1_000);
    expect(Date.now()).toBeGreaterThanOrEqual(short.key.expiresAt!.getTime());
    expect([code, reason]).toEqual([4401, 'The token has expired or was revoked']);

    const taken = await createKey(world.deps, { accountId: account.id, scopes: ['*'] });
    const revoked = await rawSocket(world, taken.token);
    await revokeKey(world.deps, { keyId: publicId('apiKey', taken.key.id) });
    const revokedAt = performance.now();
    expect((await revoked.closed).code).toBe(4401);
    expect(performance.now() - revokedAt).toBeLessThan(1_000);
    staying.send({ id: '1', type: 'subscribe', payload: { query: '{ viewer { id } }' } });
    await staying.next('complete', '1');
    staying.socket.close();
  });
});

describe('subscriptions', () => {
  const cursorsOf = (results: { data: { billingEvents: { cursor: string } } }[]) =>
    results.map((r) => Number(r.data.billingEvents.cursor));

  test('billingEvents replays from any cursor and goes live, with no gap and no repeat under concurrent writes', async () => {
    const account = await subscribed(world);
    const total = 200;
    const before = Number((await world.rows(cursorQuery(account)))[0]!.seq);
    const clients = Array.from({ length: 12 }, () => connect(world, account.token));
    const heard: { from: number; heard: ReturnType<typeof listen> }[] = [];
    const join = (client: (typeof clients)[number], from: number) =>
      heard.push({
        from,
        heard: listen(client, 'subscription($after: String) { billingEvents(after: $after) { cursor type } }', {
          after: String(from),
        }),
      });
    const writers = Array.from({ length: 10 }, async (_, writer) => {
      for (let i = 0; i < total / 10; i++) {
        await pay(account, `w${writer}-${i}`);
        if (writer === 0 && i < clients.length)
          join(clients[i]!, i % 3 === 0 ? 0 : Math.floor(Math.random() * (before + i * 10)));
      }
    });
    await Promise.all(writers);
    const last = Number((await world.rows(cursorQuery(account)))[0]!.seq);
    expect(last).toBe(before + total);
    for (const { from, heard: one } of heard) {
      await one.first(last - from);
      expect(cursorsOf(one.results)).toEqual(Array.from({ length: last - from }, (_, i) => from + i + 1));
    }
    await pay(account, 'one more');
    for (const { from, heard: one } of heard) expect(cursorsOf(await one.first(last + 1 - from)).at(-1)).toBe(last + 1);
    await Promise.all(clients.map((client) => client.dispose()));
  });

  test('billingEvents of some types only, from the beginning and live', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const heard = listen(
      client,
      'subscription { billingEvents(after: "0", types: ["subscription.created", "wallet.topped_up"]) { type data } }',
    );
    await heard.first(1);
    await pay(account, 'k');
    const types = (await heard.first(2)).map((r) => r.data.billingEvents.type);
    expect(types).toEqual(['subscription.created', 'wallet.topped_up']);
    await client.dispose();
  });

  test('without a cursor only what happens from now on is heard, and nothing of another account', async () => {
    const [account, stranger] = [await subscribed(world), await subscribed(world)];
    const [mine, theirs] = [connect(world, account.token), connect(world, stranger.token)];
    const fields = ['billingEvents { id type }', 'usageThreshold { cursor }'];
    const foreign = fields.map((field) => listen(theirs, `subscription { ${field} }`));
    const invoice = listen(theirs, 'subscription { invoiceUpdated { id } }');
    const wallet = listen(theirs, 'subscription { walletUpdated { balance { amount } } }');
    const usage = listen(theirs, 'subscription { usageUpdated { watermark } }');
    const own = listen(mine, 'subscription { billingEvents { type } }');
    await Promise.all([wallet.first(1), usage.first(1), invoice.first(1)]);
    await until(async () => {
      await pay(account, crypto.randomUUID());
      return own.results.length > 0;
    });
    await record(account, 'x', 'voice_minutes', '4999');
    await until(() => own.results.some((r) => r.data.billingEvents.type === 'usage.threshold'));
    expect(own.results.map((r) => r.data.billingEvents.type)).not.toContain('subscription.created');
    expect(foreign.map(({ results }) => results)).toEqual([[], []]);
    expect(invoice.results).toEqual([{ data: { invoiceUpdated: { id: stranger.invoiceId } } }]);
    expect([wallet.results.length, usage.results.length]).toEqual([1, 1]);
    await Promise.all([mine.dispose(), theirs.dispose()]);
  });

  test('usageUpdated gives the summary now and then the newest, never an old one after a new one', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const heard = listen(
      client,
      'subscription { usageUpdated { items { metric { code } used } charges { amount } watermark } }',
    );
    expect((await heard.first(1))[0].data.usageUpdated.watermark).toBe('0');
    await Promise.all(Array.from({ length: 60 }, (_, i) => record(account, `t${i}`, 'voice_minutes', '1')));
    const used = () =>
      heard.results.map((r) =>
        Number(
          r.data.usageUpdated.items.find((i: { metric: { code: string } }) => i.metric.code === 'voice_minutes').used,
        ),
      );
    await until(() => used().at(-1) === 60, 'the newest summary');
    expect(used()).toEqual([...used()].sort((a, b) => a - b));
    await client.dispose();
  });

  test('usageThreshold tells each threshold once, live and again from a cursor', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const query =
      'subscription($after: String) { usageThreshold(after: $after) { cursor metric { code } thresholdPercent limit used period { start end } } }';
    const heard = listen(client, query, { after: '0' });
    await record(account, 'a', 'voice_minutes', '4000');
    await record(account, 'b', 'voice_minutes', '600.5');
    const [eighty, ninety] = (await heard.first(2)).map((r) => r.data.usageThreshold);
    expect(eighty).toMatchObject({
      metric: { code: 'voice_minutes' },
      thresholdPercent: 80,
      limit: '5000',
      used: '4000',
    });
    expect(ninety).toMatchObject({ thresholdPercent: 90, used: '4600.5' });
    expect(await listen(client, query, { after: eighty.cursor }).first(1)).toMatchObject([
      { data: { usageThreshold: ninety } },
    ]);
    await client.dispose();
  });

  test('walletUpdated and invoiceUpdated follow their objects', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const wallet = listen(client, 'subscription { walletUpdated { balance { amount } autoRecharge { enabled } } }');
    const invoice = listen(
      client,
      'subscription { invoiceUpdated(after: "0") { id status total { amount } lines { id } } }',
    );
    await wallet.first(1);
    await pay(account, 'k', 250n);
    expect((await wallet.first(2)).map((r) => r.data.walletUpdated.balance.amount)).toEqual(['0.00', '2.50']);
    expect((await invoice.first(1))[0].data.invoiceUpdated).toMatchObject({
      id: account.invoiceId,
      status: 'PAID',
      total: { amount: '149.00' },
    });
    await client.dispose();
  });

  test('mutations and queries run over the socket as well', async () => {
    const account = await subscribed(world);
    const client = connect(world, account.token);
    const heard = listen(
      client,
      'mutation { topUp(input: { idempotencyKey: "ws", amount: { amount: "3.00", currency: "USD" } }) { wallet { balance { amount } } userErrors { code } } }',
    );
    expect(await heard.ended).toBe('complete');
    expect(heard.results).toEqual([{ data: { topUp: { wallet: { balance: { amount: '3.00' } }, userErrors: [] } } }]);
    await client.dispose();
  });

  test('ends at once when it is stopped, and leaves no listener behind', async () => {
    const account = await subscribed(world);
    const { subscribe, onGap } = world.deps.pubsub;
    let listeners = 0;
    const counted =
      <Args extends never[]>(register: (...args: Args) => () => void) =>
      (...args: Args) => {
        listeners++;
        const leave = register(...args);
        let left = false;
        return () => {
          if (!left) listeners--;
          left = true;
          leave();
        };
      };
    Object.assign(world.deps.pubsub, { subscribe: counted(subscribe as never), onGap: counted(onGap as never) });
    try {
      const client = connect(world, account.token);
      const fields = [
        'billingEvents { id }',
        'billingEvents(types: ["invoice.failed"]) { id }',
        'usageThreshold { cursor }',
        'usageUpdated { watermark }',
        'invoiceUpdated { id }',
        'walletUpdated { id }',
      ];
      const heard = fields.map((field) => listen(client, `subscription { ${field} }`));
      await Promise.all([heard[3]!.first(1), heard[5]!.first(1)]);
      await until(() => listeners >= 7, 'the listeners');
      for (const one of heard) one.stop();
      const stoppedAt = performance.now();
      await until(() => listeners === 0, 'the end of all listeners');
      expect(performance.now() - stoppedAt).toBeLessThan(500);
      // The same by a client that just goes away.
      const socket = await rawSocket(world, account.token);
      for (const [i, field] of fields.entries()) {
        socket.send({ id: `${i}`, type: 'subscribe', payload: { query: `subscription { ${field} }` } });
      }
      await until(() => listeners >= 7, 'the listeners');
      socket.socket.terminate();
      await until(() => listeners === 0, 'the end of all listeners');
      await client.dispose();
    } finally {
      Object.assign(world.deps.pubsub, { subscribe, onGap });
    }
  });

  test('a threshold is on the socket soon after the commit that crossed it', async () => {
    const account = await subscribed(world, { planCode: 'plan_enterprise' });
    const client = connect(world, account.token);
    const delays: number[] = [];
    let committedAt = 0;
    const heardAt: number[] = [];
    client.subscribe(
      { query: 'subscription { usageThreshold(after: "0") { cursor thresholdPercent } }' },
      { next: () => heardAt.push(performance.now()), error: () => {}, complete: () => {} },
    );
    const { onCommit } = world.deps.db;
    world.deps.db.onCommit = (hint) => {
      if (hint.accountId === account.id) committedAt = performance.now();
      onCommit(hint);
    };
    try {
      // Users shows the latest reading: dropping re-arms the threshold, rising crosses it again.
      for (let i = 0; i < 100; i++) {
        await record(account, `up${i}`, 'users', '400');
        await until(() => heardAt.length > i, 'the threshold');
        delays.push(heardAt[i]! - committedAt);
        await record(account, `down${i}`, 'users', '1');
      }
    } finally {
      world.deps.db.onCommit = onCommit;
    }
    delays.sort((a, b) => a - b);
    if (process.env.SHOW_LATENCY)
      process.stdout.write(
        `usage.threshold, commit to socket: p50 ${delays[49]!.toFixed(1)} ms, p99 ${delays[98]!.toFixed(1)} ms\n`,
      );
    expect(delays[98]).toBeLessThan(2_000);
    await client.dispose();
  });
});

test('a stop closes all sockets with 1001 at once, also those that no longer listen', async () => {
  const other = await startWorld({ worker: false });
  const { token } = await other.account();
  const active = await rawSocket(other, token);
  active.send({ id: '1', type: 'subscribe', payload: { query: 'subscription { usageUpdated { watermark } }' } });
  await active.next('next', '1');
  const waiting = await rawSocket(other);
  const deaf = await rawSocket(other, token);
  deaf.socket.pause();
  const startedAt = performance.now();
  const stopped = other.stop();
  expect([(await active.closed).code, (await waiting.closed).code]).toEqual([1001, 1001]);
  expect(performance.now() - startedAt).toBeLessThan(500);
  await stopped;
  expect(performance.now() - startedAt).toBeLessThan(3_000);
  deaf.socket.terminate();
});
