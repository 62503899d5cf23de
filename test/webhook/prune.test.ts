import { createTestClock } from '../../src/account/createTestClock.js';
import { transact } from '../../src/platform/db.js';
import { keptFrom, readEvents } from '../../src/platform/eventLog.js';
import { claimKey, pruneKeys } from '../../src/platform/idempotency.js';
import { newId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { pruneDeliveries } from '../../src/webhook/pruneDeliveries.js';
import { pruneEvents } from '../../src/webhook/pruneEvents.js';
import { connect, listen } from '../support/sockets.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());
afterEach(() => world.clock.set(new Date()));

const day = 86_400_000;
const change = (account: TestAccount) =>
  world.rest(account.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });

/** An account with an endpoint and so many events, each with a delivery that waits. */
async function busy(events: number): Promise<TestAccount> {
  const account = await world.account();
  await world.rest(account.token, 'POST', '/webhooks', { url: 'http://127.0.0.1:9/' });
  for (let i = 0; i < events; i++) await change(account);
  await world.settled();
  return account;
}
const count = async (table: string, { id }: TestAccount) => {
  const [row] = await world.rows(
    sql<{ n: string }>`select count(*) as n from ${sql.table(table)} where account_id = ${id}`,
  );
  return Number(row!.n);
};
const finish = (account: TestAccount, seqs: readonly number[]) =>
  world.rows(sql`
    with done as (
      update webhook_delivery d set status = 'DELIVERED', next_attempt_at = null from event e
      where d.account_id = ${account.id} and e.account_id = d.account_id and e.id = d.event_id and e.seq = any(${seqs}::bigint[]) returning d.id
    )
    insert into webhook_attempt (account_id, id, delivery_id, attempted_at, duration_ms, response_excerpt)
    select ${account.id}, gen_random_uuid(), id, ${world.clock.now()}, 1, '' from done`);

describe('deliveries', () => {
  test('that are finished go after their days, with their log; those that wait stay', async () => {
    const account = await busy(3);
    await finish(account, [1, 2]);
    world.clock.advanceMs(30 * day - 60_000);
    expect(await pruneDeliveries(world.deps, { days: 30 })).toBe(0);
    expect([await count('webhook_delivery', account), await count('webhook_attempt', account)]).toEqual([3, 2]);
    world.clock.advanceMs(120_000);
    expect(await pruneDeliveries(world.deps, { days: 30 })).toBe(2);
    expect([await count('webhook_delivery', account), await count('webhook_attempt', account)]).toEqual([1, 0]);
    const [left] = await world.rows(
      sql<{ status: string }>`select status from webhook_delivery where account_id = ${account.id}`,
    );
    expect(left).toEqual({ status: 'PENDING' });
    expect(await count('event', account)).toBe(3);
  });

  test('by the thousand take several statements, and all go', async () => {
    const account = await busy(1);
    const [endpoint] = await world.rows(
      sql<{ id: string }>`select id from webhook_endpoint where account_id = ${account.id}`,
    );
    await world.rows(sql`
      insert into webhook_delivery (account_id, id, endpoint_id, test_body, status, created_at)
      select ${account.id}, id, ${endpoint!.id}, '{}', 'FAILED', now() from unnest(${Array.from({ length: 2_500 }, newId)}::uuid[]) id`);
    world.clock.advanceMs(31 * day);
    expect(await pruneDeliveries(world.deps, { days: 30 })).toBe(2_500);
    expect(await count('webhook_delivery', account)).toBe(1);
  });
});

