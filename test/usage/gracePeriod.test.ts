import { Invoice } from '../../src/invoice/invoice.entity.js';
import { redraft } from '../../src/invoice/redraft.js';
import { transact } from '../../src/platform/db.js';
import { publicId } from '../../src/platform/ids.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { finalizeDraft } from '../../src/usage/finalizeDrafts.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  couponOf,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  linesOf,
  operatorOf,
  runDue,
  settle,
  take,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  const daily =
    '  - { code: daily, name: Daily, price: 1.00, currency: USD, interval: day, features: { minutes: { limit: 0, overage: charge, unit_price: 0.05 } } }\n';
  world = await startWorld({ catalog: testCatalogYaml + daily, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

async function patient({ hours = 24, planCode = 'basic' } = {}): Promise<TestAccount & { subscriptionId: string }> {
  const account = await world.account();
  await addCard(world, account);
  await settle(world, account, { gracePeriodHours: hours });
  const { subscriptionId } = await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode });
  return { ...account, subscriptionId: publicId('subscription', subscriptionId) };
}

const record = (account: TestAccount, value: string, timestamp: string) =>
  recordUsage(world.deps, account.actor, [
    { transactionId: freshKey(), metric: 'minutes', value, timestamp: new Date(timestamp) },
  ]);

const at = async (time: string): Promise<void> => {
  world.clock.set(time);
  await runDue(world);
};

test('a renewal waits as DRAFT for late usage, and is finalised at its time with what came', async () => {
  const account = await patient();
  await record(account, '130', '2024-04-01T00:03:00Z');
  await at('2024-05-01T00:01:00Z');
  const drafted = (await invoicesOf(world, account)).find((invoice) => invoice.status === 'DRAFT')!;
  expect(drafted).toMatchObject({
    number: null,
    issuedAt: null,
    totalMinor: 3150n,
    amountDueMinor: 3150n,
    finalizeAt: new Date(drafted.periodStart!.getTime() + dayMs),
  });
  expect(await eventsOf(world, account, 'invoice.created')).toHaveLength(1);
  const { data } = await world.gql(account.token, '{ invoices(status: [DRAFT]) { nodes { number finalizesAt } } }');
  expect(data.invoices.nodes).toEqual([{ number: null, finalizesAt: drafted.finalizeAt!.toISOString() }]);

  const { results } = await record(account, '20', '2024-04-30T23:00:00Z'); // late, and still counts where it belongs
  expect(results[0]!.status).toBe('ACCEPTED');
  await record(account, '101', '2024-05-01T00:00:30Z'); // of the new period
  expect(await world.gql(account.token, '{ wallet { available { amount } } }')).toMatchObject({
    data: { wallet: { available: { amount: '-2.55' } } },
  });
  await at('2024-05-01T23:59:00Z');
  expect((await invoicesOf(world, account)).filter((invoice) => invoice.status === 'DRAFT')).toHaveLength(1);

  await at('2024-05-02T00:05:00Z');
  const final = (await invoicesOf(world, account))[1]!;
  expect(final).toMatchObject({
    id: drafted.id,
    number: expect.stringMatching(/-000002$/),
    status: 'PAID',
    totalMinor: 3250n,
    amountPaidMinor: 3250n,
    issuedAt: drafted.finalizeAt,
    finalizeAt: null,
  });
  expect(await linesOf(world, final)).toEqual(['Minutes over the limit of 100 250', 'Basic 3000']);
  expect((await eventsOf(world, account, 'invoice.finalized')).length).toBe(2);

  await record(account, '7', '2024-04-30T23:59:00Z').then(({ results: [late] }) =>
    expect(late!.status).toBe('REJECTED'),
  );
  await at('2024-06-02T00:05:00Z');
  expect(await linesOf(world, (await invoicesOf(world, account))[2]!)).toEqual([
    'Minutes over the limit of 100 5',
    'Basic 3000',
  ]);
  await expectSoundLedger(world, account.id);
});

test('tax and wallet of a DRAFT are taken when it is finalised, not before; its period of a coupon as soon as there is one', async () => {
  const account = await patient();
  await at('2024-05-01T00:01:00Z');
  const draft = async () =>
    await world.deps.db.orm.em.fork().findOneOrFail(Invoice, { accountId: account.id, reason: 'subscription_cycle' });
  await topUp(world.deps, account.actor, { amount: usd('4.00') });
  await take(world, account, await couponOf(world, { percent: '50', duration: 'ONCE' }));
  await settle(world, account, { taxes: ['VAT 20'] });
  expect(await draft()).toMatchObject({ status: 'DRAFT', totalMinor: 1500n, taxMinor: 0n, walletAppliedMinor: 0n });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(400n);
  await at('2024-05-02T00:05:00Z');
  expect(await draft()).toMatchObject({
    status: 'PAID',
    discountMinor: 1500n,
    taxMinor: 300n,
    totalMinor: 1800n,
    walletAppliedMinor: 400n,
    amountPaidMinor: 1400n,
  });
  expect((await world.gql(account.token, '{ viewer { coupons { code } } }')).data.viewer.coupons).toEqual([]);
  await expectSoundLedger(world, account.id);
});

