import { liveCoupons } from '../../src/invoice/appliedCoupons.js';
import { Invoice } from '../../src/invoice/invoice.entity.js';
import { transact } from '../../src/platform/db.js';
import { applyCouponAsShown } from '../../src/subscription/applyCouponAsShown.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { preview } from '../../src/subscription/preview.js';
import { finalizeDraft } from '../../src/usage/finalizeDrafts.js';
import { addCard, couponOf, freshKey, runDue, settle, subscribed, take, testCatalogYaml } from '../support/billing.js';
import { expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

/** Subscribed in an account whose renewal of 1 May waits for two days. */
async function patient() {
  const { account, id } = await subscribed(world);
  await settle(world, account, { gracePeriodHours: 48 });
  return { account, id };
}
const renew = async () => {
  world.clock.set('2024-05-01T12:00:00Z');
  await runDue(world);
};
const once = () => couponOf(world, { percent: '50', duration: 'ONCE' });
const renewalOf = ({ id }: TestAccount, n = 0) =>
  world.deps.db.orm.em
    .fork()
    .find(Invoice, { accountId: id, reason: 'subscription_cycle' }, { orderBy: { id: 'asc' } })
    .then((invoices) => invoices[n]!);
const upgrade = (id: string) =>
  ({ subscriptionId: id, planCode: 'premium', timing: 'AUTO', proration: 'PER_DAY' }) as const;

test('a coupon for one period that a draft has taken discounts no change beside it, nor the preview of one', async () => {
  const { account, id } = await patient();
  await take(world, account, await once());
  await renew();
  expect(await renewalOf(account)).toMatchObject({ status: 'DRAFT', discountMinor: 1500n });
  const quoted = await preview(world.deps, account.actor, { changePlan: upgrade(id) });
  expect(quoted.invoice).toMatchObject({ discountMinor: 0n });
  expect(quoted.nextInvoice).toMatchObject({ discountMinor: 0n, totalMinor: 6000n });
  await changePlan(world.deps, account.actor, { ...upgrade(id), previewToken: quoted.token });
  const changes = await world.deps.db.orm.em
    .fork()
    .find(Invoice, { accountId: account.id, reason: 'subscription_change' });
  expect(changes).toMatchObject([{ status: 'PAID', discountMinor: 0n }]);

  world.clock.set('2024-06-03T12:00:00Z');
  await runDue(world);
  // The change took the draft's fee back, and the coupon's period went with it: as if it had been paid and then credited.
  expect(await renewalOf(account)).toMatchObject({ status: 'PAID', totalMinor: 0n, discountMinor: 0n });
  expect(await renewalOf(account, 1)).toMatchObject({ status: 'PAID', discountMinor: 0n });
  await expectSoundLedger(world, account.id);
});

test('while a draft has its last period a coupon is still there to be removed, and ends with the draft', async () => {
  const { account } = await patient();
  await take(world, account, await once());
  const live = async () =>
    (await liveCoupons(world.deps.db.orm.em.fork(), account.id)).map(({ applied }) => applied.periodsLeft);
  expect(await live()).toEqual([1]);
  await renew();
  expect(await live()).toEqual([0]);
  world.clock.set('2024-05-03T12:00:00Z');
  await runDue(world);
  expect(await live()).toEqual([]);
});

test('the preview of a coupon shows what a draft that waits leaves of it, and its token holds', async () => {
  const { account, id } = await patient();
  await renew();
  const couponCode = await once();
  const shown = await preview(world.deps, account.actor, { applyCoupon: { couponCode } });
  expect(shown.nextInvoice).toMatchObject({ discountMinor: 0n });
  await applyCouponAsShown(world.deps, account.actor, { couponCode, previewToken: shown.token });
  expect(await renewalOf(account)).toMatchObject({ status: 'DRAFT', discountMinor: 1500n });
  const change = await preview(world.deps, account.actor, { changePlan: { ...upgrade(id), timing: 'PERIOD_END' } });
  expect(change.nextInvoice).toMatchObject({ discountMinor: 0n });

  const forTwo = await couponOf(world, { percent: '10', duration: 'REPEATING', durationPeriods: 2 });
  const two = await preview(world.deps, account.actor, { applyCoupon: { couponCode: forTwo } });
  expect(two.nextInvoice).toMatchObject({ discountMinor: 300n });
  await applyCouponAsShown(world.deps, account.actor, { couponCode: forTwo, previewToken: two.token });
  expect(await renewalOf(account)).toMatchObject({ discountMinor: 1650n });
});

test('a declined change beside a draft takes no period and gives none back', async () => {
  const { account, id } = await patient();
  await take(world, account, await couponOf(world, { percent: '50', duration: 'REPEATING', durationPeriods: 2 }));
  await renew();
  await addCard(world, account, 'tok_chargeDeclined');
  const declined = await changePlan(world.deps, account.actor, { ...upgrade(id), idempotencyKey: freshKey() });
  expect(declined.error?.code).toBe('PAYMENT_DECLINED');
  const [coupon] = await liveCoupons(world.deps.db.orm.em.fork(), account.id);
  expect(coupon!.applied.periodsLeft).toBe(1); // a change took none, and gave none back
});

test('coupons taken while a draft is made final: each discounts one renewal and no more', async () => {
  for (let n = 0; n < 3; n++) {
    world.clock.set('2024-04-01T00:00:00Z');
    const { account } = await patient();
    await renew();
    const { id } = await renewalOf(account);
    const code = await once();
    const ended = await Promise.allSettled([
      take(world, account, code),
      transact(world.deps, account.id, (tx) => finalizeDraft(tx, id)),
      take(world, account, await couponOf(world, { percent: '10', duration: 'ONCE' })),
    ]);
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled']);
    for (const time of ['2024-05-03T00:00:00Z', '2024-05-05T00:00:00Z', '2024-07-04T00:00:00Z']) {
      world.clock.set(time); // nobody sent the payment of the one that was made final: the sweep does
      await runDue(world);
    }
    const discounted = await world.deps.db.orm.em
      .fork()
      .find(Invoice, { accountId: account.id, reason: 'subscription_cycle', discountMinor: { $gt: 0n } });
    const codes = discounted.flatMap(({ discounts }) => discounts.map((discount) => discount.code));
    expect(codes.filter((one) => one === code)).toHaveLength(1);
    expect(codes).toHaveLength(2);
    await expectSoundLedger(world, account.id);
  }
});
