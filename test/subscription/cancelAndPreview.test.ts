import { publicId } from '../../src/platform/ids.js';
import { applyCouponAsShown } from '../../src/subscription/applyCouponAsShown.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { entitlements } from '../../src/subscription/entitlements.js';
import { pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { type PreviewInput, preview } from '../../src/subscription/preview.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  couponOf,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  publish,
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

const cancel = (
  account: TestAccount,
  subscriptionId: string,
  timing: 'IMMEDIATE' | 'PERIOD_END',
  more: { idempotencyKey?: string; previewToken?: string } = {},
) => cancelSubscription(world.deps, account.actor, { idempotencyKey: freshKey(), subscriptionId, timing, ...more });
const quote = (account: TestAccount, input: PreviewInput) => preview(world.deps, account.actor, input);
const record = (account: TestAccount, value: string) =>
  recordUsage(world.deps, account.actor, [{ transactionId: freshKey(), metric: 'minutes', value }]);

describe('cancelSubscription', () => {
  test("at the period's end: goes on until then, bills the usage, grants nothing after", async () => {
    const { account, id } = await subscribed(world);
    await record(account, '120');
    const answer = await cancel(account, id, 'PERIOD_END');
    expect(answer).toMatchObject({ invoiceId: undefined, error: undefined });
    const subscription = await subscriptionOf(world, account);
    expect(subscription).toMatchObject({ status: 'ACTIVE', cancelAt: subscription.periodEnd });
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await subscriptionOf(world, account)).toMatchObject({
      status: 'CANCELED',
      canceledAt: subscription.periodEnd,
      dueAt: null,
    });
    const invoices = await invoicesOf(world, account);
    expect(await Promise.all(invoices.map((i) => linesOf(world, i)))).toEqual([
      ['Basic 3000'],
      ['Minutes over the limit of 100 100'],
    ]);
    expect(invoices[1]).toMatchObject({ reason: 'subscription_cancel', status: 'PAID' });
    expect(await eventsOf(world, account, 'subscription.canceled')).toHaveLength(1);
    expect(await entitlements(world.deps.db.orm.em.fork(), { accountId: account.id, clock: world.clock })).toEqual([]);
    expect((await record(account, '1')).results[0]).toMatchObject({ status: 'REJECTED' });
    await expectSoundLedger(world, account.id);
  });

  test('at once: the day of cancelling counts as used, the rest goes to the wallet', async () => {
    const { account, id } = await subscribed(world);
    world.clock.set('2024-04-11T12:00:00Z');
    await cancel(account, id, 'IMMEDIATE');
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED', dueAt: null });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(1900n);
    await expect(cancel(account, id, 'IMMEDIATE')).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
    world.clock.set('2024-05-02T00:00:00Z');
    await runDue(world);
    expect(await invoicesOf(world, account)).toHaveLength(2);
    expect(await eventsOf(world, account, 'subscription.canceled')).toHaveLength(1);
    await expectSoundLedger(world, account.id);
  });

  test('at once with usage over the limit: the final invoice nets both', async () => {
    const { account, id } = await subscribed(world);
    await record(account, '1000'); // 900 over, at 0.05
    world.clock.set('2024-04-11T12:00:00Z');
    const { invoiceId } = await cancel(account, id, 'IMMEDIATE');
    const invoice = (await invoicesOf(world, account))[1]!;
    expect(invoice.id).toBe(invoiceId);
    expect(await linesOf(world, invoice)).toEqual(['Unused time on Basic -1900', 'Minutes over the limit of 100 4500']);
    expect(invoice).toMatchObject({ status: 'PAID', totalMinor: 2600n, amountPaidMinor: 2600n });
    await expectSoundLedger(world, account.id);
  });

  test('a final invoice that is declined is dunned; canceled is canceled', async () => {
    const { account, id } = await subscribed(world);
    await record(account, '2000');
    await addCard(world, account, 'tok_chargeDeclined');
    const answer = await cancel(account, id, 'IMMEDIATE');
    expect(answer.error).toBeUndefined();
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
    const invoice = (await invoicesOf(world, account)).at(-1)!;
    expect(invoice).toMatchObject({ status: 'OPEN', failedAttempts: 1 });
    expect(invoice.nextPaymentAttemptAt).not.toBeNull();
    await expectSoundLedger(world, account.id);
  });

  test('an INCOMPLETE one just ends, and its invoice is void', async () => {
    const { account, id } = await subscribed(world, { token: 'tok_chargeDeclined' });
    await cancel(account, id, 'PERIOD_END');
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'CANCELED' });
    expect(await invoicesOf(world, account)).toMatchObject([{ status: 'VOID' }]);
    await expectSoundLedger(world, account.id);
  });

  test('a repeat answers the same; another input is a mismatch; a foreign subscription NOT_FOUND', async () => {
    const { account, id } = await subscribed(world);
    const idempotencyKey = freshKey();
    const first = await cancel(account, id, 'IMMEDIATE', { idempotencyKey });
    expect(await cancel(account, id, 'IMMEDIATE', { idempotencyKey })).toEqual({ ...first, replayed: true });
    await expect(cancel(account, id, 'PERIOD_END', { idempotencyKey })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    });
    await expect(cancel(await world.account(), id, 'IMMEDIATE')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(2900n);
    await expectSoundLedger(world, account.id);
  });

  test('after cancelling, a new subscription can begin', async () => {
    const { account, id } = await subscribed(world);
    await cancel(account, id, 'IMMEDIATE');
    expect((await subscribe(world.deps, account.actor, { planCode: 'premium' })).error).toBeUndefined();
    expect((await invoicesOf(world, account)).map((i) => i.number!.slice(-6))).toEqual(['000001', '000002', '000003']);
    await expectSoundLedger(world, account.id);
  });

  test('a change to another plan at the end of a subscription that ends is refused', async () => {
    const { account, id } = await subscribed(world, { planCode: 'premium' });
    await cancel(account, id, 'PERIOD_END');
    const input = { subscriptionId: id, planCode: 'basic', timing: 'AUTO', proration: 'PER_DAY' } as const;
    await expect(changePlan(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'ILLEGAL_STATE' });
  });
});

