import { billingContexts } from '../../src/invoice/billingContext.js';
import { Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { removeCoupon } from '../../src/invoice/removeCoupon.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { preview } from '../../src/subscription/preview.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  couponOf,
  eventsOf,
  freshKey,
  invoicesOf,
  runDue,
  settle,
  subscriptionOf,
  take,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { countStatements } from '../support/graphql.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  const yen = '  - { code: yen, name: Yen, price: 1000, currency: JPY, interval: month }\n';
  world = await startWorld({ catalog: testCatalogYaml + yen, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const start = (account: TestAccount, planCode = 'basic') =>
  subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode });

/** An account with a card, whatever coupons and taxes it is to have. */
async function customer(of: { coupons?: string[]; taxes?: string[]; currency?: string } = {}): Promise<TestAccount> {
  const account = await world.account(of.currency ? { currency: of.currency } : {});
  await addCard(world, account);
  for (const code of of.coupons ?? []) await take(world, account, code);
  if (of.taxes) await settle(world, account, { taxes: of.taxes });
  return account;
}

const months = async (count: number): Promise<void> => {
  for (let month = 5; month < 5 + count; month++) {
    world.clock.set(`2024-0${month}-01T00:01:00Z`);
    await runDue(world);
  }
};

const columnOf = async (account: TestAccount, column: 'discountMinor' | 'totalMinor' | 'taxMinor') =>
  (await invoicesOf(world, account)).map((invoice) => invoice[column]);

describe('a coupon', () => {
  test('ONCE discounts one period, REPEATING some, FOREVER all', async () => {
    const once = await customer({ coupons: [await couponOf(world, { percent: '50', duration: 'ONCE' })] });
    const twice = await customer({
      coupons: [await couponOf(world, { amountMinor: 500n, duration: 'REPEATING', durationPeriods: 2 })],
    });
    const always = await customer({ coupons: [await couponOf(world, { percent: '10' })] });
    for (const account of [once, twice, always]) await start(account);
    await months(2);
    expect(await columnOf(once, 'discountMinor')).toEqual([1500n, 0n, 0n]);
    expect(await columnOf(twice, 'discountMinor')).toEqual([500n, 500n, 0n]);
    expect(await columnOf(always, 'discountMinor')).toEqual([300n, 300n, 300n]);
    const { data } = await world.gql(
      always.token,
      '{ viewer { coupons { code percentOff amountOff { amount } periodsLeft endedAt } } }',
    );
    expect(data.viewer.coupons).toMatchObject([{ percentOff: '10', amountOff: null, periodsLeft: null }]);
    expect((await world.gql(once.token, '{ viewer { coupons { code } } }')).data.viewer.coupons).toEqual([]);
    for (const account of [once, twice, always]) await expectSoundLedger(world, account.id);
  });

  test('limited to a metric takes nothing off the fee, and is not used up while there is nothing it could discount', async () => {
    const code = await couponOf(world, { percent: '20', metricCodes: ['minutes'], duration: 'ONCE' });
    const account = await customer({ coupons: [code] });
    await start(account);
    await recordUsage(world.deps, account.actor, [{ transactionId: freshKey(), metric: 'minutes', value: '200' }]);
    await months(2);
    expect(await columnOf(account, 'discountMinor')).toEqual([0n, 100n, 0n]);
    const [, second] = await invoicesOf(world, account);
    const lines = await world.deps.db.orm.em
      .fork()
      .find(InvoiceLine, { accountId: account.id, invoiceId: second!.id }, { orderBy: { position: 'asc' } });
    expect(lines.map((line) => [line.kind, line.amountMinor, line.discountMinor])).toEqual([
      ['usage', 500n, 100n],
      ['fee', 3000n, 0n],
    ]);
  });

  test('limited to a plan discounts that plan only, and a change of plan uses nothing up', async () => {
    const account = await customer({
      coupons: [await couponOf(world, { percent: '50', planCodes: ['premium'], duration: 'ONCE' })],
    });
    const { subscriptionId } = await start(account);
    world.clock.set('2024-04-16T00:00:00Z');
    const id = publicId('subscription', subscriptionId);
    await changePlan(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      subscriptionId: id,
      planCode: 'premium',
      timing: 'AUTO',
      proration: 'PER_DAY',
    });
    await months(2);
    // −15.00 for basic is no matter of the coupon; 30.00 for premium is halved, and so is the first renewal on it.
    expect(await columnOf(account, 'discountMinor')).toEqual([0n, 1500n, 3000n, 0n]);
    expect(await columnOf(account, 'totalMinor')).toEqual([3000n, 0n, 3000n, 6000n]);
    await expectSoundLedger(world, account.id);
  });

  test('removed while an unpaid first invoice holds one of its periods: the next try is quoted and charged without', async () => {
    const account = await customer();
    await addCard(world, account, 'tok_chargeDeclined');
    const terms = { percent: '50', duration: 'REPEATING', durationPeriods: 3 } as const;
    const appliedCouponId = publicId('appliedCoupon', await take(world, account, await couponOf(world, terms)));
    await start(account);
    await removeCoupon(world.deps, account.actor, { appliedCouponId });
    await addCard(world, account);
    const { dueNowMinor, token } = await preview(world.deps, account.actor, { subscribe: { planCode: 'basic' } });
    expect(dueNowMinor).toBe(3000n);
    const { error } = await subscribe(world.deps, account.actor, { planCode: 'basic', previewToken: token });
    expect(error).toBeUndefined();
    expect((await world.deps.payments.moved({ accountId: account.id })).amountMinor).toBe(3000n);
  });

  test('what a cancellation credits is the unused share of what was paid, discounts off', async () => {
    const account = await customer({ coupons: [await couponOf(world, { percent: '90' })] });
    const { subscriptionId } = await start(account);
    await cancelSubscription(world.deps, account.actor, {
      idempotencyKey: freshKey(),
      subscriptionId: publicId('subscription', subscriptionId),
      timing: 'IMMEDIATE',
    });
    // 3.00 was paid for 30 days; the day it ends counts as used: 3.00 × 29 / 30.
    expect(await balanceOf(world, account.id, 'wallet')).toBe(290n);
    await expectSoundLedger(world, account.id);
  });

  test('of a first invoice that is never paid is there again, and discounts the next try', async () => {
    const account = await world.account();
    await addCard(world, account, 'tok_chargeCustomerFail');
    const code = await couponOf(world, { percent: '50', duration: 'ONCE' });
    await take(world, account, code);
    await start(account);
    const left = '{ viewer { coupons { periodsLeft } } }';
    expect((await world.gql(account.token, left)).data.viewer.coupons).toEqual([]);
    await addCard(world, account, 'tok_visa');
    const preview = await world.gql(
      account.token,
      `{ preview(input: { subscribe: { idempotencyKey: "p", planCode: "basic" } }) { dueNow { amount } } }`,
    );
    expect(preview.data.preview.dueNow.amount).toBe('15.00');
    await start(account);
    const invoices = await invoicesOf(world, account);
    expect(invoices.map((i) => [i.status, i.totalMinor])).toEqual([
      ['VOID', 1500n],
      ['PAID', 1500n],
    ]);
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    expect(await columnOf(account, 'totalMinor')).toEqual([1500n, 1500n, 3000n]);
    await expectSoundLedger(world, account.id);
  });

  test('can be taken once, in the account’s currency, while it is offered; removed it discounts no more', async () => {
    const account = await customer();
    const answer = '{ appliedCoupon { id code periodsLeft endedAt } userErrors { code field } }';
    const apply = async (couponCode: string) => {
      const mutation = `mutation($couponCode: String!) { applyCoupon(input: { idempotencyKey: "${freshKey()}", couponCode: $couponCode }) ${answer} }`;
      return (await world.gql(account.token, mutation, { couponCode })).data.applyCoupon;
    };
    const remove = async (id: string) => {
      const mutation = `mutation($id: ID!) { removeCoupon(input: { idempotencyKey: "${freshKey()}", appliedCouponId: $id }) ${answer} }`;
      return (await world.gql(account.token, mutation, { id })).data.removeCoupon;
    };
    const code = await couponOf(world, { percent: '50', duration: 'REPEATING', durationPeriods: 3 });
    const taken = await apply(code);
    expect(taken).toMatchObject({ appliedCoupon: { code, periodsLeft: 3, endedAt: null }, userErrors: [] });
    const refused = async (couponCode: string) => (await apply(couponCode)).userErrors;
    expect(await refused(code)).toEqual([{ code: 'CONFLICT', field: ['couponCode'] }]);
    expect(await refused('nonsense')).toMatchObject([{ code: 'NOT_FOUND' }]);
    expect(await refused(await couponOf(world, { amountMinor: 100n, currency: 'EUR' }))).toMatchObject([
      { code: 'INVALID' },
    ]);
    const past = new Date('2024-03-01T00:00:00Z');
    expect(await refused(await couponOf(world, { percent: '1', redeemBy: past }))).toMatchObject([
      { code: 'ILLEGAL_STATE' },
    ]);
    expect(await refused(await couponOf(world, { percent: '1', archivedAt: past }))).toMatchObject([
      { code: 'ILLEGAL_STATE' },
    ]);
    const { id } = taken.appliedCoupon;
    const removed = await remove(id);
    expect([removed.userErrors, removed.appliedCoupon.endedAt === null]).toEqual([[], false]);
    expect((await remove(id)).userErrors).toMatchObject([{ code: 'ILLEGAL_STATE' }]);
    expect(await refused(code)).toMatchObject([{ code: 'CONFLICT' }]);
    await start(account);
    expect(await columnOf(account, 'discountMinor')).toEqual([0n]);
    await expect(take(world, account, code)).resolves.toBeTruthy(); // an operator may give it again
    expect((await eventsOf(world, account, 'coupon.applied', 'coupon.removed')).map((e) => e.type)).toEqual([
      'coupon.applied',
      'coupon.removed',
      'coupon.applied',
    ]);
  });

  test('of another account is unknown', async () => {
    const [one, other] = [await customer(), await customer()];
    const appliedCouponId = publicId('appliedCoupon', await take(world, one, await couponOf(world, { percent: '5' })));
    await expect(removeCoupon(world.deps, other.actor, { appliedCouponId })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('tax', () => {
  test('on top and contained, after the coupon, is booked as tax and shown by rate', async () => {
    const account = await customer({
      coupons: [await couponOf(world, { name: 'Half off', percent: '50' })],
      taxes: ['VAT 20 inclusive', 'Levy 10'],
    });
    await start(account);
    const [invoice] = await invoicesOf(world, account);
    // 15.00 contain 2.50 VAT; the levy is on the net of 12.50.
    expect(invoice).toMatchObject({ subtotalMinor: 3000n, discountMinor: 1500n, taxMinor: 375n, totalMinor: 1625n });
    expect(await balanceOf(world, account.id, 'tax')).toBe(375n);
    expect(await balanceOf(world, account.id, 'revenue')).toBe(1250n);
    const { data } = await world.gql(
      account.token,
      `{ invoices { nodes { taxExempt finalizesAt creditNoted { amount } discounts { code name amount { amount } }
        taxes { name percent inclusive taxable { amount } amount { amount } } lines { kind discount { amount } } } } }`,
    );
    expect(data.invoices.nodes).toEqual([
      {
        taxExempt: false,
        finalizesAt: null,
        creditNoted: { amount: '0.00' },
        discounts: [{ code: expect.any(String), name: 'Half off', amount: { amount: '15.00' } }],
        taxes: [
          { name: 'VAT', percent: '20', inclusive: true, taxable: { amount: '12.50' }, amount: { amount: '2.50' } },
          { name: 'Levy', percent: '10', inclusive: false, taxable: { amount: '12.50' }, amount: { amount: '1.25' } },
        ],
        lines: [{ kind: 'FEE', discount: { amount: '15.00' } }],
      },
    ]);
    const { body } = await world.rest(account.token, 'GET', '/invoices');
    expect(body.invoices[0]).toMatchObject({
      discount: 15,
      tax: 3.75,
      total: 16.25,
      discounts: [{ name: 'Half off', amount: 15 }],
      taxes: [{ name: 'VAT', percent: 20, inclusive: true, taxable: 12.5, amount: 2.5 }, { name: 'Levy' }],
      lines: [{ kind: 'fee', discount: 15 }],
    });
    await expectSoundLedger(world, account.id);
  });

  test('comes back with what is credited', async () => {
    const account = await customer({ taxes: ['VAT 19'] });
    const { subscriptionId } = await start(account);
    expect(await balanceOf(world, account.id, 'tax')).toBe(570n);
    const input = {
      idempotencyKey: freshKey(),
      subscriptionId: publicId('subscription', subscriptionId),
      timing: 'IMMEDIATE' as const,
    };
    const preview = await world.gql(
      account.token,
      `query($id: ID!) { preview(input: { cancelSubscription: { idempotencyKey: "p", subscriptionId: $id, timing: IMMEDIATE } }) {
        credit { amount } invoice { subtotal { amount } tax { amount } total { amount } } } }`,
      { id: input.subscriptionId },
    );
    expect(preview.data.preview).toEqual({
      credit: { amount: '34.51' },
      invoice: { subtotal: { amount: '-29.00' }, tax: { amount: '-5.51' }, total: { amount: '0.00' } },
    });
    await cancelSubscription(world.deps, account.actor, input);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(3451n);
    expect(await balanceOf(world, account.id, 'tax')).toBe(19n);
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-2900n);
    await expectSoundLedger(world, account.id);
  });

  test('is not charged on an exempt account, whose prices stay', async () => {
    const account = await customer({ taxes: ['VAT 19', 'GST 5 inclusive'] });
    await settle(world, account, { taxExempt: true });
    await start(account);
    expect((await invoicesOf(world, account))[0]).toMatchObject({ totalMinor: 3000n, taxMinor: 0n, taxExempt: true });
  });

  test('in a currency without minor units is rounded to whole ones', async () => {
    const account = await customer({ currency: 'JPY', taxes: ['CT 10', 'X 0.25'] });
    await take(world, account, await couponOf(world, { percent: '33.3' }));
    await start(account, 'yen');
    expect((await invoicesOf(world, account))[0]).toMatchObject({
      subtotalMinor: 1000n,
      discountMinor: 333n,
      taxMinor: 69n, // 66.7 → 67 and 1.6675 → 2
      totalMinor: 736n,
    });
    await expectSoundLedger(world, account.id);
  });
});

describe('a preview', () => {
  test('shows coupons, taxes and wallet of this invoice and of the next, and charges exactly that', async () => {
    const account = await customer({
      coupons: [await couponOf(world, { name: 'First', percent: '50', duration: 'ONCE' })],
      taxes: ['VAT 20'],
    });
    await topUp(world.deps, account.actor, { amount: usd('5.00') });
    const { data } = await world.gql(
      account.token,
      `{ preview(input: { subscribe: { idempotencyKey: "s", planCode: "basic" } }) { token dueNow { amount }
        invoice { discounts { name amount { amount } } tax { amount } total { amount } walletApplied { amount } lines { discount { amount } } }
        nextInvoice { discounts { name } tax { amount } total { amount } } } }`,
    );
    expect(data.preview).toMatchObject({
      dueNow: { amount: '13.00' },
      invoice: {
        discounts: [{ name: 'First', amount: { amount: '15.00' } }],
        tax: { amount: '3.00' },
        total: { amount: '18.00' },
        walletApplied: { amount: '5.00' },
        lines: [{ discount: { amount: '15.00' } }],
      },
      nextInvoice: { discounts: [], tax: { amount: '6.00' }, total: { amount: '36.00' } },
    });
    await subscribe(world.deps, account.actor, {
      idempotencyKey: 's',
      planCode: 'basic',
      previewToken: data.preview.token,
    });
    await months(1);
    expect(await columnOf(account, 'totalMinor')).toEqual([1800n, 3600n]);
    expect((await invoicesOf(world, account))[0]).toMatchObject({ walletAppliedMinor: 500n, amountPaidMinor: 1300n });
    await expectSoundLedger(world, account.id);
  });

  test('is stale when a coupon has changed the price meanwhile', async () => {
    const account = await customer();
    const { data } = await world.gql(
      account.token,
      `{ preview(input: { subscribe: { idempotencyKey: "s", planCode: "basic" } }) { token } }`,
    );
    await take(world, account, await couponOf(world, { percent: '50' }));
    const input = { idempotencyKey: 's', planCode: 'basic', previewToken: data.preview.token };
    await expect(subscribe(world.deps, account.actor, input)).rejects.toMatchObject({ code: 'STALE_PREVIEW' });
  });
});

test('lines, totals and number of a final invoice never change, whatever becomes of it and its account', async () => {
  const account = await world.account();
  const appliedCouponId = publicId(
    'appliedCoupon',
    await take(world, account, await couponOf(world, { percent: '10' })),
  );
  await settle(world, account, { taxes: ['VAT 20'] });
  await addCard(world, account);
  const { subscriptionId } = await start(account);
  await addCard(world, account, 'tok_chargeCustomerFail');
  await months(1);
  const fixed = () =>
    world.rows(
      sql`select i.id, number, reason, customer_name, time_zone, currency, period_start, period_end, issued_at, due_at, subtotal_minor,
            discount_minor, tax_minor, total_minor, discounts, taxes, tax_exempt, (select json_agg(l order by position) from invoice_line l
              where l.account_id = i.account_id and l.invoice_id = i.id) as lines
          from invoice i where account_id = ${account.id} order by number`,
    );
  const before = await fixed();
  expect(before).toHaveLength(2);
  await world.rows(sql`update account set name = 'Renamed', time_zone = 'Asia/Tokyo' where id = ${account.id}`);
  await settle(world, account, { taxes: ['Other 7'], taxExempt: true });
  await removeCoupon(world.deps, account.actor, { appliedCouponId });
  await topUp(world.deps, account.actor, { amount: usd('1.00') });
  await addCard(world, account, 'tok_mastercard');
  await runDue(world);
  await months(2);
  await cancelSubscription(world.deps, account.actor, {
    subscriptionId: publicId('subscription', subscriptionId),
    timing: 'IMMEDIATE',
  });
  expect((await fixed()).slice(0, 2)).toEqual(before);
  expect((await subscriptionOf(world, account)).status).toBe('CANCELED');
  await expectSoundLedger(world, account.id);
});

test('what invoices depend on is read for many accounts in as many statements as for one', async () => {
  const accounts = await Promise.all(Array.from({ length: 4 }, () => customer({ taxes: ['VAT 19'] })));
  const code = await couponOf(world, { percent: '5' });
  for (const account of accounts) await take(world, account, code);
  const em = world.deps.db.orm.em.fork();
  const ids = accounts.map(({ id }) => id);
  await world.settled();
  const one = await countStatements(world, () => billingContexts(em, ids.slice(0, 1)));
  expect(await countStatements(world, () => billingContexts(em, ids))).toBeLessThanOrEqual(one);
  const contexts = await billingContexts(em, ids);
  expect([...contexts.keys()].sort()).toEqual([...ids].sort());
  for (const context of contexts.values())
    expect(context).toMatchObject({ coupons: [{ code }], taxRates: [{ name: 'VAT' }] });
  expect(await em.count(Invoice, { accountId: { $in: ids } })).toBe(0);
});
