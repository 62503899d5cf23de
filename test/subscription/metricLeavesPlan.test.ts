import { changePlan } from '../../src/subscription/changePlan.js';
import { preview } from '../../src/subscription/preview.js';
import { correctUsage } from '../../src/usage/correctUsage.js';
import { usageHistory } from '../../src/usage/usageSummary.js';
import { addCard, freshKey, invoicesOf, linesOf, runDue, settle, subscribed } from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { countsOf, expectCountersEqualEvents, record as recordIn, usageOf, windowsOf } from '../support/metering.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

/** Going from basic to plain takes both metrics away; to more, only seats, while minutes stop being charged. */
const catalog = `
metrics:
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: seats, name: Seats, aggregation: weighted_sum }
plans:
  - code: basic
    name: Basic
    price: 30.00
    currency: USD
    interval: month
    features:
      minutes: { limit: 100, overage: charge, unit_price: 0.05 }
      seats: { limit: 5, overage: charge, unit_price: 3.00 }
  - { code: plain, name: Plain, price: 60.00, currency: USD, interval: month }
  - { code: more, name: More, price: 60.00, currency: USD, interval: month, features: { minutes: { limit: 50, overage: allow } } }
  - { code: yearly, name: Yearly, price: 600.00, currency: USD, interval: year }
`;
let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const record = (account: TestAccount, ...events: Parameters<typeof usageOf>[]) =>
  recordIn(world, account, ...events.map((event) => usageOf(...event)));
const seats = (level: string, time: string): Parameters<typeof usageOf> => [
  'seats',
  level,
  { timestamp: new Date(time) },
];
const command = (subscriptionId: string, planCode: string) =>
  ({ subscriptionId, planCode, timing: 'IMMEDIATE', proration: 'PER_DAY' }) as const;
const change = (account: TestAccount, id: string, planCode: string) =>
  changePlan(world.deps, account.actor, { idempotencyKey: freshKey(), ...command(id, planCode) });
const renewal = async (account: TestAccount) => {
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  return linesOf(world, (await invoicesOf(world, account)).at(-1)!);
};

/** 150 minutes and nine seats, of which 100 and five are included: 2.50 and about 12.00. */
async function overLimits() {
  const { account, id } = await subscribed(world);
  world.clock.set('2024-04-10T00:00:00Z');
  await record(account, ['minutes', '150'], seats('9', '2024-04-02T00:00:00Z'));
  world.clock.set('2024-04-16T00:00:00Z');
  return { account, id };
}

test('what the preview shows as the next invoice is what the renewal bills, also of levels weighed until the change', async () => {
  const { account, id } = await overLimits();
  const { nextInvoice, lines } = await preview(world.deps, account.actor, { changePlan: command(id, 'plain') });
  expect(lines.map(({ kind }) => kind)).toEqual(['proration_credit', 'proration_charge']);
  await change(account, id, 'plain');
  await expectCountersEqualEvents(world, account);
  const { data } = await world.gql(
    account.token,
    '{ viewer { subscription { upcomingInvoice { lines { description amount { amount } } } } } wallet { available { amount } } }',
  );
  const billed = await renewal(account);
  // Nine seats on 14 of 15 days: 8.4, 3.4 of them over the limit, by the day; the clock runs on by milliseconds.
  expect(billed).toEqual([
    'Minutes over the limit of 100 250',
    expect.stringMatching(/^Seats over the limit of 5 10(19|20|21)$/),
    'Plain 6000',
  ]);
  expect(nextInvoice!.draftLines.map(({ description, amountMinor }) => `${description} ${amountMinor}`)).toEqual(
    billed,
  );
  const upcoming: { description: string; amount: { amount: string } }[] =
    data.viewer.subscription.upcomingInvoice.lines;
  expect(upcoming.map(({ description, amount }) => `${description} ${amount.amount.replace('.', '')}`)).toEqual(billed);
  const over = billed.slice(0, 2).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  expect(Number(data.wallet.available.amount)).toBe(-over / 100);
  await expectSoundLedger(world, account.id);
});

