import pg from 'pg';
import { newId, uuidOf } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { claimDue, readDue } from '../../src/webhook/claimDue.js';
import { createDeliveryPump, type DeliveryPump } from '../../src/webhook/deliveryPump.js';
import { createWebhookPoster, type PostOutcome, type WebhookPoster } from '../../src/webhook/postWebhook.js';
import { type EndedAttempt, endedAttempt, noteFailures, writeOutcomes } from '../../src/webhook/settleAttempts.js';
import { type Receiver, startReceiver } from '../support/receiver.js';
import { startWorld, type TestAccount, until, type World } from '../support/world.js';

/** Nothing is posted here but by the pumps of the tests. */
let world: World;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  world = await startWorld({ worker: false });
});
afterAll(async () => {
  await world.stop();
  await receiver.close();
});

/** As a pump does it. */
async function settleAttempts(deps: World['deps'], ended: readonly Omit<EndedAttempt, 'id'>[]): Promise<void> {
  const counted = await writeOutcomes(deps, ended.map(endedAttempt));
  await noteFailures(deps, [...counted]);
}

const pumps: { pump: DeliveryPump; poster: WebhookPoster }[] = [];
afterEach(async () => {
  for (const { pump, poster } of pumps.splice(0)) {
    await pump.stop();
    await poster.close();
  }
  await world.rows(sql`update webhook_delivery set status = 'FAILED', next_attempt_at = null where status = 'PENDING'`);
});

function startPump(): void {
  const poster = createWebhookPoster({ allowInsecure: true });
  const pump = createDeliveryPump({ ...world.deps, poster });
  pumps.push({ pump, poster });
  pump.start();
}

/** With the uuid of the endpoint. */
async function register(account: TestAccount): Promise<{ id: string; path: string }> {
  const { id, path } = await receiver.register(world, account);
  return { id: uuidOf('webhookEndpoint', id)!, path };
}

/** Events of the log with a delivery each, due since then. */
async function queue(account: TestAccount, endpoint: { id: string }, count: number, since = world.clock.now()) {
  const ids = Array.from({ length: count }, newId);
  await world.rows(sql`
    with logged as (
      insert into event (account_id, id, seq, type, occurred_at, data)
      select ${account.id}, id, (select coalesce(max(seq), 0) from event where account_id = ${account.id}) + n, 'wallet.updated', ${since}, '{"a":1}'
      from unnest(${ids}::uuid[]) with ordinality as one (id, n) returning id
    )
    insert into webhook_delivery (account_id, id, endpoint_id, event_id, status, next_attempt_at, created_at)
    select ${account.id}, id, ${endpoint.id}, id, 'PENDING', ${since}, ${since} from logged`);
  return ids;
}

const statuses = async (account: TestAccount) => {
  const rows = await world.rows(sql<{ status: string; n: string }>`
    select status, count(*) as n from webhook_delivery where account_id = ${account.id} group by status`);
  return Object.fromEntries(rows.map(({ status, n }) => [status, Number(n)]));
};

test('three pumps at once post each delivery once', async () => {
  const accounts = [await world.account(), await world.account()];
  const endpoints = [];
  for (const account of accounts) {
    const endpoint = await register(account);
    endpoints.push(endpoint);
    await queue(account, endpoint, 150);
  }
  for (let i = 0; i < 3; i++) startPump();
  for (const account of accounts)
    await until(async () => (await statuses(account)).DELIVERED === 150, 'all of an account');
  for (const { path } of endpoints) {
    expect(receiver.at(path)).toHaveLength(150);
    expect(new Set(receiver.at(path).map((one) => one.headers['webhook-id'])).size).toBe(150);
  }
  const [log] = await world.rows(
    sql<{
      n: string;
    }>`select count(*) as n from webhook_attempt where account_id = any(${accounts.map((a) => a.id)}::uuid[])`,
  );
  expect(Number(log!.n)).toBe(300);
});

test('an endpoint that hangs with 1,000 queued gets four at a time, and others are served at once', async () => {
  const [slow, quick] = [await world.account(), await world.account()];
  const hanging = await register(slow);
  const other = await register(quick);
  receiver.answers.set(hanging.path, () => 'hang');
  await queue(slow, hanging, 1_000, new Date(world.clock.now().getTime() - 60_000));
  startPump();
  await until(() => receiver.at(hanging.path).length === 4, 'the attempts that hang');
  const tookMs: number[] = [];
  for (let i = 0; i < 50; i++) {
    const dueAt = Date.now();
    const before = receiver.at(other.path).length;
    await world.rest(quick.token, 'PUT', '/wallet/auto-recharge', { enabled: false, threshold: 1, amount: 5 });
    await until(() => receiver.at(other.path).length > before, 'the delivery of the other');
    tookMs.push(receiver.at(other.path).at(-1)!.at - dueAt);
  }
  const p95 = tookMs.sort((a, b) => a - b)[47]!;
  expect(p95).toBeLessThan(2_000);
  expect(receiver.at(hanging.path)).toHaveLength(4);
  expect(await statuses(slow)).toEqual({ PENDING: 1_000 });
});

