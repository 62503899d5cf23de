import { LocalListeners, type PubSub } from '../../src/integrations/pubsub/pubsub.js';
import { transact } from '../../src/platform/db.js';
import { createEventFeed, eventsTopic } from '../../src/platform/eventFeed.js';
import { sql } from '../../src/platform/sql.js';
import { countStatements } from '../support/graphql.js';
import { startWorld, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
  world.deps.db.onCommit = () => {}; // hints come by hand
  await world.relay.stop();
});
afterAll(() => world.stop());

const emit = (accountId: string, count = 1) =>
  transact(world.deps, accountId, async (tx) => {
    for (let n = 0; n < count; n++) tx.emit({ type: 'wallet.updated', data: { n } });
  });

const lastOf = (accountId: string) =>
  sql<{ seq: string }>`select seq from event_cursor where account_id = ${accountId}`;

/** Hints that go only where the test sends them. */
function handPubSub() {
  const local = new LocalListeners();
  const gaps = new Set<() => void>();
  let open = 0;
  const counted = (leave: () => void) => {
    open++;
    return () => {
      open--;
      leave();
    };
  };
  const pubsub: PubSub = {
    publish: (topic, message) => local.dispatch(topic, message),
    subscribe: (topic, listener) => counted(local.add(topic, listener)),
    onGap: (listener) => {
      gaps.add(listener);
      return counted(() => gaps.delete(listener));
    },
    close: async () => {},
  };
  return {
    pubsub,
    hint: (accountId: string) => local.dispatch(eventsTopic(accountId), ''),
    gap: () => {
      for (const listener of gaps) listener();
    },
    open: () => open,
  };
}

function setUp() {
  const hand = handPubSub();
  const feed = createEventFeed({ db: world.deps.db, pubsub: hand.pubsub });
  const follow = (accountId: string, after: bigint) => {
    const pages = feed.pages({ accountId, after });
    const heard: number[] = [];
    const ended = (async () => {
      for await (const page of pages) heard.push(...page.map(({ seq }) => Number(seq)));
    })();
    return { heard, ended, stop: () => pages.return?.() };
  };
  return { ...hand, follow };
}
const upTo = (last: number, from = 0) => Array.from({ length: last - from }, (_, i) => from + i + 1);

test('replays from a cursor over several pages, then goes live at each hint', async () => {
  const { id } = await world.account();
  await emit(id, 450);
  const { follow, hint } = setUp();
  const [all, some] = [follow(id, 0n), follow(id, 447n)];
  await until(() => all.heard.length === 450 && some.heard.length === 3);
  await emit(id, 2);
  hint(id);
  await until(() => all.heard.length === 452);
  expect([all.heard, some.heard]).toEqual([upTo(452), upTo(452, 447)]);
  await Promise.all([all.stop(), some.stop()]);
});

test('a cursor ahead of the log waits for what comes after it', async () => {
  const { id } = await world.account();
  await emit(id, 2);
  const { follow, hint } = setUp();
  const ahead = follow(id, 3n);
  await emit(id, 2);
  hint(id);
  await until(() => ahead.heard.length === 1);
  expect(ahead.heard).toEqual([4]);
  await ahead.stop();
});

test('a hint that was lost is made up for by the next, and by the end of a gap', async () => {
  const { id } = await world.account();
  const { follow, hint, gap } = setUp();
  const one = follow(id, 0n);
  await emit(id, 3);
  await emit(id, 1);
  hint(id);
  await until(() => one.heard.length === 4);
  await emit(id, 1);
  gap();
  await until(() => one.heard.length === 5);
  expect(one.heard).toEqual(upTo(5));
  await one.stop();
});

test('hints without news, doubled and for others, repeat nothing', async () => {
  const [{ id }, other] = [await world.account(), await world.account()];
  const { follow, hint } = setUp();
  const one = follow(id, 0n);
  await emit(id);
  for (let i = 0; i < 20; i++) hint(id);
  hint(other.id);
  await until(() => one.heard.length === 1);
  await emit(id);
  for (let i = 0; i < 20; i++) hint(id);
  await until(() => one.heard.length === 2);
  expect(one.heard).toEqual([1, 2]);
  await one.stop();
});

test('a hint costs the same reads for one subscriber and for fifty', async () => {
  const { id } = await world.account();
  const cost = async (subscribers: number) => {
    const { follow, hint } = setUp();
    const all = Array.from({ length: subscribers }, () => follow(id, 0n));
    await emit(id);
    hint(id);
    const known = async () => Number((await world.rows(lastOf(id)))[0]!.seq);
    const settled = async () => {
      const last = await known();
      await until(() => all.every(({ heard }) => heard.at(-1) === last));
    };
    await settled();
    const statements = await countStatements(world, async () => {
      await emit(id);
      hint(id);
      await settled();
    });
    await Promise.all(all.map(({ stop }) => stop()));
    return statements;
  };
  expect(await cost(50)).toBe(await cost(1));
});

test('when the last subscriber leaves, nothing listens any more; one that comes back starts anew', async () => {
  const { id } = await world.account();
  const { follow, open, hint } = setUp();
  const [a, b] = [follow(id, 0n), follow(id, 0n)];
  await until(() => open() === 2);
  await a.stop();
  expect(open()).toBe(2);
  await b.stop();
  expect(open()).toBe(0);
  await Promise.all([a.ended, b.ended]);
  await emit(id, 3);
  const back = follow(id, 1n);
  await until(() => back.heard.length === 2);
  await emit(id);
  hint(id);
  await until(() => back.heard.length === 3);
  expect(back.heard).toEqual([2, 3, 4]);
  await back.stop();
  expect(open()).toBe(0);
});

test('return ends a subscriber that waits, at once', async () => {
  const { id } = await world.account();
  const { follow, open } = setUp();
  const one = follow(id, 0n);
  await until(() => open() === 2);
  const stoppedAt = performance.now();
  await one.stop();
  await one.ended;
  expect(performance.now() - stoppedAt).toBeLessThan(200);
});

test('with writers, hints and subscribers all at once each subscriber hears everything once and in order', async () => {
  const { id } = await world.account();
  const { follow, hint } = setUp();
  const all: { from: number; heard: number[]; stop: () => unknown }[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 25; i++) {
        await emit(id);
        if (i % 2 === 0) hint(id);
        if (i % 5 === 0) {
          const from = Math.floor(Math.random() * (i + 1));
          all.push({ from, ...follow(id, BigInt(from)) });
        }
      }
    }),
  );
  hint(id);
  await until(() => all.every(({ heard }) => heard.at(-1) === 200));
  for (const { from, heard } of all) expect(heard).toEqual(upTo(200, from));
  await Promise.all(all.map(({ stop }) => stop()));
});
