import { createKey, revokeKey } from '../../src/account/apiKeys.js';
import { money } from '../../src/domain/money.js';
import { transact } from '../../src/platform/db.js';
import { readEvents } from '../../src/platform/eventLog.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { topUp } from '../../src/wallet/topUp.js';
import { countStatements, subscribed } from '../support/graphql.js';
import { connect, type Heard, listen, rawSocket } from '../support/sockets.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const emit = ({ id }: Pick<TestAccount, 'id'>, count: number, pad = '') =>
  transact(world.deps, id, async (tx) => {
    for (let n = 0; n < count; n++) tx.emit({ type: 'wallet.updated', data: { n, pad } });
  });
const lastSeqOf = async ({ id }: TestAccount) =>
  Number((await world.rows(sql<{ seq: string }>`select seq from event_cursor where account_id = ${id}`))[0]?.seq ?? 0);
const pay = (account: TestAccount, idempotencyKey: string) =>
  topUp(world.deps, account.actor, { idempotencyKey, amount: money(100n, 'USD') });
const everyEvent = 'subscription($after: String) { billingEvents(after: $after) { cursor data } }';
const cursors = ({ results }: Heard): number[] => results.map((result) => Number(result.data.billingEvents.cursor));
const upTo = (last: number, from = 0) => Array.from({ length: last - from }, (_, i) => from + i + 1);

test('an event costs the same statements for one socket and for forty, whatever they show of it', async () => {
  const cost = async (sockets: number) => {
    const account = await subscribed(world);
    const clients = Array.from({ length: sockets }, () => connect(world, account.token));
    const heard = clients.flatMap((client) => [
      listen(client, everyEvent, { after: '0' }),
      listen(client, 'subscription { invoiceUpdated { id lines { description } payments { status } } }'),
      listen(client, 'subscription { walletUpdated { balance { amount } transactions { nodes { id } } } }'),
    ]);
    await Promise.all(heard.map((one) => one.first(1)));
    await world.settled();
    let paid = 0;
    const statements = await countStatements(world, async () => {
      const last = await lastSeqOf(account);
      const told = heard.filter((_, i) => i % 3 === 2).map(({ results }) => results.length);
      await pay(account, `top-up ${++paid}`);
      await until(() => heard.filter((_, i) => i % 3 === 0).every((one) => cursors(one).at(-1)! > last));
      await until(() => heard.filter((_, i) => i % 3 === 2).every(({ results }, i) => results.length > told[i]!));
      await world.settled();
    });
    await Promise.all(clients.map((client) => client.dispose()));
    return statements;
  };
  const [one, forty] = [await cost(1), await cost(40)];
  expect(forty).toBeLessThanOrEqual(one + 3); // what happens by itself adds one now and then
});

test('who may see less gets less, from the same document about the same change', async () => {
  const account = await subscribed(world);
  const limited = await createKey(world.deps, { accountId: account.id, scopes: ['invoices:read'] });
  const query = 'subscription { invoiceUpdated(after: "0") { id lines { events(first: 1) { nodes { value } } } } }';
  const [all, some] = [connect(world, account.token), connect(world, limited.token)];
  const [full] = await listen(all, query).first(1);
  const [part] = await listen(some, query).first(1);
  const { id, lines } = full.data.invoiceUpdated;
  expect([id, lines[0].events, full.errors]).toEqual([account.invoiceId, null, undefined]);
  expect(part.errors[0]).toMatchObject({
    path: ['invoiceUpdated', 'lines', 0, 'events'],
    extensions: { code: 'FORBIDDEN' },
  });
  await Promise.all([all.dispose(), some.dispose()]);
});