test('when many endpoints hang, others are served as soon as that is known', async () => {
  const slow = await world.account();
  for (let i = 0; i < 20; i++) {
    const hanging = await register(slow);
    receiver.answers.set(hanging.path, () => 'hang');
    await queue(slow, hanging, 10);
  }
  startPump();
  await until(() => receiver.received.filter(({ path }) => receiver.answers.has(path)).length >= 60, 'the attempts');
  const quick = await world.account();
  const other = await register(quick);
  await queue(quick, other, 40);
  await until(async () => (await statuses(quick)).DELIVERED === 40, 'the deliveries of the other');
});

test('what is queued at one endpoint goes out as fast as that answers, without a hint', async () => {
  const account = await world.account();
  const endpoint = await register(account);
  await queue(account, endpoint, 300);
  const startedAt = performance.now();
  startPump();
  await until(async () => (await statuses(account)).DELIVERED === 300, 'all of the queue');
  // By the poll alone it would be ten a second.
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});

test('however many endpoints hang and however much waits for them, others have places', async () => {
  const slow = [await world.account(), await world.account()];
  for (let i = 0; i < 30; i++) {
    const hanging = await register(slow[i % 2]!);
    receiver.answers.set(hanging.path, () => 'hang');
    await queue(slow[i % 2]!, hanging, 20, new Date(world.clock.now().getTime() - 60_000));
  }
  const before = receiver.received.length;
  startPump();
  await until(() => receiver.received.length >= before + 60, 'the attempts that hang');
  await new Promise((resolve) => setTimeout(resolve, 2_500)); // polls later it is still so
  expect(receiver.received.length).toBeLessThanOrEqual(before + 80);
  const quick = await world.account();
  const other = await register(quick);
  await queue(quick, other, 20);
  const startedAt = performance.now();
  await until(async () => (await statuses(quick)).DELIVERED === 20, 'the deliveries of the other');
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test('a row that somebody holds keeps no outcome of others from being written', async () => {
  const [held, free] = [await world.account(), await world.account()];
  const endpoints = [await register(held), await register(free)] as const;
  receiver.answers.set(endpoints[0].path, () => ({ status: 500 }));
  await queue(held, endpoints[0], 3);
  await queue(free, endpoints[1], 30);
  const holder = new pg.Client({ connectionString: world.databaseUrl });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select 1 from webhook_endpoint where id = $1 for update', [endpoints[0].id]);
  try {
    startPump();
    await until(async () => (await statuses(free)).DELIVERED === 30, 'the outcomes of the others');
    expect(receiver.at(endpoints[1].path)).toHaveLength(30);
  } finally {
    await holder.query('rollback');
    await holder.end();
  }
});

test('what an endpoint says at its old address does not disable it at its new one', async () => {
  const account = await world.account();
  const endpoint = await register(account);
  let moved = false;
  receiver.answers.set(endpoint.path, () => ({ status: 410 }));
  await queue(account, endpoint, 1);
  const gone = createWebhookPoster({ allowInsecure: true });
  const poster: WebhookPoster = {
    ...gone,
    post: async (input, signal) => {
      await world.rows(sql`update webhook_endpoint set url = ${`${receiver.url}/new`} where id = ${endpoint.id}`);
      moved = true;
      return gone.post(input, signal);
    },
  };
  const pump = createDeliveryPump({ ...world.deps, poster });
  pumps.push({ pump, poster });
  pump.start();
  await until(async () => (await statuses(account)).FAILED === 1, 'the end of the attempt');
  const [row] = await world.rows(
    sql<{ enabled: boolean }>`select enabled from webhook_endpoint where id = ${endpoint.id}`,
  );
  expect([moved, row]).toEqual([true, { enabled: true }]);
});

test('what waits for a disabled endpoint, however much, stands before nobody', async () => {
  const [ended, other] = [await world.account(), await world.account()];
  const [gone, alive] = [await register(ended), await register(other)];
  await queue(ended, gone, 5_000, new Date(world.clock.now().getTime() - 60_000));
  await world.rows(sql`update webhook_endpoint set enabled = false where id = ${gone.id}`);
  await queue(other, alive, 20);
  startPump();
  await until(async () => (await statuses(other)).DELIVERED === 20, 'the deliveries of the other');
  await until(async () => (await statuses(ended)).FAILED === 5_000, 'the end of what waits');
  expect(receiver.at(gone.path)).toEqual([]);
});

describe('an attempt that outlived its lease', () => {
  const ok: PostOutcome = {
    ok: true,
    status: 200,
    durationMs: 5,
    responseExcerpt: 'thanks',
    error: null,
    retryAfterSeconds: null,
    gone: false,
  };
  const failed: PostOutcome = { ...ok, ok: false, status: 500, error: 'status 500' };

  async function claim(account: TestAccount) {
    const now = world.clock.now();
    const due = (await readDue(world.deps.db, { now, except: [], limit: 100 })).filter(
      (one) => one.accountId === account.id,
    );
    return claimDue(world.deps.db, { now, deliveries: due });
  }
  const row = async (account: TestAccount) => {
    const [found] = await world.rows(
      sql<object>`select status, attempts, response_status from webhook_delivery where account_id = ${account.id}`,
    );
    return found;
  };

  test.each([
    ['succeeded, and the later one failed', ok, failed, { status: 'PENDING', attempts: 2, response_status: 500 }],
    ['failed, and the later one succeeded', failed, ok, { status: 'DELIVERED', attempts: 2, response_status: 200 }],
  ])('changes nothing but the log where it %s', async (_what, first, second, expected) => {
    const account = await world.account();
    await queue(account, await register(account), 1);
    const [stale] = await claim(account);
    expect(await claim(account)).toEqual([]); // under its lease it is nobody else's
    world.clock.advanceMs(31_000);
    const [later] = await claim(account);
    world.clock.advanceMs(-31_000);
    expect([stale!.attempt, later!.attempt]).toEqual([1, 2]);
    const startedAt = world.clock.now();
    await settleAttempts(world.deps, [{ delivery: later!, startedAt, outcome: second }]);
    expect(await row(account)).toEqual(expected);
    await settleAttempts(world.deps, [{ delivery: stale!, startedAt, outcome: first }]);
    expect(await row(account)).toEqual(expected);
    expect(await world.rows(sql`select 1 from webhook_attempt where account_id = ${account.id}`)).toHaveLength(2);
  });

  test('does not take back what a third one holds', async () => {
    const account = await world.account();
    await queue(account, await register(account), 1);
    const [stale] = await claim(account);
    world.clock.advanceMs(31_000);
    await claim(account);
    world.clock.advanceMs(-31_000);
    await settleAttempts(world.deps, [{ delivery: stale!, startedAt: world.clock.now(), outcome: 'given back' }]);
    expect(await row(account)).toMatchObject({ status: 'PENDING', attempts: 2 });
    expect(await claim(account)).toEqual([]);
  });
});

test('of an endpoint’s outcomes that are written together the last success ends what failed before it', async () => {
  const account = await world.account();
  const endpoint = await register(account);
  await queue(account, endpoint, 3);
  const now = world.clock.now();
  const due = (await readDue(world.deps.db, { now, except: [], limit: 100 })).filter((d) => d.accountId === account.id);
  const claimed = await claimDue(world.deps.db, { now, deliveries: due });
  const outcome = (ok: boolean): PostOutcome => ({
    ok,
    status: ok ? 200 : 500,
    durationMs: 1,
    responseExcerpt: '',
    error: ok ? null : 'status 500',
    retryAfterSeconds: null,
    gone: false,
  });
  const since = async () =>
    (
      await world.rows(
        sql<{ at: string | null }>`select failing_since as at from webhook_endpoint where id = ${endpoint.id}`,
      )
    )[0]!.at;
  const ended = (index: number, ok: boolean, startedAt: Date) => ({
    delivery: claimed[index]!,
    startedAt,
    outcome: outcome(ok),
  });
  const [early, late] = [new Date(now.getTime() - 9_000), new Date(now.getTime() - 1_000)];
  await settleAttempts(world.deps, [ended(0, false, early), ended(1, true, now), ended(2, false, late)]);
  expect(new Date((await since())!)).toEqual(late);
});

test('a delivery whose event is not in the log fails and keeps no other waiting', async () => {
  const account = await world.account();
  const endpoint = await register(account);
  await world.rows(sql`
    insert into webhook_delivery (account_id, id, endpoint_id, event_id, status, next_attempt_at, created_at)
    values (${account.id}, ${newId()}, ${endpoint.id}, ${newId()}, 'PENDING', ${new Date(0)}, ${new Date(0)})`);
  await queue(account, endpoint, 5);
  const poster = createWebhookPoster({ allowInsecure: true });
  const told: unknown[] = [];
  const log = { ...world.deps.log, error: (what: unknown) => void told.push(what), warn: () => {}, debug: () => {} };
  const pump = createDeliveryPump({ ...world.deps, log: log as never, poster });
  pumps.push({ pump, poster });
  pump.start();
  await until(async () => (await statuses(account)).DELIVERED === 5, 'the others');
  await until(async () => (await statuses(account)).FAILED === 1, 'its end');
  expect(told).toHaveLength(1);
});

test('what comes due at an endpoint that is disabled fails, without an attempt', async () => {
  const account = await world.account();
  const endpoint = await register(account);
  await queue(account, endpoint, 30);
  await world.rows(sql`update webhook_endpoint set enabled = false where id = ${endpoint.id}`);
  startPump();
  await until(async () => (await statuses(account)).FAILED === 30, 'their end');
  const rows = await world.rows(
    sql<{ attempts: number }>`select distinct attempts from webhook_delivery where account_id = ${account.id}`,
  );
  expect([rows, receiver.at(endpoint.path)]).toEqual([[{ attempts: 0 }], []]);
});
