import { advanceSubscription } from '../../src/subscription/renew.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const record = (account: TestAccount, metric: string, value: string) =>
  recordUsage(world.deps, account.actor, [{ transactionId: freshKey(), metric, value }]);

test('a renewal bills the usage in arrears and the next fee in advance, on one invoice', async () => {
  const { account } = await subscribed(world);
  await record(account, 'minutes', '130');
  await record(account, 'users', '3');
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  const invoices = await invoicesOf(world, account);
  expect(await linesOf(world, invoices[1]!)).toEqual(['Minutes over the limit of 100 150', 'Basic 3000']);
  expect(invoices[1]).toMatchObject({ status: 'PAID', reason: 'subscription_cycle', totalMinor: 3150n });
  const subscription = await subscriptionOf(world, account);
  expect(invoices[1]!.issuedAt).toEqual(subscription.periodStart);
  const { data } = await world.gql(account.token, '{ usage { items { metric { code } used } } }');
  const used = Object.fromEntries(
    data.usage.items.map((i: { metric: { code: string }; used: string }) => [i.metric.code, i.used]),
  );
  expect(used).toEqual({ users: '3', requests: '0', peak: '0', minutes: '0' }); // a level goes on, counts begin again
  expect(await eventsOf(world, account, 'subscription.renewed')).toHaveLength(1);
  await expectSoundLedger(world, account.id);
});

test('several missed periods are each invoiced, at their own time, numbered without gaps', async () => {
  const { account } = await subscribed(world);
  world.clock.set('2024-09-01T00:01:00Z');
  await runDue(world);
  const invoices = await invoicesOf(world, account);
  expect(invoices.map((i) => [i.number!.slice(-6), i.periodStart!.toISOString().slice(0, 10), i.status])).toEqual(
    ['04', '05', '06', '07', '08', '09'].map((month, i) => [`00000${i + 1}`, `2024-${month}-01`, 'PAID']),
  );
  expect(invoices.slice(1).every((i) => i.issuedAt!.getTime() === i.periodStart!.getTime())).toBe(true);
  expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 6, amountMinor: 18_000n });
  await runDue(world);
  expect(await invoicesOf(world, account)).toHaveLength(6);
  await expectSoundLedger(world, account.id);
});

test('ten schedulers at once renew once', async () => {
  const { account, answer } = await subscribed(world);
  world.clock.set('2024-05-01T00:01:00Z');
  const input = { accountId: account.id, subscriptionId: answer.subscriptionId };
  await Promise.all(Array.from({ length: 10 }, () => advanceSubscription(world.deps, input)));
  expect(await invoicesOf(world, account)).toHaveLength(2);
  expect(await world.deps.payments.moved({ accountId: account.id })).toEqual({ charges: 2, amountMinor: 6000n });
  expect(await eventsOf(world, account, 'subscription.renewed')).toHaveLength(1);
  await expectSoundLedger(world, account.id);
});

test('the wallet pays first, the card the rest', async () => {
  const { account } = await subscribed(world);
  await topUp(world.deps, account.actor, { amount: usd('20.00') });
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  expect((await invoicesOf(world, account))[1]).toMatchObject({
    status: 'PAID',
    walletAppliedMinor: 2000n,
    amountPaidMinor: 1000n,
  });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
  await expectSoundLedger(world, account.id);
});

test('a trial costs nothing until it ends, then the first fee and the overage of the trial', async () => {
  const { account } = await subscribed(world, { planCode: 'tryout' });
  const trial = await subscriptionOf(world, account);
  expect(trial).toMatchObject({ status: 'TRIALING', periodEnd: trial.trialEndsAt });
  expect(trial.periodEnd.getTime() - trial.periodStart.getTime()).toBe(14 * dayMs);
  expect(await invoicesOf(world, account)).toEqual([]);
  await record(account, 'minutes', '12');
  world.clock.set('2024-04-15T00:01:00Z');
  await runDue(world);
  const active = await subscriptionOf(world, account);
  expect(active).toMatchObject({ status: 'ACTIVE', periodStart: trial.periodEnd, anchor: trial.periodEnd });
  expect(active.periodEnd.toISOString().slice(0, 10)).toBe('2024-05-15');
  const invoices = await invoicesOf(world, account);
  expect(await Promise.all(invoices.map((i) => linesOf(world, i)))).toEqual([
    ['Minutes over the limit of 10 20', 'Tryout 2000'],
  ]);
  await expectSoundLedger(world, account.id);
});