describe('events', () => {
  const prune = (days: number | undefined) => pruneEvents({ ...world.deps, asOwner: world.asOwner }, { days });
  const seqs = async ({ id }: TestAccount) =>
    (await readEvents(world.deps.db.orm.em.fork(), { accountId: id, after: 0n, limit: 100 })).map(({ seq }) =>
      Number(seq),
    );
  const kept = ({ id }: TestAccount) => keptFrom(world.deps.db.orm.em.fork(), id);

  test('are kept for ever where nothing else is said', async () => {
    const account = await world.account();
    await change(account);
    await world.settled();
    world.clock.advanceMs(4_000 * day);
    expect(await prune(undefined)).toBe(0);
    expect([await seqs(account), await kept(account)]).toEqual([[1], 1n]);
  });

  test('go from the beginning of the log, up to the first whose delivery is still there', async () => {
    const account = await busy(4);
    await finish(account, [1, 2, 4]);
    world.clock.advanceMs(91 * day);
    await prune(90);
    expect([await seqs(account), await kept(account)]).toEqual([[1, 2, 3, 4], 1n]);
    await pruneDeliveries(world.deps, { days: 30 });
    await prune(90);
    expect([await seqs(account), await kept(account)]).toEqual([[3, 4], 3n]);
    await world.rows(sql`delete from webhook_delivery where account_id = ${account.id}`);
    await prune(90);
    expect([await seqs(account), await kept(account)]).toEqual([[], 5n]);
    world.clock.set(new Date());
    await change(account);
    expect([await seqs(account), await kept(account)]).toEqual([[5], 5n]); // the count goes on
  });

  test('that are gone are not passed over in silence: whoever goes on from before them is told', async () => {
    const account = await busy(4);
    await finish(account, [1, 2]);
    world.clock.advanceMs(91 * day);
    await pruneDeliveries(world.deps, { days: 30 });
    await prune(90);
    expect(await seqs(account)).toEqual([3, 4]);
    world.clock.set(new Date());
    const client = connect(world, account.token);
    const socket = (query: string) => listen(client, `subscription { ${query} }`);
    const refused = async (query: string) => {
      const [error] = (await socket(query).ended) as { message: string; extensions: object }[];
      return [error!.extensions, error!.message];
    };
    const told = [
      expect.objectContaining({ code: 'INVALID', field: ['after'] }),
      expect.stringMatching(/^Events before 3 are no longer kept, expected a cursor of 2 or later/),
    ];
    expect(await refused('billingEvents(after: "1") { cursor }')).toEqual(told);
    expect(await refused('invoiceUpdated(after: "1") { id }')).toEqual(told);
    const heard = await socket('billingEvents(after: "2") { cursor }').first(2);
    expect(heard.map(({ data }) => data.billingEvents.cursor)).toEqual(['3', '4']);
    await client.dispose();

    const events = (args: string) => world.gql(account.token, `{ events${args} { nodes { cursor } } }`);
    expect((await events('(after: "1")')).errors?.[0].extensions).toEqual(told[0]);
    for (const args of ['', '(after: "2")'])
      expect((await events(args)).data.events.nodes).toEqual([{ cursor: '3' }, { cursor: '4' }]);
    expect((await world.rest(account.token, 'GET', '/events?after=1')).status).toBe(422);
    expect((await world.rest(account.token, 'GET', '/events')).body.events).toHaveLength(2);
  });

  test('that are still in the outbox stay, and so do the young', async () => {
    const account = await world.account();
    await change(account);
    await change(account);
    await world.settled();
    const [second] = await world.rows(
      sql<{ id: string }>`select id from event where account_id = ${account.id} and seq = 2`,
    );
    await world.rows(sql`
      insert into outbox (account_id, id, seq, created_at, due_at) values (${account.id}, ${second!.id}, 2, now(), now() + interval '1 day')`);
    world.clock.advanceMs(90 * day - 60_000);
    await prune(90);
    expect(await seqs(account)).toEqual([1, 2]);
    world.clock.advanceMs(120_000);
    await prune(90);
    expect(await seqs(account)).toEqual([2]);
    await world.rows(sql`delete from outbox where account_id = ${account.id}`);
  });

  test('of an account that lives in the past are as old as they are', async () => {
    const account = await world.account();
    await createTestClock(world.deps, account.actor, { idempotencyKey: 'c', now: new Date('2020-01-01T00:00:00Z') });
    await change(account);
    await world.settled();
    await prune(90);
    expect((await seqs(account)).length).toBeGreaterThan(0);
  });
});

test('idempotency keys go after a day, whatever time their account lives in', async () => {
  const [usual, past] = [await world.account(), await world.account()];
  await createTestClock(world.deps, past.actor, { idempotencyKey: 'c', now: new Date('2020-01-01T00:00:00Z') });
  const claim = (account: TestAccount) =>
    transact(world.deps, account.id, (tx) => claimKey(tx, { operation: 'op', key: 'k', input: 1, answer: { a: 1 } }));
  for (const account of [usual, past]) await claim(account);
  world.clock.advanceMs(day - 60_000);
  await pruneKeys(world.deps);
  for (const account of [usual, past]) expect((await claim(account)).replayed).toBe(true);
  world.clock.advanceMs(120_000);
  expect(await pruneKeys(world.deps)).toBeGreaterThanOrEqual(2);
  for (const account of [usual, past]) expect((await claim(account)).replayed).toBe(false);
});
