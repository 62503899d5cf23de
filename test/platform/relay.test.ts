import { transact } from '../../src/platform/db.js';
import { eventsTopic } from '../../src/platform/eventFeed.js';
import type { LoggedEvent } from '../../src/platform/eventLog.js';
import { createRelay, type EventSink, type Relay } from '../../src/platform/relay.js';
import { sql } from '../../src/platform/sql.js';
import { startWorld, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  await world.relay.stop(); // each test brings its own
});
afterAll(() => world.stop());

const relays: Relay[] = [];
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
  await world.rows(sql`delete from outbox`);
});

const emit = (accountId: string, n: number) =>
  transact(world.deps, accountId, async (tx) => tx.emit({ type: 'wallet.updated', data: { n } }));

function relay(...sinks: EventSink['handle'][]): Relay {
  const made = createRelay({
    db: { ...world.deps.db, log: world.deps.log },
    pubsub: world.deps.pubsub,
    sinks: sinks.map((handle, i) => ({ name: `sink ${i}`, handle })),
  });
  relays.push(made);
  return made;
}
const outboxOf = (accountId: string) =>
  world.rows(sql<{ attempts: number }>`select attempts from outbox where account_id = ${accountId}`);

test('hands every event to every sink once, an account’s in order, and empties the outbox', async () => {
  const accounts = [await world.account(), await world.account(), await world.account()];
  const heard: LoggedEvent[][] = [[], []];
  const moved = relay(
    async (event) => void heard[0]!.push(event),
    async (event) => void heard[1]!.push(event),
  );
  for (let n = 1; n <= 40; n++) for (const { id } of accounts) await emit(id, n);
  moved.start();
  for (const { id } of accounts) moved.nudge(id);
  await until(() => heard.every((events) => events.length >= 120));
  await until(async () => (await Promise.all(accounts.map(({ id }) => outboxOf(id)))).flat().length === 0);
  for (const events of heard) {
    expect(events).toHaveLength(120);
    for (const { id } of accounts) {
      expect(events.filter((event) => event.accountId === id).map((event) => Number(event.seq))).toEqual(
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
    }
  }
});

test('more than a batch of one account all arrive, in order', async () => {
  const { id } = await world.account();
  const heard: number[] = [];
  await transact(world.deps, id, async (tx) => {
    for (let n = 0; n < 250; n++) tx.emit({ type: 'wallet.updated', data: { n } });
  });
  const moved = relay(async (event) => void heard.push(Number(event.seq)));
  moved.start();
  moved.nudge(id);
  await until(() => heard.length >= 250);
  expect(heard).toEqual(Array.from({ length: 250 }, (_, i) => i + 1));
});

test('without a nudge the poll finds them', async () => {
  const { id } = await world.account();
  const heard: number[] = [];
  relay(async (event) => void heard.push(Number(event.seq))).start();
  await emit(id, 1);
  await until(() => heard.length === 1);
});

test('subscribers hear of an event before a slow sink is done with it', async () => {
  const { id } = await world.account();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const announced: string[] = [];
  const leave = world.deps.pubsub.subscribe(eventsTopic(id), (seq) => announced.push(seq));
  const moved = relay(() => released);
  moved.start();
  await emit(id, 1);
  moved.nudge(id);
  await until(() => announced.length === 1);
  expect(announced).toEqual(['1']);
  expect(await outboxOf(id)).toHaveLength(1);
  release();
  await until(async () => (await outboxOf(id)).length === 0);
  leave();
});

test('an event that a sink refused stays for later, without keeping the others', async () => {
  const { id } = await world.account();
  const heard: number[] = [];
  for (let n = 1; n <= 3; n++) await emit(id, n);
  const silent = { ...world.deps.log, error: () => {}, debug: () => {} } as never;
  const moved = createRelay({
    db: { ...world.deps.db, log: silent },
    pubsub: world.deps.pubsub,
    sinks: [
      {
        name: 'picky',
        handle: async (event) => {
          if (event.seq === 2n && heard.filter((seq) => seq === 2).length === 0) {
            heard.push(2);
            throw new Error('not now');
          }
          heard.push(Number(event.seq));
        },
      },
    ],
  });
  relays.push(moved);
  moved.start();
  moved.nudge(id);
  await until(async () => (await outboxOf(id)).length === 1 && heard.includes(3));
  expect(heard).toEqual([1, 2, 3]);
  await world.rows(sql`update outbox set due_at = now() - interval '1 s' where account_id = ${id}`);
  moved.nudge(id);
  await until(async () => (await outboxOf(id)).length === 0);
  expect(heard).toEqual([1, 2, 3, 2]);
});

test('two relays at once hand over no event twice', async () => {
  const { id } = await world.account();
  const heard: number[] = [];
  for (let n = 0; n < 60; n++) await emit(id, n);
  const two = [
    relay(async (event) => void heard.push(Number(event.seq))),
    relay(async (event) => void heard.push(Number(event.seq))),
  ];
  for (const one of two) one.start();
  for (const one of two) one.nudge(id);
  await until(async () => (await outboxOf(id)).length === 0);
  expect([...heard].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
});

test('an event of a transaction that rolled back is never handed over, and leaves no hole in the log', async () => {
  const { id } = await world.account();
  await emit(id, 1);
  await expect(
    transact(world.deps, id, async (tx) => {
      tx.emit({ type: 'wallet.updated', data: {} });
      await tx.em.getConnection().execute('select 1/0', [], 'all', tx.em.getTransactionContext());
    }),
  ).rejects.toThrow();
  await emit(id, 2);
  const rows = await world.rows(sql<{ seq: string }>`select seq from event where account_id = ${id} order by seq`);
  expect(rows.map(({ seq }) => seq)).toEqual(['1', '2']);
});

test('stop waits for what is being handled', async () => {
  const { id } = await world.account();
  let done = false;
  const moved = relay(async () => {
    await new Promise((resolve) => setTimeout(resolve, 150));
    done = true;
  });
  moved.start();
  await emit(id, 1);
  moved.nudge(id);
  await until(async () => (await outboxOf(id)).some(({ attempts }) => attempts > 0));
  await moved.stop();
  expect(done).toBe(true);
  expect(await outboxOf(id)).toEqual([]);
});

test('drain waits for the rows that another relay holds, and hands over the rest itself', async () => {
  const { id } = await world.account();
  const heard: string[] = [];
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const slow = relay(async (event) => {
    await released;
    heard.push(`slow ${event.seq}`);
  });
  await emit(id, 1);
  slow.start();
  slow.nudge(id);
  await until(async () => (await outboxOf(id))[0]?.attempts === 1);
  await emit(id, 2);
  const drained = relay(async (event) => void heard.push(`drain ${event.seq}`)).drain(id);
  await until(() => heard.length === 1);
  release();
  await drained;
  expect(heard).toEqual(['drain 2', 'slow 1']);
  expect(await outboxOf(id)).toEqual([]);
});

test('while an account is held only drain moves its events; afterwards all is as before', async () => {
  const { id } = await world.account();
  const heard: number[] = [];
  const moved = relay(async (event) => void heard.push(Number(event.seq)));
  moved.start();
  await moved.holding(id, async () => {
    await emit(id, 1);
    moved.nudge(id);
    await world.rows(sql`select pg_sleep(0.05)`);
    expect(heard).toEqual([]);
    await moved.drain(id);
    expect(heard).toEqual([1]);
    await emit(id, 2);
    moved.nudge(id);
  });
  await until(() => heard.length === 2);
});

test('in a process that is no worker a nudge goes on to the others, and not before the account is held no more', async () => {
  const { id } = await world.account();
  const asked: string[] = [];
  const leave = world.deps.pubsub.subscribe('outbox', (accountId) => asked.push(accountId));
  const idle = relay(async () => {
    throw new Error('nothing is moved here');
  });
  await emit(id, 1);
  asked.length = 0; // the world's own relay, stopped as well, has asked
  idle.nudge(id);
  expect(asked).toEqual([id]);
  await idle.holding(id, async () => {
    idle.nudge(id);
    idle.nudge(id);
    expect(asked).toEqual([id]);
  });
  expect(asked).toEqual([id, id]);

  const heard: number[] = [];
  const worker = relay(async (event) => void heard.push(Number(event.seq)));
  worker.start();
  idle.nudge(id);
  await until(() => heard.length === 1);
  leave();
});

test('sockets hear of an event whose process died before it could tell them', async () => {
  const { id } = await world.account();
  const { onCommit } = world.deps.db;
  world.deps.db.onCommit = () => {};
  await emit(id, 1);
  world.deps.db.onCommit = onCommit;
  const announced: string[] = [];
  const leave = world.deps.pubsub.subscribe(eventsTopic(id), (seq) => announced.push(seq));
  relay(async () => {}).start();
  await until(() => announced.length > 0);
  expect(announced).toEqual(['1']);
  leave();
});

test('an account whose clock is on its way is left to whoever moves it, nudged or not', async () => {
  const { id } = await world.account();
  const other = await world.account();
  await world.rows(
    sql`update account set test_clock_at = '2024-01-01Z', test_clock_target_at = '2024-02-01Z' where id = ${id}`,
  );
  await emit(id, 1);
  await emit(other.id, 1);
  const heard: string[] = [];
  const moved = relay(async (event) => void heard.push(event.accountId));
  moved.start();
  moved.nudge(id);
  await until(() => heard.length > 0);
  moved.nudge(id);
  await world.rows(sql`select pg_sleep(0.1)`);
  expect(heard).toEqual([other.id]);
  await world.rows(sql`update account set test_clock_at = test_clock_target_at where id = ${id}`);
  await until(() => heard.length === 2);
});