test('usage of before the change counts until it is billed, later usage is refused, and a correction is priced by the old terms', async () => {
  const { account, id } = await overLimits();
  await change(account, id, 'plain');
  const before = { timestamp: new Date('2024-04-15T00:00:00Z') };
  expect(await record(account, ['minutes', '10'])).toEqual(['LIMIT_EXCEEDED']);
  world.clock.set('2024-04-25T00:00:00Z');
  const late = usageOf('minutes', '20', before);
  expect(await recordIn(world, account, late)).toEqual(['ACCEPTED']);
  expect(
    await record(account, seats('11', '2024-04-15T00:00:00Z'), ['minutes', '1'], seats('1', '2024-04-20T00:00:00Z')),
  ).toEqual(['ACCEPTED', 'LIMIT_EXCEEDED', 'LIMIT_EXCEEDED']);
  await expectCountersEqualEvents(world, account);
  expect(await renewal(account)).toContain('Minutes over the limit of 100 350');
  expect(await record(account, ['minutes', '1', before])).toEqual(['ILLEGAL_STATE']);
  const { proposals } = await correctUsage(world.deps, account.actor, {
    corrections: [{ transactionId: late.transactionId, action: 'VOID' }],
  });
  expect(proposals).toMatchObject([{ kind: 'CREDIT_NOTE', metric: 'minutes', amountMinor: '100' }]);
  await expectCountersEqualEvents(world, account);
});

test('with a grace period it waits on the draft with the rest', async () => {
  const { account, id } = await overLimits();
  await settle(world, account, { gracePeriodHours: 48 });
  await change(account, id, 'plain');
  expect(await renewal(account)).toContain('Minutes over the limit of 100 250');
  expect(await record(account, ['minutes', '10', { timestamp: new Date('2024-04-15T19:00:00Z') }])).toEqual([
    'ACCEPTED',
  ]);
  expect(await linesOf(world, (await invoicesOf(world, account)).at(-1)!)).toContain(
    'Minutes over the limit of 100 300',
  );
  await expectCountersEqualEvents(world, account);
});

test('a metric that stays keeps its count and takes the new terms: what is not charged any more is not billed', async () => {
  const { account, id } = await overLimits();
  await change(account, id, 'more');
  expect(await renewal(account)).toEqual([expect.stringMatching(/^Seats over/), 'More 6000']);
});

test('a change back gives the metric its count again, and bills it once', async () => {
  const { account, id } = await overLimits();
  await change(account, id, 'plain');
  await change(account, id, 'basic');
  expect(await record(account, ['minutes', '10'])).toEqual(['ACCEPTED']);
  expect(await countsOf(world, account, 'minutes')).toEqual(['160']);
  expect((await windowsOf(world, account, 'seats')).map(({ withdrawnAt }) => withdrawnAt)).toEqual([null]);
  await expectCountersEqualEvents(world, account);
  expect(await renewal(account)).toContain('Minutes over the limit of 100 300');
});

test('a change that is declined takes nothing away', async () => {
  const { account, id } = await overLimits();
  await addCard(world, account, 'tok_chargeDeclined');
  expect((await change(account, id, 'plain')).error).toMatchObject({ code: 'PAYMENT_DECLINED' });
  expect(await record(account, ['minutes', '10'])).toEqual(['ACCEPTED']);
  expect((await windowsOf(world, account, 'minutes')).map(({ withdrawnAt }) => withdrawnAt)).toEqual([null]);
});

test('a change that begins a new period bills it at the end of that one', async () => {
  const { account, id } = await overLimits();
  await change(account, id, 'yearly');
  expect(await record(account, ['minutes', '10', { timestamp: new Date('2024-04-15T00:00:00Z') }])).toEqual([
    'ACCEPTED',
  ]);
  expect(await record(account, ['minutes', '10'])).toEqual(['LIMIT_EXCEEDED']);
  await expectCountersEqualEvents(world, account);
  const history = await usageHistory(world.deps.db.orm.em.fork(), { accountId: account.id, last: 3 });
  expect(
    history.map(({ items }) => items.map(({ metric, used }) => `${metric.code} ${used.toDecimalPlaces(1).toFixed()}`)),
  ).toEqual([['minutes 160', 'seats 8.4']]);
  world.clock.set('2025-04-16T00:01:00Z');
  await runDue(world);
  expect(await linesOf(world, (await invoicesOf(world, account)).at(-1)!)).toContain(
    'Minutes over the limit of 100 300',
  );
});
