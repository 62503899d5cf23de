import { removeCoupon } from '../../src/invoice/removeCoupon.js';
import { publicId } from '../../src/platform/ids.js';
import { invoicesInOrder } from '../../src/simulateExpect.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { preview } from '../../src/subscription/preview.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import {
  couponOf,
  eventsOf,
  freshKey,
  linesOf,
  operatorOf,
  runDue,
  settle,
  subscribed,
  take,
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

/** Subscribed in an account whose invoices wait for a day. */
async function patient(planCode = 'basic') {
  const { account, id } = await subscribed(world, { planCode });
  await settle(world, account, { gracePeriodHours: 24 });
  return { account, id };
}
const record = async (account: TestAccount, value: string, timestamp?: string) => {
  const at = timestamp === undefined ? undefined : new Date(timestamp);
  const event = { transactionId: freshKey(), metric: 'minutes', value, timestamp: at };
  return (await recordUsage(world.deps, account.actor, [event])).results[0]!;
};
const cancel = (account: TestAccount, subscriptionId: string, more: { previewToken?: string } = {}) =>
  cancelSubscription(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    subscriptionId,
    timing: 'IMMEDIATE',
    ...more,
  });
const invoicesOf = ({ id }: TestAccount) => invoicesInOrder(world.deps.db.orm.em.fork(), id);

test('a preview shows what comes back at once and the estimate of what waits, and its token holds to both', async () => {
  const { account, id } = await patient();
  await record(account, '130'); // 30 over, at 0.05
  world.clock.set('2024-04-11T12:00:00Z');
  const command = { subscriptionId: id, timing: 'IMMEDIATE' } as const;
  const quoted = await preview(world.deps, account.actor, { cancelSubscription: command });
  expect(quoted).toMatchObject({
    dueNowMinor: 0n,
    creditMinor: 1900n,
    invoice: { subtotalMinor: -1900n, totalMinor: 0n },
    draft: { status: 'DRAFT', totalMinor: 150n },
    nextInvoice: null,
  });
  expect(quoted.lines.map(({ amountMinor }) => amountMinor)).toEqual([-1900n, 150n]);
  expect(quoted.draft!.finalizeAt!.toISOString().slice(0, 16)).toBe('2024-04-12T12:00');

  await record(account, '20');
  await expect(cancel(account, id, { previewToken: quoted.token })).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
  const again = await preview(world.deps, account.actor, { cancelSubscription: command });
  const { invoiceId } = await cancel(account, id, { previewToken: again.token });
  const [, credit, draft] = await invoicesOf(account);
  expect(credit).toMatchObject({ id: invoiceId, status: 'PAID', totalMinor: 0n });
  expect(draft).toMatchObject({
    status: 'DRAFT',
    totalMinor: again.draft!.totalMinor,
    finalizeAt: again.draft!.finalizeAt,
  });
  expect(await linesOf(world, draft!)).toEqual(['Minutes over the limit of 100 250']);
  expect(await balanceOf(world, account.id, 'wallet')).toBe(1900n);
  await expectSoundLedger(world, account.id);
});

test('where nothing comes back the draft is the invoice of the answer', async () => {
  const account = await world.account();
  await settle(world, account, { gracePeriodHours: 24 });
  const { subscriptionId } = await subscribe(world.deps, account.actor, { planCode: 'tryout' });
  await record(account, '12'); // 2 over in the trial, at 0.10
  const query = `mutation($id: ID!) { cancelSubscription(input: { idempotencyKey: "${freshKey()}", subscriptionId: $id, timing: IMMEDIATE }) {
    subscription { status } invoice { status number total { amount } finalizesAt } } }`;
  const shown = await world.gql(
    account.token,
    `query($id: ID!) { preview(input: { cancelSubscription: { idempotencyKey: "x", subscriptionId: $id, timing: IMMEDIATE } }) {
      dueNow { amount } credit { amount } invoice { total { amount } } draft { status total { amount } lines { description } } } }`,
    { id: publicId('subscription', subscriptionId) },
  );
  const estimate = { total: { amount: '0.20' } };
  const lines = [{ description: 'Minutes over the limit of 10' }];
  expect(shown.data.preview).toEqual({
    dueNow: { amount: '0.00' },
    credit: { amount: '0.00' },
    invoice: estimate,
    draft: { status: 'DRAFT', ...estimate, lines },
  });
  const { data } = await world.gql(account.token, query, { id: publicId('subscription', subscriptionId) });
  expect(data.cancelSubscription).toEqual({
    subscription: { status: 'CANCELED' },
    invoice: { status: 'DRAFT', number: null, ...estimate, finalizesAt: expect.stringContaining('2024-04-02T') },
  });
});