test('nothing that happens after a key was revoked is heard with it, and its neighbours hear all', async () => {
  const account = await world.account();
  const taken = await createKey(world.deps, { accountId: account.id, scopes: ['*'] });
  const short = await createKey(world.deps, { accountId: account.id, scopes: ['*'], expiresInMs: 3_600_000 });
  const staying = connect(world, account.token);
  const sockets = [await rawSocket(world, taken.token), await rawSocket(world, short.token)] as const;
  const heard = listen(staying, everyEvent, { after: '0' });
  for (const socket of sockets)
    socket.send({ id: '1', type: 'subscribe', payload: { query: everyEvent, variables: { after: '0' } } });
  await emit(account, 3);
  const told = ({ messages }: (typeof sockets)[number]) => messages.filter(({ type }) => type === 'next').length;
  await until(() => heard.results.length === 3 && sockets.every((socket) => told(socket) === 3));
  await revokeKey(world.deps, { keyId: publicId('apiKey', taken.key.id) });
  const clockMoved = world.clock.now();
  world.clock.advanceMs(3_600_001); // the other key's end, before anybody has looked at it
  await emit(account, 3);
  await heard.first(6);
  expect((await Promise.all(sockets.map(({ closed }) => closed))).map(({ code }) => code)).toEqual([4401, 4401]);
  expect(sockets.map(told)).toEqual([3, 3]);
  world.clock.set(clockMoved);
  await staying.dispose();
});

test('a client that does not let its socket be closed can do nothing more with its revoked key', async () => {
  const account = await world.account();
  const taken = await createKey(world.deps, { accountId: account.id, scopes: ['*'] });
  const socket = await rawSocket(world, taken.token);
  // It takes no notice of the close frame, which would be answered by itself.
  const inside = socket.socket as unknown as {
    _receiver: { removeAllListeners(event: string): void };
    _sender: { send(data: string, options: object): void };
  };
  inside._receiver.removeAllListeners('conclude');
  await revokeKey(world.deps, { keyId: publicId('apiKey', taken.key.id) });
  const add = (idempotencyKey: string) =>
    `mutation { addPaymentMethod(input: { idempotencyKey: "${idempotencyKey}", token: "tok_visa" }) { paymentMethod { id } } }`;
  const message = JSON.stringify({ id: '1', type: 'subscribe', payload: { query: add('revoked') } });
  inside._sender.send(message, { fin: true, mask: true, binary: false, compress: false });
  // What a key that is valid asks for later is done later.
  const client = connect(world, account.token);
  const [{ data }] = await listen(client, add('valid')).first(1);
  const { data: seen } = await world.gql(account.token, '{ paymentMethods { id } }');
  expect(seen.paymentMethods).toEqual([data.addPaymentMethod.paymentMethod]);
  socket.socket.terminate();
  await client.dispose();
});

test('an operation whose id is used again while it ends leaves nothing behind', async () => {
  const account = await world.account();
  const { subscribe } = world.deps.pubsub;
  let listeners = 0;
  world.deps.pubsub.subscribe = (topic, listener) => {
    const leave = subscribe(topic, listener);
    listeners++;
    return () => {
      listeners--;
      leave();
    };
  };
  try {
    const socket = await rawSocket(world, account.token);
    const begin = { id: '1', type: 'subscribe', payload: { query: everyEvent, variables: { after: '0' } } };
    socket.send(begin);
    await until(() => listeners > 0, 'the subscription');
    for (let i = 0; i < 10; i++) {
      socket.send({ id: '1', type: 'complete' });
      socket.send(begin);
    }
    await emit(account, 1);
    await socket.next('next', '1');
    socket.socket.terminate();
    await until(() => listeners === 0, 'the end of all');
  } finally {
    world.deps.pubsub.subscribe = subscribe;
  }
});

test('a consumer that stops reading is cut, and nobody else waits for it', async () => {
  const account = await world.account();
  const deaf = await rawSocket(world, account.token);
  const client = connect(world, account.token);
  const heard = listen(client, everyEvent, { after: '0' });
  deaf.send({ id: '1', type: 'subscribe', payload: { query: everyEvent, variables: { after: '0' } } });
  await emit(account, 1);
  await Promise.all([heard.first(1), deaf.next('next')]);
  deaf.socket.pause();
  for (let i = 0; i < 12; i++) {
    await emit(account, 10, 'x'.repeat(200_000));
    await until(() => heard.results.length === 1 + 10 * (i + 1), 'what the neighbour hears');
  }
  expect(cursors(heard)).toEqual(upTo(121));
  deaf.socket.resume();
  expect((await deaf.closed).code).toBe(1013);
  const missed = deaf.messages.filter(({ type }) => type === 'next').length;
  expect(missed).toBeLessThan(121);
  // What it has missed it reads from its cursor, at its own pace, however much that is.
  const back = listen(client, everyEvent, { after: String(missed) });
  await until(() => back.results.length === 121 - missed, 'the replay');
  expect(cursors(back)).toEqual(upTo(121, missed));
  await client.dispose();
});

