import { Account } from '../../src/account/account.entity.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { entitlements } from '../../src/subscription/entitlements.js';
import { type PauseSubscriptionInput, pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { type PreviewInput, preview } from '../../src/subscription/preview.js';
import { advanceSubscription } from '../../src/subscription/renew.js';
import { resumeSubscription } from '../../src/subscription/resumeSubscription.js';
import { undoScheduledChange } from '../../src/subscription/undoScheduledChange.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import {
  addCard,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  paymentsOf,
  runDue,
  subscribed,
  subscriptionOf,
  testCatalogYaml,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const noonOfThe11th = '2024-04-11T12:00:00Z';
const pause = (account: TestAccount, subscriptionId: string, more: Partial<PauseSubscriptionInput> = {}) =>
  pauseSubscription(world.deps, account.actor, { idempotencyKey: freshKey(), subscriptionId, ...more });
const resume = (account: TestAccount, subscriptionId: string, more: object = {}) =>
  resumeSubscription(world.deps, account.actor, { idempotencyKey: freshKey(), subscriptionId, ...more });
const quote = (account: TestAccount, input: PreviewInput) => preview(world.deps, account.actor, input);
const record = async (account: TestAccount, metric: string, value: string) =>
  (await recordUsage(world.deps, account.actor, [{ transactionId: freshKey(), metric, value }])).results[0]!;
const granted = (account: TestAccount) =>
  entitlements(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock });

test('a pause may not be set to end beyond what a calendar can say', async () => {
  const { account, id } = await subscribed(world);
  const { data, errors } = await world.gql(
    account.token,
    `mutation($id: ID!) { pauseSubscription(input: { idempotencyKey: "far", subscriptionId: $id, resumeAt: "9999-12-31T23:59:59-12:00" }) {
      userErrors { code field } } }`,
    { id },
  );
  expect(errors).toBeUndefined();
  expect(data.pauseSubscription.userErrors).toEqual([{ code: 'INVALID', field: ['resumeAt'] }]);
});