test('an operator ends the grace of a final draft; what is told late after that nothing can bill', async () => {
  const { account, id } = await patient();
  await record(account, '120');
  world.clock.set('2024-04-11T12:00:00Z');
  await pauseSubscription(world.deps, account.actor, { idempotencyKey: freshKey(), subscriptionId: id });
  expect(await record(account, '10', '2024-04-11T10:00:00Z')).toMatchObject({ status: 'ACCEPTED' });
  const draft = (await invoicesOf(account))[2]!;
  const ask = await operatorOf(world, account);
  const answer = await ask(
    `mutation { finalizeInvoice(input: { idempotencyKey: "${freshKey()}", invoiceId: "${publicId('invoice', draft.id)}" }) {
      invoice { status total { amount } walletApplied { amount } } } }`,
  );
  expect(answer.finalizeInvoice.invoice).toMatchObject({
    status: 'PAID',
    total: { amount: '1.50' },
    walletApplied: { amount: '1.50' },
  });
  expect(await record(account, '10', '2024-04-11T10:00:00Z')).toMatchObject({
    status: 'REJECTED',
    error: {
      code: 'ILLEGAL_STATE',
      message: expect.stringContaining('its invoice is final'),
      field: ['events', '0', 'timestamp'],
    },
  });
  expect(await record(account, '10')).toMatchObject({ error: { code: 'LIMIT_EXCEEDED' } }); // of now: it is paused
  await expectSoundLedger(world, account.id);
});

test('a final draft on which nothing came is void without a number, and told so', async () => {
  const { account, id } = await patient();
  await cancel(account, id);
  await record(account, '100', '2024-04-01T00:00:00Z'); // within the limit
  world.clock.set('2024-04-02T00:05:00Z');
  await runDue(world);
  const draft = (await invoicesOf(account))[2]!;
  expect(draft).toMatchObject({ status: 'VOID', number: null, finalizeAt: null, amountDueMinor: 0n });
  expect(await eventsOf(world, account, 'invoice.voided')).toMatchObject([{ data: { status: 'void', number: null } }]);
  const ask = await operatorOf(world, account);
  const again = `mutation { finalizeInvoice(input: { idempotencyKey: "${freshKey()}", invoiceId: "${publicId('invoice', draft.id)}" }) { userErrors { code message } } }`;
  expect((await ask(again)).finalizeInvoice.userErrors).toMatchObject([{ code: 'ILLEGAL_STATE' }]);
  const pdf = await world
    .rest(account.token, 'GET', `/invoices/${publicId('invoice', draft.id)}/pdf`)
    .catch(() => undefined);
  expect(pdf?.status ?? 200).toBe(200);
  expect(await record(account, '1', '2024-04-01T00:00:00Z')).toMatchObject({ error: { code: 'ILLEGAL_STATE' } });
  await expectSoundLedger(world, account.id);
});

test('without a charge no usage could change what is owed: nothing waits', async () => {
  const { account, id } = await patient('yearly');
  await cancel(account, id);
  expect(await invoicesOf(account)).toMatchObject([{ status: 'PAID' }, { status: 'PAID', totalMinor: 0n }]);
});

test('a final draft keeps a coupon that others use up meanwhile, and loses one that is removed', async () => {
  for (const removed of [false, true]) {
    world.clock.set('2024-04-01T00:00:00Z');
    const { account, id } = await patient();
    await record(account, '140');
    world.clock.set('2024-04-11T12:00:00Z');
    const appliedCouponId = await take(world, account, await couponOf(world, { percent: '50', duration: 'ONCE' }));
    await cancel(account, id);
    const draft = async () =>
      (await invoicesOf(account)).find(({ status, reason }) => reason === 'subscription_cancel' && status !== 'PAID');
    expect(await draft()).toMatchObject({ status: 'DRAFT', discountMinor: 100n, totalMinor: 100n });
    if (removed)
      await removeCoupon(world.deps, account.actor, { appliedCouponId: publicId('appliedCoupon', appliedCouponId) });
    else await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
    const waiting = (await draft())!;
    world.clock.set('2024-04-12T12:05:00Z');
    await runDue(world);
    const final = (await invoicesOf(account)).find((invoice) => invoice.id === waiting.id);
    expect(final).toMatchObject({
      status: 'PAID',
      discountMinor: removed ? 0n : 100n,
      totalMinor: removed ? 200n : 100n,
    });
    await expectSoundLedger(world, account.id);
  }
});
