import { recordUsage } from '../../src/usage/recordUsage.js';
import { configureAutoRecharge } from '../../src/wallet/configureAutoRecharge.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  freshKey,
  invoicesOf,
  linesOf,
  paymentsOf,
  publish,
  runDue,
  subscribed,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { type Loose, startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const record = async (account: TestAccount, metric: string, ...values: string[]) => {
  const events = values.map((value) => ({ transactionId: freshKey(), metric, value }));
  const { results } = await recordUsage(world.deps, account.actor, events);
  return results.map(({ status }) => status);
};
const ask = async (account: TestAccount): Promise<Loose> => {
  const { data, errors } = await world.gql(
    account.token,
    `{ usage { charges { minorUnits } items { metric { code } charge { minorUnits } } }
       wallet { available { minorUnits } } }`,
  );
  expect(errors).toBeUndefined();
  return data;
};
const minor = ({ minorUnits }: { minorUnits: string }): bigint => BigInt(minorUnits);

test('what a charge costs is the same in the summary, the wallet, the preview of the invoice and the invoice', async () => {
  const { account, id } = await subscribed(world, { planCode: 'metered' });
  await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('50.00') });
  // Nothing used yet: the minimum of `peak` is due all the same.
  expect(minor((await ask(account)).usage.charges)).toBe(2000n);

  await record(account, 'minutes', '5', '3');
  await record(account, 'requests', ...Array.from({ length: 11 }, () => '1'));
  await record(account, 'peak', '150');
  const { usage, wallet } = await ask(account);
  const charges = Object.fromEntries(usage.items.map((i: Loose) => [i.metric.code, minor(i.charge)]));
  expect(charges).toEqual({ minutes: 21500n, requests: 300n, peak: 2500n });
  expect(minor(usage.charges)).toBe(24300n);
  expect(minor(wallet.available)).toBe(5000n - 24300n);
  const previewed = await world.gql(
    account.token,
    `query ($id: ID!) { preview(input: { cancelSubscription: { idempotencyKey: "p", subscriptionId: $id, timing: PERIOD_END } }) {
       nextInvoice { lines { description amount { minorUnits } } } } }`,
    { id },
  );
  const upcoming = previewed.data.preview.nextInvoice.lines.map(
    (line: Loose) => `${line.description} ${minor(line.amount)}`,
  );

  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  const [, renewal] = await invoicesOf(world, account);
  const lines = ['Minutes 21500', 'Requests over the limit of 10 300', 'Peak over the limit of 100 2500'];
  expect((await linesOf(world, renewal!)).sort()).toEqual([...lines, 'Metered 1000'].sort());
  expect(upcoming.sort()).toEqual(lines.sort());
  await expectSoundLedger(world, account.id);

  const { data } = await world.gql(
    account.token,
    '{ invoices(first: 1) { nodes { lines { description quantity unitAmount explanation { label result } } } } }',
  );
  const minutes = data.invoices.nodes[0].lines.find((line: Loose) => line.description === 'Minutes');
  expect(minutes).toMatchObject({ quantity: '8', unitAmount: null });
  expect(minutes.explanation.map(({ label, result }: Loose) => `${label}: ${result}`)).toEqual([
    'Used in the period: 8',
    'Paid from the first unit: 8',
    'Tier up to 5: 150',
    'Tier over 5: 65',
    'Together: 215',
    'Amount: 215.00',
  ]);
});

test('a period without any use costs the minimum, and the line names no limit', async () => {
  const { account } = await subscribed(world, { planCode: 'metered' });
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  const [, renewal] = await invoicesOf(world, account);
  expect((await linesOf(world, renewal!)).sort()).toEqual(['Metered 1000', 'Peak 2000']);
});

test('a trial owes no minimum, only what is over the limit: so say preview, summary, wallet and invoice', async () => {
  const { account, id } = await subscribed(world, { planCode: 'tryout' });
  const change = `{ idempotencyKey: "in-trial", subscriptionId: $id, planCode: "metered", timing: IMMEDIATE }`;
  const { data } = await world.gql(
    account.token,
    `query ($id: ID!) { preview(input: { changePlan: ${change} }) { nextInvoice { lines { description } } } }`,
    { id },
  );
  expect(data.preview.nextInvoice.lines).toEqual([{ description: 'Metered' }]);
  await world.gql(account.token, `mutation ($id: ID!) { changePlan(input: ${change}) { userErrors { code } } }`, {
    id,
  });
  expect(minor((await ask(account)).usage.charges)).toBe(0n);

  await record(account, 'peak', '102');
  const { usage, wallet } = await ask(account);
  expect([minor(usage.charges), minor(wallet.available)]).toEqual([100n, -100n]);

  world.clock.set('2024-04-15T00:01:00Z');
  await runDue(world);
  const [first] = await invoicesOf(world, account);
  expect((await linesOf(world, first!)).sort()).toEqual(['Metered 1000', 'Peak over the limit of 100 100']);
  expect(minor((await ask(account)).usage.charges)).toBe(2000n);
});

test('pay per use makes the wallet look whether it must recharge', async () => {
  const { account } = await subscribed(world, { planCode: 'metered' });
  await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('300.00') });
  await configureAutoRecharge(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    enabled: true,
    threshold: usd('200.00'),
    amount: usd('100.00'),
  });
  await runDue(world);
  const before = await paymentsOf(world, account);
  await record(account, 'minutes', '1');
  await runDue(world);
  expect(await paymentsOf(world, account)).toHaveLength(before.length + 1);
});

test('no event may take a charge past what an invoice can hold', async () => {
  await publish(
    world,
    `metrics: [{ code: gold, name: Gold, aggregation: sum }]
plans:
  - code: treasury
    name: Treasury
    price: 0.00
    currency: USD
    interval: month
    features: { gold: { charge: { model: package, size: 2, price: 200.00 } } }
`,
  );
  const { account } = await subscribed(world, { planCode: 'treasury' });
  expect(await record(account, 'gold', '900000000001', '900000000000', '0.1')).toEqual([
    'REJECTED',
    'ACCEPTED',
    'REJECTED',
  ]);
  expect(minor((await ask(account)).usage.charges)).toBe(9_000_000_000_000_000n);
});

test('a change to another plan prices the use so far by the charge of that plan', async () => {
  const { account, id } = await subscribed(world);
  await record(account, 'minutes', '102');
  const { data } = await world.gql(
    account.token,
    `mutation ($id: ID!) { changePlan(input: { idempotencyKey: "to-metered", subscriptionId: $id, planCode: "metered", timing: IMMEDIATE }) {
       userErrors { message } } }`,
    { id },
  );
  expect(data.changePlan.userErrors).toEqual([]);
  const { usage } = await ask(account);
  const minutes = usage.items.find((item: Loose) => item.metric.code === 'minutes');
  expect(minor(minutes.charge)).toBe(15000n + 5000n + 97n * 500n);
});