test('a pause bills the usage, gives the unused days back, and grants nothing until it is resumed', async () => {
  const { account, id } = await subscribed(world);
  await record(account, 'minutes', '130');
  await record(account, 'users', '3');
  world.clock.set(noonOfThe11th);
  const input = { idempotencyKey: freshKey() };
  const first = await pause(account, id, input);
  expect(await pause(account, id, input)).toEqual({ ...first, replayed: true });
  const stopped = await subscriptionOf(world, account);
  expect(stopped).toMatchObject({ status: 'PAUSED', dueAt: null, resumeAt: null });
  expect(stopped.periodEnd).toEqual(stopped.pausedAt);
  const [, last] = await invoicesOf(world, account);
  expect(await linesOf(world, last!)).toEqual(['Unused time on Basic -1900', 'Minutes over the limit of 100 150']);
  expect(last).toMatchObject({ reason: 'subscription_pause', status: 'PAID', totalMinor: 0n });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(1750n);

  expect(await granted(account)).toEqual([]);
  expect(await record(account, 'minutes', '1')).toMatchObject({
    status: 'REJECTED',
    error: { code: 'LIMIT_EXCEEDED' },
  });
  world.clock.set('2024-07-02T00:00:00Z');
  await runDue(world);
  expect(await invoicesOf(world, account)).toHaveLength(2); // nothing renews
  expect(await eventsOf(world, account, 'usage.threshold')).toEqual([
    expect.objectContaining({ data: expect.objectContaining({ metric: 'minutes' }) }),
    expect.anything(),
    expect.anything(),
  ]);

  expect((await resume(account, id)).error).toBeUndefined();
  const again = await subscriptionOf(world, account);
  expect(again).toMatchObject({ status: 'ACTIVE', pausedAt: null, anchor: again.periodStart, dueAt: again.periodEnd });
  expect([again.periodStart, again.periodEnd].map((d) => d.toISOString().slice(0, 10))).toEqual([
    '2024-07-02',
    '2024-08-02',
  ]);
  expect((await invoicesOf(world, account)).at(-1)).toMatchObject({
    reason: 'subscription_resume',
    totalMinor: 3000n,
    walletAppliedMinor: 1750n,
    amountPaidMinor: 1250n,
  });
  expect((await granted(account)).map(({ feature, used }) => [feature, used.toNumber()])).toEqual([
    ['users', 3], // a level goes on
    ['requests', 0],
    ['peak', 0],
    ['minutes', 0],
  ]);
  expect((await record(account, 'minutes', '1')).status).toBe('ACCEPTED');
  const types = ['subscription.paused', 'subscription.resumed', 'subscription.renewed'];
  expect((await eventsOf(world, account, ...types)).map(({ type }) => type)).toEqual(types.slice(0, 2));
  await expect(resume(account, id)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  await expectSoundLedger(world, account.id);
});

test('all at one instant: paused and resumed over and over', async () => {
  const { account, id } = await subscribed(world);
  const at = world.clock.now();
  const deps = { ...world.deps, clock: { now: () => at } };
  for (let i = 0; i < 3; i++) {
    await pauseSubscription(deps, account.actor, { subscriptionId: id });
    await resumeSubscription(deps, account.actor, { subscriptionId: id });
    const usage = [{ transactionId: freshKey(), metric: 'minutes', value: '5' }];
    expect((await recordUsage(deps, account.actor, usage)).results[0]).toMatchObject({ status: 'ACCEPTED' });
  }
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  await expectSoundLedger(world, account.id);
});

test('resuming with a declined card leaves it paused and the invoice void; 3-D Secure waits for the holder', async () => {
  const { account, id } = await subscribed(world);
  world.clock.set(noonOfThe11th);
  await pause(account, id);
  await addCard(world, account, 'tok_chargeDeclined');
  expect((await resume(account, id)).error).toMatchObject({ code: 'PAYMENT_DECLINED' });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAUSED', changeInvoiceId: null });
  expect((await invoicesOf(world, account)).at(-1)).toMatchObject({ status: 'VOID' });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(1900n);

  await addCard(world, account, 'tok_threeDSecure2Required');
  expect((await resume(account, id)).error).toMatchObject({ code: 'REQUIRES_ACTION' });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAUSED' });
  const payment = (await paymentsOf(world, account)).at(-1)!;
  await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
  world.clock.advanceMs(31_000);
  await runDue(world);
  const again = await subscriptionOf(world, account);
  expect(again).toMatchObject({ status: 'ACTIVE' });
  expect(again.periodStart).toEqual((await invoicesOf(world, account)).at(-1)!.periodStart);
  await expectSoundLedger(world, account.id);
});

test('a pause with a date ends by itself, with what was scheduled; its invoice is dunned as a renewal', async () => {
  const { account, id } = await subscribed(world, { planCode: 'premium' });
  await changePlan(world.deps, account.actor, {
    subscriptionId: id,
    planCode: 'basic',
    quantity: 2,
    timing: 'PERIOD_END',
    proration: 'PER_DAY',
  });
  world.clock.set(noonOfThe11th);
  await expect(pause(account, id, { resumeAt: new Date('2024-04-11T11:59:00Z') })).rejects.toMatchObject({
    code: 'INVALID',
    details: { field: ['resumeAt'] },
  });
  await pause(account, id, { resumeAt: new Date('2024-06-01T08:00:00Z') });
  expect((await subscriptionOf(world, account)).dueAt).toEqual(new Date('2024-06-01T08:00:00Z'));
  await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
  world.clock.set('2024-06-01T09:00:00Z');
  await runDue(world);
  const invoice = (await invoicesOf(world, account)).at(-1)!;
  expect(invoice).toMatchObject({
    reason: 'subscription_cycle',
    status: 'OPEN',
    issuedAt: new Date('2024-06-01T08:00:00Z'),
  });
  expect(await linesOf(world, invoice)).toEqual(['Basic 6000']);
  expect(await subscriptionOf(world, account)).toMatchObject({
    status: 'PAST_DUE',
    quantity: 2,
    pendingPlanId: null,
    pendingQuantity: null,
    anchor: new Date('2024-06-01T08:00:00Z'),
  });
  await addCard(world, account);
  await runDue(world);
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  await expectSoundLedger(world, account.id);
});

test('the date of its end can be taken back; the pause then lasts until it is resumed by hand', async () => {
  const { account, id } = await subscribed(world);
  await pause(account, id, { resumeAt: new Date('2024-05-01T00:00:00Z') });
  const { version } = await subscriptionOf(world, account);
  const undo = (more: object) => undoScheduledChange(world.deps, account.actor, { subscriptionId: id, ...more });
  await expect(undo({ expectedVersion: version - 1 })).rejects.toMatchObject({ code: 'STALE_VERSION' });
  await undo({ expectedVersion: version });
  expect(await subscriptionOf(world, account)).toMatchObject({ resumeAt: null, dueAt: null, version: version + 1 });
  await expect(undo({})).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
});

test('a paused subscription can be canceled, and owes nothing more', async () => {
  const { account, id } = await subscribed(world);
  world.clock.set(noonOfThe11th);
  await pause(account, id);
  const quoted = await quote(account, { cancelSubscription: { subscriptionId: id, timing: 'PERIOD_END' } });
  expect(quoted).toMatchObject({ dueNowMinor: 0n, creditMinor: 0n, lines: [], nextInvoice: null });
  await cancelSubscription(world.deps, account.actor, {
    subscriptionId: id,
    timing: 'PERIOD_END',
    previewToken: quoted.token,
  });
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  expect(await invoicesOf(world, account)).toHaveLength(2);
  await expectSoundLedger(world, account.id);
});

test('only what runs and goes on can be paused', async () => {
  const trial = await subscribed(world, { planCode: 'tryout' });
  await expect(pause(trial.account, trial.id)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  const ending = await subscribed(world);
  await cancelSubscription(world.deps, ending.account.actor, { subscriptionId: ending.id, timing: 'PERIOD_END' });
  await expect(pause(ending.account, ending.id)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  await expect(pause(trial.account, ending.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(
    changePlan(world.deps, (await paused()).account.actor, {
      subscriptionId: (await paused()).id,
      planCode: 'premium',
      timing: 'AUTO',
      proration: 'PER_DAY',
    }),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  async function paused() {
    const made = await subscribed(world);
    await pause(made.account, made.id);
    return made;
  }
});

test('pausing and renewing at once: the period is billed once, whoever comes first', async () => {
  const { account, id, answer } = await subscribed(world);
  world.clock.set('2024-05-01T00:01:00Z');
  const of = { accountId: account.id, subscriptionId: answer.subscriptionId };
  const [first] = await Promise.allSettled([
    pause(account, id),
    advanceSubscription(world.deps, of),
    advanceSubscription(world.deps, of),
  ]);
  if (first.status === 'rejected') {
    expect(first.reason).toMatchObject({ code: 'CONFLICT', retryable: true }); // the renewal was just being charged
    await pause(account, id);
  }
  const reasons = (await invoicesOf(world, account)).map(
    ({ reason, periodStart }) => `${reason} ${periodStart!.getUTCMonth() + 1}`,
  );
  expect(reasons).toEqual(['subscription_create 4', 'subscription_cycle 5', 'subscription_pause 5']);
  expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAUSED' });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(2903n); // 30 of 31 days
  await expectSoundLedger(world, account.id);
});

describe('when collecting gives up', () => {
  const givenUp = async (dunningEnd: Account['dunningEnd'], more: 'cancels' | 'stays' = 'stays') => {
    const { account, id } = await subscribed(world);
    await world.deps.db.orm.em.fork().nativeUpdate(Account, { id: account.id }, { dunningEnd });
    await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    if (more === 'cancels')
      await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'PERIOD_END' });
    for (const days of [1.1, 2, 2, 2]) {
      world.clock.advanceMs(days * dayMs);
      await runDue(world);
    }
    expect((await invoicesOf(world, account)).find((i) => i.reason === 'subscription_cycle')).toMatchObject({
      status: 'UNCOLLECTIBLE',
    });
    return { account, id };
  };

  test('the policy pause: paused without credit; resuming needs a card that works', async () => {
    const { account, id } = await givenUp('pause');
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAUSED', resumeAt: null });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    expect((await resume(account, id)).error).toMatchObject({ code: 'PAYMENT_DECLINED' });
    await addCard(world, account);
    expect((await resume(account, id)).error).toBeUndefined();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    await expectSoundLedger(world, account.id);
  });

  test('one that was to end anyway ends', async () => {
    const { account } = await givenUp('pause', 'cancels');
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
  });

  test('the policy past_due: goes on, and the next renewal that is paid makes it active', async () => {
    const { account } = await givenUp('past_due');
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'PAST_DUE' });
    expect(await granted(account)).not.toEqual([]);
    await addCard(world, account);
    world.clock.set('2024-06-01T00:01:00Z');
    await runDue(world);
    expect((await invoicesOf(world, account)).map(({ status }) => status)).toEqual(['PAID', 'UNCOLLECTIBLE', 'PAID']);
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
    await expectSoundLedger(world, account.id);
  });
});

test('previews of a pause and its end show what happens, and bind it', async () => {
  const { account, id } = await subscribed(world);
  await record(account, 'minutes', '1000');
  world.clock.set(noonOfThe11th);
  const resumeAt = new Date('2024-06-01T00:00:00Z');
  const quoted = await quote(account, { pauseSubscription: { subscriptionId: id, resumeAt } });
  expect(quoted).toMatchObject({
    dueNowMinor: 2600n,
    creditMinor: 0n,
    nextInvoice: { totalMinor: 3000n, issuedAt: resumeAt },
  });
  await expect(pause(account, id, { previewToken: quoted.token })).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
  await pause(account, id, { resumeAt, previewToken: quoted.token });
  const invoice = (await invoicesOf(world, account)).at(-1)!;
  expect(invoice.amountPaidMinor).toBe(quoted.dueNowMinor);
  expect(await linesOf(world, invoice)).toEqual(quoted.lines.map((l) => `${l.description} ${l.amountMinor}`));

  const back = await quote(account, { resumeSubscription: { subscriptionId: id } });
  expect(back).toMatchObject({
    dueNowMinor: 3000n,
    lines: [{ description: 'Basic' }],
    nextInvoice: { totalMinor: 3000n },
  });
  world.clock.advanceMs(60_000);
  await resume(account, id, { previewToken: back.token });
  const { periodStart } = await subscriptionOf(world, account);
  expect(periodStart).toEqual(back.lines[0]!.period!.start);
  await expect(quote(account, { resumeSubscription: { subscriptionId: id } })).rejects.toMatchObject({
    code: 'ILLEGAL_STATE',
  });
});

test('through GraphQL', async () => {
  const { account, id } = await subscribed(world);
  const ask = async (query: string) => {
    const { data, errors } = await world.gql(account.token, query);
    expect(errors).toBeUndefined();
    return data;
  };
  const of = `subscriptionId: "${id}"`;
  const shown =
    'subscription { status quantity pausedAt resumeAt upcomingInvoice { status total { minorUnits } } } invoice { total { minorUnits } } userErrors { code field }';
  const { preview } = await ask(
    `{ preview(input: { pauseSubscription: { idempotencyKey: "p", ${of}, resumeAt: "2024-06-01T00:00:00Z" } }) { token dueNow { minorUnits } credit { minorUnits } } }`,
  );
  expect(preview).toMatchObject({ dueNow: { minorUnits: '0' }, credit: { minorUnits: '2900' } });
  const { pauseSubscription } = await ask(
    `mutation { pauseSubscription(input: { idempotencyKey: "p", ${of}, resumeAt: "2024-06-01T00:00:00Z", previewToken: "${preview.token}" }) { ${shown} } }`,
  );
  expect(pauseSubscription).toMatchObject({
    subscription: {
      status: 'PAUSED',
      resumeAt: '2024-06-01T00:00:00.000Z',
      upcomingInvoice: { status: 'DRAFT', total: { minorUnits: '3000' } },
    },
    userErrors: [],
  });
  const { undoScheduledChange } = await ask(
    `mutation { undoScheduledChange(input: { idempotencyKey: "u", ${of} }) { ${shown} } }`,
  );
  expect(undoScheduledChange).toMatchObject({
    subscription: { resumeAt: null, upcomingInvoice: null },
    userErrors: [],
  });
  const { resumeSubscription } = await ask(
    `mutation { resumeSubscription(input: { idempotencyKey: "r", ${of} }) { ${shown} } }`,
  );
  expect(resumeSubscription).toMatchObject({
    subscription: { status: 'ACTIVE', pausedAt: null },
    invoice: { total: { minorUnits: '3000' } },
    userErrors: [],
  });
});