test('a client that is cut again and again hears each event once and in order', async () => {
  const account = await world.account();
  const total = 1_500;
  const seen: number[] = [];
  let cut = 0;
  let isWriting = true;
  const following = (async () => {
    while (isWriting || seen.length < total) {
      const client = connect(world, account.token);
      const heard: Heard = listen(client, everyEvent, { after: String(seen.at(-1) ?? 0) });
      const enough = Math.min(Math.floor(Math.random() * 120), total - seen.length);
      await until(() => heard.results.length >= enough, 'some events');
      client.terminate();
      seen.push(...cursors(heard));
      cut++;
    }
  })();
  for (let written = 0; written < total; written += 10) await emit(account, 10);
  isWriting = false;
  await following;
  expect(seen).toEqual(upTo(total));
  expect(cut).toBeGreaterThan(total / 400);
});

test('a wallet that changes fifty times a second is told at most ten times a second, and last as it is', async () => {
  const account = await subscribed(world);
  const client = connect(world, account.token);
  const heard = listen(client, 'subscription { walletUpdated { balance { amount } } }');
  await heard.first(1);
  const startedAt = performance.now();
  const late: Heard[] = [];
  for (let i = 1; i <= 60; i++) {
    await pay(account, `k${i}`);
    // Whoever comes in between is told what is, and never what was.
    if (i % 20 === 0) {
      late.push(listen(client, 'subscription { walletUpdated { balance { amount } } }'));
      const [{ data }] = await late.at(-1)!.first(1);
      expect(Number(data.walletUpdated.balance.amount)).toBeGreaterThanOrEqual(i);
    }
  }
  const all = [heard, ...late];
  const amounts = ({ results }: Heard) => results.map((result) => Number(result.data.walletUpdated.balance.amount));
  await until(() => all.every((one) => amounts(one).at(-1) === 60), 'the newest balance');
  const tookMs = performance.now() - startedAt;
  for (const one of all) {
    expect(amounts(one)).toEqual([...amounts(one)].sort((a, b) => a - b));
    expect(one.results.length).toBeLessThanOrEqual(2 + tookMs / 100);
  }
  await client.dispose();
});

test('invoiceUpdated tells the newest invoice first, those that changed since a cursor, and then each that changes', async () => {
  const account = await subscribed(world);
  const other = await subscribed(world);
  const client = connect(world, account.token);
  const query = 'subscription($after: String) { invoiceUpdated(after: $after) { id status } }';
  const [now, since, none] = [
    listen(client, query),
    listen(client, query, { after: '0' }),
    listen(client, query, { after: String(await lastSeqOf(account)) }),
  ];
  const paid = { data: { invoiceUpdated: { id: account.invoiceId, status: 'PAID' } } };
  expect([await now.first(1), await since.first(1)]).toEqual([[paid], [paid]]);
  const log = await readEvents(world.deps.db.orm.em.fork(), { accountId: account.id, after: 0n, limit: 100 });
  const { sequence: _sequence, ...data } = log.find(({ type }) => type === 'invoice.paid')!.data;
  await transact(world.deps, account.id, async (tx) => {
    for (let n = 0; n < 30; n++) tx.emit({ type: 'invoice.paid', data });
  });
  await until(() =>
    [now, since, none].every(({ results }) => results.at(-1) && results.length >= (results === none.results ? 1 : 2)),
  );
  for (const { results } of [now, since, none]) expect(new Set(results.map((r) => JSON.stringify(r))).size).toBe(1);
  expect(now.results.length).toBeLessThan(10);
  expect(JSON.stringify([now.results, none.results])).not.toContain(other.invoiceId);
  await client.dispose();
});
