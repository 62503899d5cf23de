import { createKey } from '../../src/account/apiKeys.js';
import { runCli } from '../../src/cliProgram.js';
import { systemActor } from '../../src/platform/actor.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import {
  type MigrateSubscribersInput,
  type Migration,
  migrateSubscribers,
} from '../../src/subscription/migrateSubscribers.js';
import {
  addCard,
  dayMs,
  invoicesOf,
  publish,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
} from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { type Loose, startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
let databaseUrl: string | undefined;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
  databaseUrl = process.env.DATABASE_URL;
  process.env.DATABASE_URL = world.databaseUrl;
});
afterAll(async () => {
  if (databaseUrl === undefined) delete process.env.DATABASE_URL;
  else process.env.DATABASE_URL = databaseUrl;
  await world.stop();
});
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const priced = (price: string) => testCatalogYaml.replace('price: 30.00', `price: ${price}`);
const operator = systemActor('00000000-0000-0000-0000-000000000000');
const migrate = (input: Partial<MigrateSubscribersInput>): Promise<Migration[]> =>
  Array.fromAsync(
    migrateSubscribers(world.deps, operator, { planCode: 'basic', timing: 'PERIOD_END', dryRun: false, ...input }),
  );
const outcomes = (found: readonly Migration[], ...accounts: TestAccount[]) =>
  accounts.map(({ id }) => {
    const one = found.find(({ accountId }) => accountId === id);
    return one && `${one.outcome} ${one.fromVersion} → ${one.toVersion}${one.reason ? `: ${one.reason}` : ''}`;
  });

test('subscribers of an older version move to the newest at the end of their period, once', async () => {
  const a = await subscribed(world);
  const b = await subscribed(world);
  const ending = await subscribed(world);
  await cancelSubscription(world.deps, ending.account.actor, { subscriptionId: ending.id, timing: 'PERIOD_END' });
  const leaving = await subscribed(world);
  await changePlan(world.deps, leaving.account.actor, {
    subscriptionId: leaving.id,
    planCode: 'free',
    timing: 'AUTO',
    proration: 'PER_DAY',
  });
  await publish(world, priced('33.00'));
  const newcomer = await subscribed(world);

  const planned = await migrate({ dryRun: true });
  expect(planned.find(({ accountId }) => accountId === a.account.id)).toMatchObject({
    oldFeeMinor: 3000n,
    newFeeMinor: 3300n,
    effectiveAt: (await subscriptionOf(world, a.account)).periodEnd,
    dueNowMinor: 0n,
    outcome: 'PLANNED',
  });
  expect((await subscriptionOf(world, a.account)).pendingPlanId).toBeNull();
  const all = [a, b, ending, leaving, newcomer].map(({ account }) => account);
  expect(outcomes(await migrate({}), ...all)).toEqual([
    'MIGRATED 1 → 2',
    'MIGRATED 1 → 2',
    'SKIPPED 1 → 2: it ends with this period',
    'SKIPPED 1 → 2: another change is scheduled',
    undefined,
  ]);
  expect(outcomes(await migrate({}), a.account)).toEqual(['SKIPPED 1 → 2: it is scheduled already']);
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  expect((await invoicesOf(world, a.account)).map(({ totalMinor }) => totalMinor)).toEqual([3000n, 3300n]);
  expect(outcomes(await migrate({}), a.account, b.account)).toEqual([undefined, undefined]);
});

test('at once: the difference is charged; whoever is declined stays, and is tried again', async () => {
  const good = await subscribed(world);
  const poor = await subscribed(world);
  const from = await versionFor(good.account);
  await publish(world, priced('60.00'));
  await addCard(world, poor.account, 'tok_chargeDeclined');
  world.clock.set('2024-04-11T12:00:00Z');
  const [planned] = (await migrate({ timing: 'IMMEDIATE', dryRun: true })).filter(
    (m) => m.accountId === good.account.id,
  );
  expect(planned).toMatchObject({ dueNowMinor: 1800n, outcome: 'PLANNED' });
  const found = await migrate({ timing: 'IMMEDIATE', fromVersions: [from] });
  expect(outcomes(found, good.account)).toEqual([`MIGRATED ${from} → ${from + 1}`]);
  expect(found.find((m) => m.accountId === poor.account.id)).toMatchObject({
    outcome: 'FAILED',
    reason: expect.stringContaining('PAYMENT_DECLINED'),
  });
  expect(await migrate({ timing: 'IMMEDIATE', fromVersions: [from + 7] })).toEqual([]);
  await addCard(world, poor.account);
  expect(outcomes(await migrate({ timing: 'IMMEDIATE' }), good.account, poor.account)).toEqual([
    undefined,
    `MIGRATED ${from} → ${from + 1}`,
  ]);
  for (const { account } of [good, poor]) {
    expect((await world.deps.payments.moved({ accountId: account.id })).amountMinor).toBe(5100n);
    await expectSoundLedger(world, account.id);
  }
});