describe('preview', () => {
  test('changes nothing, and subscribing costs exactly what it showed', async () => {
    const account = await world.account();
    await topUp(world.deps, account.actor, { amount: usd('12.34'), paymentMethodId: 'pm_card_visa' });
    const quoted = await quote(account, { subscribe: { planCode: 'basic' } });
    expect(quoted).toMatchObject({ dueNowMinor: 1766n, creditMinor: 0n, nextInvoice: { totalMinor: 3000n } });
    expect(await invoicesOf(world, account)).toEqual([]);
    await subscribe(world.deps, account.actor, { planCode: 'basic', previewToken: quoted.token });
    const [invoice] = await invoicesOf(world, account);
    expect(invoice!.amountPaidMinor).toBe(quoted.dueNowMinor);
    expect(await linesOf(world, invoice!)).toEqual(quoted.lines.map((l) => `${l.description} ${l.amountMinor}`));
    expect(invoice!.periodEnd).toEqual(quoted.lines[0]!.period!.end);
    await expectSoundLedger(world, account.id);
  });

  test('counts what an INCOMPLETE subscription gives back to the wallet', async () => {
    const account = await world.account();
    await topUp(world.deps, account.actor, { amount: usd('10.00'), paymentMethodId: 'pm_card_visa' });
    await addCard(world, account, 'tok_chargeDeclined');
    await subscribe(world.deps, account.actor, { planCode: 'basic' });
    await addCard(world, account);
    const quoted = await quote(account, { subscribe: { planCode: 'premium' } });
    expect(quoted.dueNowMinor).toBe(5000n);
    await subscribe(world.deps, account.actor, { planCode: 'premium', previewToken: quoted.token });
    expect((await invoicesOf(world, account)).at(-1)).toMatchObject({ status: 'PAID', amountPaidMinor: 5000n });
    await expectSoundLedger(world, account.id);
  });

  test.each([
    'PER_DAY',
    'PER_SECOND',
  ] as const)('a change costs what it showed, %s, though minutes passed', async (proration) => {
    const { account, id } = await subscribed(world);
    world.clock.set('2024-04-11T23:55:00Z');
    const input = { subscriptionId: id, planCode: 'premium', timing: 'AUTO', proration } as const;
    const quoted = await quote(account, { changePlan: input });
    world.clock.advanceMs(10 * 60_000); // into the next day
    await changePlan(world.deps, account.actor, { ...input, idempotencyKey: freshKey(), previewToken: quoted.token });
    const invoice = (await invoicesOf(world, account))[1]!;
    expect(invoice.amountPaidMinor).toBe(quoted.dueNowMinor);
    expect(await linesOf(world, invoice)).toEqual(quoted.lines.map((l) => `${l.description} ${l.amountMinor}`));
    await expectSoundLedger(world, account.id);
  });

  test('an immediate downgrade credits what it showed', async () => {
    const { account, id } = await subscribed(world, { planCode: 'premium' });
    world.clock.set('2024-04-20T08:00:00Z');
    const input = { subscriptionId: id, planCode: 'basic', timing: 'IMMEDIATE', proration: 'PER_SECOND' } as const;
    const quoted = await quote(account, { changePlan: input });
    await changePlan(world.deps, account.actor, { ...input, previewToken: quoted.token });
    expect(quoted.dueNowMinor).toBe(0n);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(quoted.creditMinor);
    expect(quoted.creditMinor).toBeGreaterThan(0n);
  });

  test.each([
    ['a credit', '0', { dueNowMinor: 0n, creditMinor: 1900n }],
    ['an amount due', '1000', { dueNowMinor: 2600n, creditMinor: 0n }],
  ])('cancelling at once comes to what it showed, usage included: %s', async (_, minutes, amounts) => {
    const { account, id } = await subscribed(world);
    if (minutes !== '0') await record(account, minutes);
    world.clock.set('2024-04-11T12:00:00Z');
    const quoted = await quote(account, { cancelSubscription: { subscriptionId: id, timing: 'IMMEDIATE' } });
    expect(quoted).toMatchObject({ ...amounts, nextInvoice: null });
    await cancel(account, id, 'IMMEDIATE', { previewToken: quoted.token });
    const invoice = (await invoicesOf(world, account))[1]!;
    expect(await linesOf(world, invoice)).toEqual(quoted.lines.map((l) => `${l.description} ${l.amountMinor}`));
    expect([invoice.amountPaidMinor, await balanceOf(world, account.id, 'wallet')]).toEqual([
      amounts.dueNowMinor,
      amounts.creditMinor,
    ]);
    await expectSoundLedger(world, account.id);
  });

  test('usage between preview and cancelling makes it STALE_PREVIEW', async () => {
    const { account, id } = await subscribed(world);
    const { token } = await quote(account, { cancelSubscription: { subscriptionId: id, timing: 'IMMEDIATE' } });
    await record(account, '500');
    await expect(cancel(account, id, 'IMMEDIATE', { previewToken: token })).rejects.toMatchObject({
      code: 'STALE_PREVIEW',
    });
    expect(await subscriptionOf(world, account)).toMatchObject({ status: 'ACTIVE' });
  });

  test('a token is good for its own input, its own account and 15 minutes', async () => {
    const { account, id } = await subscribed(world);
    const input = { subscriptionId: id, planCode: 'premium', timing: 'AUTO', proration: 'PER_DAY' } as const;
    const { token, validUntil } = await quote(account, { changePlan: input });
    expect(validUntil.getTime() - world.clock.now().getTime()).toBeLessThanOrEqual(15 * 60_000);
    const attempt = (more: object) => changePlan(world.deps, account.actor, { ...input, previewToken: token, ...more });
    await expect(attempt({ planCode: 'yearly' })).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
    await expect(attempt({ proration: 'NONE' })).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
    await expect(cancel(account, id, 'IMMEDIATE', { previewToken: token })).rejects.toMatchObject({
      code: 'STALE_PREVIEW',
    });
    for (const broken of [
      '',
      'x',
      '.',
      `${token}x`,
      token.slice(0, -1),
      `x${token}`,
      token.replace('.', 'A.'),
      token.split('.')[0]!,
    ]) {
      await expect(attempt({ previewToken: broken })).rejects.toMatchObject({ code: 'INVALID' });
    }
    const other = await subscribed(world);
    await expect(
      changePlan(world.deps, other.account.actor, { ...input, subscriptionId: other.id, previewToken: token }),
    ).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
    world.clock.advanceMs(15 * 60_000 + 1_000);
    await expect(attempt({})).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
    expect(await invoicesOf(world, account)).toHaveLength(1);
  });

  test('a change in between makes it STALE_PREVIEW, and so does a new price', async () => {
    const { account, id } = await subscribed(world, { planCode: 'premium' });
    const input = { subscriptionId: id, planCode: 'basic', timing: 'AUTO', proration: 'PER_DAY' } as const;
    const { token } = await quote(account, { changePlan: input });
    await publish(world, testCatalogYaml.replace('price: 30.00', 'price: 39.00'));
    await expect(changePlan(world.deps, account.actor, { ...input, previewToken: token })).rejects.toMatchObject({
      code: 'STALE_PREVIEW',
    });
    await publish(world, testCatalogYaml);
    const again = await quote(account, { changePlan: input });
    await changePlan(world.deps, account.actor, { ...input, planCode: 'yearly', timing: 'PERIOD_END' });
    await expect(changePlan(world.deps, account.actor, { ...input, previewToken: again.token })).rejects.toMatchObject({
      code: 'STALE_PREVIEW',
    });
  });

  test('the next invoice shows what the metrics will cost that the change brings', async () => {
    const least = { totalMinor: 3000n }; // 10.00 for Metered, and at least 20.00 for its peak
    const fresh = await world.account();
    expect((await quote(fresh, { subscribe: { planCode: 'metered' } })).nextInvoice).toMatchObject(least);
    const { account, id } = await subscribed(world, { planCode: 'free' });
    const upgrade = { subscriptionId: id, planCode: 'metered', timing: 'AUTO', proration: 'PER_DAY' } as const;
    expect((await quote(account, { changePlan: upgrade })).nextInvoice).toMatchObject(least);
    await changePlan(world.deps, account.actor, upgrade);
    await pauseSubscription(world.deps, account.actor, { subscriptionId: id });
    const resume = { subscriptionId: id };
    expect((await quote(account, { resumeSubscription: resume })).nextInvoice).toMatchObject(least);
  });

  test('of a coupon: the next invoice with it, which the token holds it to', async () => {
    const { account } = await subscribed(world);
    const couponCode = await couponOf(world, { percent: '25', duration: 'ONCE' });
    const quoted = await quote(account, { applyCoupon: { couponCode } });
    expect(quoted).toMatchObject({ dueNowMinor: 0n, creditMinor: 0n, invoice: null, lines: [] });
    expect(quoted.nextInvoice).toMatchObject({ subtotalMinor: 3000n, discountMinor: 750n, totalMinor: 2250n });
    const apply = (previewToken: string) =>
      applyCouponAsShown(world.deps, account.actor, { couponCode, previewToken, idempotencyKey: freshKey() });
    await expect(apply(`${quoted.token}x`)).rejects.toMatchObject({ code: 'INVALID' });
    await record(account, '120');
    await expect(apply(quoted.token)).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
    expect(await eventsOf(world, account, 'coupon.applied')).toEqual([]);
    const again = await quote(account, { applyCoupon: { couponCode } });
    expect(again.nextInvoice).toMatchObject({ totalMinor: 2325n });
    await apply(again.token);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect((await invoicesOf(world, account)).map(({ totalMinor }) => totalMinor)).toEqual([3000n, 2325n]);
  });

  test('of a coupon through GraphQL, without a subscription: it has no next invoice', async () => {
    const account = await world.account();
    const code = await couponOf(world, { percent: '25' });
    const input = `idempotencyKey: "c", couponCode: "${code}"`;
    const { data } = await world.gql(
      account.token,
      `{ preview(input: { applyCoupon: { ${input} } }) { token dueNow { amount } invoice { id } nextInvoice { id } } }`,
    );
    expect(data.preview).toMatchObject({ dueNow: { amount: '0.00' }, invoice: null, nextInvoice: null });
    const taken = await world.gql(
      account.token,
      `mutation { applyCoupon(input: { ${input}, previewToken: "${data.preview.token}" }) { appliedCoupon { code } userErrors { code } } }`,
    );
    expect(taken.data.applyCoupon).toEqual({ appliedCoupon: { code }, userErrors: [] });
  });

  test('through GraphQL: the token of the answer buys exactly the answer', async () => {
    const account = await world.account();
    await addCard(world, account);
    const { data } = await world.gql(
      account.token,
      `{ preview(input: { subscribe: { idempotencyKey: "p", planCode: "basic" } }) {
        token dueNow { minorUnits } credit { minorUnits } lines { description amount { minorUnits } } nextInvoice { total { minorUnits } } } }`,
    );
    expect(data.preview).toMatchObject({
      dueNow: { minorUnits: '3000' },
      credit: { minorUnits: '0' },
      lines: [{ description: 'Basic', amount: { minorUnits: '3000' } }],
      nextInvoice: { total: { minorUnits: '3000' } },
    });
    const bought = await world.gql(
      account.token,
      `mutation ($token: String) { subscribe(input: { idempotencyKey: "s", planCode: "basic", previewToken: $token }) {
        subscription { id } invoice { total { minorUnits } } userErrors { code } } }`,
      { token: data.preview.token },
    );
    expect(bought.data.subscribe).toMatchObject({ invoice: { total: { minorUnits: '3000' } }, userErrors: [] });
    const canceled = await world.gql(
      account.token,
      `mutation ($id: ID!) { cancelSubscription(input: { idempotencyKey: "c", subscriptionId: $id, timing: IMMEDIATE }) {
        subscription { status } userErrors { code } } }`,
      { id: bought.data.subscribe.subscription.id },
    );
    expect(canceled.data.cancelSubscription).toMatchObject({ subscription: { status: 'CANCELED' }, userErrors: [] });
    expect(publicId('account', account.id)).toBe(account.publicId);
  });
});