test('an operator ends the grace early; a customer can not, and a final invoice not again', async () => {
  const account = await patient();
  await at('2024-05-01T00:01:00Z');
  const [draft] = (await invoicesOf(world, account)).filter((invoice) => invoice.status === 'DRAFT');
  const invoiceId = publicId('invoice', draft!.id);
  const mutation = `mutation($id: ID!) { finalizeInvoice(input: { idempotencyKey: "${freshKey()}", invoiceId: $id }) {
    invoice { status number issuedAt } replayed userErrors { code } } }`;
  const { errors } = await world.gql(account.token, mutation, { id: invoiceId });
  expect(errors?.[0].extensions.code).toBe('FORBIDDEN');
  const ask = await operatorOf(world, account);
  const { finalizeInvoice } = await ask(mutation, { id: invoiceId });
  expect(finalizeInvoice).toMatchObject({ invoice: { status: 'PAID', number: expect.any(String) }, userErrors: [] });
  expect(finalizeInvoice.invoice.issuedAt.slice(0, 16)).toBe('2024-05-01T00:01');
  expect((await ask(mutation, { id: invoiceId })).finalizeInvoice.replayed).toBe(true);
  const again = mutation.replace(/"key-\d+"/, '"again"');
  expect((await ask(again, { id: invoiceId })).finalizeInvoice.userErrors).toEqual([{ code: 'ILLEGAL_STATE' }]);
  // Its window has spoken: what comes late counts in the next one, as without a grace period.
  const { results } = await record(account, '5', '2024-04-30T23:59:00Z');
  expect(results[0]!.status).toBe('ACCEPTED');
  await at('2024-05-02T00:05:00Z');
  expect(await invoicesOf(world, account)).toHaveLength(2);
  await expectSoundLedger(world, account.id);
});

test('numbers are given when invoices become final, without gaps, in whatever order that is', async () => {
  const account = await patient({ hours: 72, planCode: 'daily' });
  const ask = await operatorOf(world, account);
  for (const day of ['02', '03', '04']) await at(`2024-04-${day}T00:01:00Z`);
  const drafts = await world.deps.db.orm.em
    .fork()
    .find(Invoice, { accountId: account.id, status: 'DRAFT' }, { orderBy: { id: 'asc' } });
  expect(drafts).toHaveLength(3);
  await record(account, '10', '2024-04-03T12:00:00Z'); // late, in the grace period of its own draft
  const finalize = (id: string) =>
    ask(
      `mutation { finalizeInvoice(input: { idempotencyKey: "${freshKey()}", invoiceId: "${publicId('invoice', id)}" }) { invoice { number } } }`,
    );
  await finalize(drafts[2]!.id);
  await ask(
    `mutation { createInvoice(input: { idempotencyKey: "${freshKey()}", items: [{ description: "Work", amount: { amount: "5", currency: "USD" } }] }) { replayed } }`,
  );
  await at('2024-04-06T00:05:00Z');
  const final = (await invoicesOf(world, account)).filter((invoice) => invoice.number);
  expect(final.map((invoice) => [invoice.number!.slice(-6), invoice.reason, invoice.totalMinor])).toEqual([
    ['000001', 'subscription_create', 100n],
    ['000002', 'subscription_cycle', 150n],
    ['000003', 'one_off', 500n],
    ['000004', 'subscription_cycle', 100n],
    ['000005', 'subscription_cycle', 100n],
  ]);
  expect(final[3]!.id).toBe(drafts[0]!.id);
  await expectSoundLedger(world, account.id);
});

test('what a change of plan leaves unused of the fee on a DRAFT comes off that DRAFT, as nobody has paid it', async () => {
  const account = await patient();
  await at('2024-05-01T00:01:00Z');
  await changePlan(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    subscriptionId: account.subscriptionId,
    planCode: 'premium',
    timing: 'AUTO',
    proration: 'PER_DAY',
  });
  await at('2024-05-02T00:05:00Z');
  expect((await invoicesOf(world, account)).map((invoice) => [invoice.reason, invoice.totalMinor])).toEqual([
    ['subscription_create', 3000n],
    ['subscription_change', 6000n],
    ['subscription_cycle', 0n],
  ]);
  await expectSoundLedger(world, account.id);
});

test('usage lines of a DRAFT are replaced, those of a final invoice are not', async () => {
  const account = await patient();
  await record(account, '130', '2024-04-01T00:03:00Z');
  await at('2024-05-01T00:01:00Z');
  const { id } = (await invoicesOf(world, account)).find((invoice) => invoice.status === 'DRAFT')!;
  await transact(world.deps, account.id, (tx) => redraft(tx, id, []));
  const draft = await world.deps.db.orm.em.fork().findOneOrFail(Invoice, { accountId: account.id, id });
  expect([draft.totalMinor, await linesOf(world, draft)]).toEqual([3000n, ['Basic 3000']]);
  await transact(world.deps, account.id, (tx) => finalizeDraft(tx, id));
  expect(await linesOf(world, draft)).toEqual(['Minutes over the limit of 100 150', 'Basic 3000']);
  await expect(transact(world.deps, account.id, (tx) => redraft(tx, id, []))).rejects.toThrow('is final');
});

test('two schedulers at once finalise once', async () => {
  const account = await patient();
  await at('2024-05-01T00:01:00Z');
  const { id } = (await invoicesOf(world, account)).find((invoice) => invoice.status === 'DRAFT')!;
  world.clock.set('2024-05-02T00:01:00Z');
  await Promise.all(
    Array.from({ length: 5 }, () => transact(world.deps, account.id, (tx) => finalizeDraft(tx, id, { onlyDue: true }))),
  );
  expect((await invoicesOf(world, account)).map((invoice) => invoice.number?.slice(-1))).toEqual(['1', '2']);
  expect(await eventsOf(world, account, 'invoice.finalized')).toHaveLength(2);
});