async function versionFor({ token }: TestAccount): Promise<number> {
  const { data } = await world.gql(token, '{ plans { nodes { code version } } }');
  return data.plans.nodes.find(({ code }: { code: string }) => code === 'basic').version;
}

test('through GraphQL: page by page, for operators only', async () => {
  const { account } = await subscribed(world);
  await subscribed(world);
  await publish(world, priced('34.00'));
  const mutation = `mutation($after: ID) { migrateSubscribers(input: { idempotencyKey: "m", planCode: "basic", dryRun: true, first: 1, after: $after }) {
    subscribers { accountId subscriptionId fromVersion toVersion oldFee { amount } newFee { amount } effectiveAt dueNow { minorUnits } outcome reason }
    endCursor hasNextPage userErrors { code field } } }`;
  const { token } = await createKey(world.deps, { accountId: undefined, scopes: ['*:*'] });
  const ask = async (variables: object) => {
    const answer = await fetch(`${world.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${token}`,
        'billing-account': account.publicId,
      },
      body: JSON.stringify({ query: mutation, variables }),
    });
    return (await answer.json()) as { data: Loose; errors?: unknown };
  };
  const first = await ask({});
  expect(first.errors).toBeUndefined();
  expect(first.data.migrateSubscribers).toMatchObject({ hasNextPage: true, userErrors: [] });
  const seen = [first.data.migrateSubscribers.subscribers[0].accountId];
  for (let after = first.data.migrateSubscribers.endCursor; after; ) {
    const { data } = await ask({ after });
    seen.push(...data.migrateSubscribers.subscribers.map((s: { accountId: string }) => s.accountId));
    after = data.migrateSubscribers.hasNextPage ? data.migrateSubscribers.endCursor : null;
  }
  expect(seen).toContain(account.publicId);
  expect(new Set(seen).size).toBe(seen.length);
  expect((await world.gql(account.token, mutation)).errors?.[0]).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
});

test('from the command line', async () => {
  world.clock.set(new Date()); // the command lives by the wall clock
  const { account } = await subscribed(world, { planCode: 'premium' });
  await publish(world, testCatalogYaml.replace('price: 60.00', 'price: 65.00'));
  const run = async (...args: string[]) => {
    let out = '';
    let err = '';
    const stdout = { write: (text: string) => (out += text) };
    const stderr = { write: (text: string) => (err += text) };
    const code = await runCli(['plan', 'migrate', ...args], { stdin: (async function* () {})(), stdout, stderr });
    return { code, out, err };
  };
  const dry = JSON.parse((await run('premium', '--dry-run', '--json')).out);
  expect(dry.subscribers.find((s: { accountId: string }) => s.accountId === account.publicId)).toMatchObject({
    newFee: '65.00',
    outcome: 'planned',
    dueNow: '0.00',
  });
  const done = await run('premium');
  expect(done).toMatchObject({ err: '', code: 0 });
  expect(done.out).toContain('migrated');
  expect((await subscriptionOf(world, account)).pendingPlanId).not.toBeNull();
  expect(await run('premium', '--from', 'x')).toMatchObject({ code: 1 });
}, 60_000);

test('a key of any length moves them, and the same key moves them again to the version after', async () => {
  const a = await subscribed(world);
  const idempotencyKey = 'k'.repeat(255);
  for (const price of ['41.00', '42.00']) {
    await publish(world, priced(price));
    world.clock.advanceMs(dayMs);
    const found = await migrate({ idempotencyKey, timing: 'IMMEDIATE' });
    expect(found.find(({ accountId }) => accountId === a.account.id)).toMatchObject({ outcome: 'MIGRATED' });
    expect(outcomes(await migrate({ dryRun: true }), a.account)).toEqual([undefined]);
  }
});
