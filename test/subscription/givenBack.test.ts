import { publicId } from '../../src/platform/ids.js';
import { cancelSubscription } from '../../src/subscription/cancelSubscription.js';
import { changePlan } from '../../src/subscription/changePlan.js';
import { pauseSubscription } from '../../src/subscription/pauseSubscription.js';
import { preview } from '../../src/subscription/preview.js';
import {
  addCard,
  allAtOnce,
  couponOf,
  freshKey,
  invoicesOf,
  linesOf,
  paymentsOf,
  runDue,
  settle,
  subscribed,
  subscriptionOf,
  take,
  testCatalogYaml,
} from '../support/billing.js';
import { credit, creditNotesOf } from '../support/creditNotes.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const at = async (time: string): Promise<void> => {
  world.clock.set(time);
  await runDue(world);
};
const toPremium = (account: TestAccount, subscriptionId: string) =>
  changePlan(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    subscriptionId,
    planCode: 'premium',
    timing: 'IMMEDIATE',
    proration: 'PER_DAY',
  });

describe('while the renewal waits as a DRAFT', () => {
  /** May's 30.00 wait until 2 May. */
  async function waiting() {
    const { account, id } = await subscribed(world);
    await settle(world, account, { gracePeriodHours: 24 });
    return { account, id };
  }
  const draftOf = async (account: TestAccount) => (await invoicesOf(world, account)).find((i) => !i.issuedAt)!;

  test.each([
    'cancelSubscription',
    'pauseSubscription',
  ] as const)('a preview of %s shows the draft as it leaves it', async (operation) => {
    const { account, id: subscriptionId } = await waiting();
    await at('2024-05-01T12:00:00Z');
    const input = { subscriptionId, timing: 'IMMEDIATE' } as const;
    const shown = await preview(world.deps, account.actor, { [operation]: input } as never);
    expect(shown).toMatchObject({
      dueNowMinor: 0n,
      creditMinor: 0n,
      lines: [],
      invoice: { draftLines: [], totalMinor: 0n },
    });
    expect(shown.unpaidInvoice).toMatchObject({ status: 'DRAFT', totalMinor: 97n, amountDueMinor: 97n });
    const work = operation === 'cancelSubscription' ? cancelSubscription : pauseSubscription;
    await work(world.deps, account.actor, { ...input, idempotencyKey: freshKey(), previewToken: shown.token });
    const draft = await draftOf(account);
    expect(draft).toMatchObject({ id: shown.unpaidInvoice!.id, totalMinor: 97n });
    expect(await linesOf(world, draft)).toEqual(['Basic 3000', 'Unused time on Basic -2903']);
    await at('2024-05-02T00:01:00Z');
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'PAID', totalMinor: 97n });
    expect(await balanceOf(world, account.id, 'wallet')).toBe(0n);
    await expectSoundLedger(world, account.id);
  });

  test('a coupon between preview and cancelling makes it STALE_PREVIEW', async () => {
    const { account, id: subscriptionId } = await waiting();
    await at('2024-05-01T12:00:00Z');
    const input = { subscriptionId, timing: 'IMMEDIATE' } as const;
    const { token: previewToken } = await preview(world.deps, account.actor, { cancelSubscription: input });
    await take(world, account, await couponOf(world, { percent: '50' }));
    await expect(cancelSubscription(world.deps, account.actor, { ...input, previewToken })).rejects.toMatchObject({
      code: 'STALE_PREVIEW',
    });
  });

  test('a change that is paid only after the draft is: what is unused of it is credit, less its discount', async () => {
    const { account, id } = await waiting();
    await take(world, account, await couponOf(world, { percent: '50' }));
    await at('2024-05-01T12:00:00Z');
    await addCard(world, account, 'tok_threeDSecure2Required');
    expect((await toPremium(account, id)).error).toMatchObject({ code: 'REQUIRES_ACTION' });
    expect(await linesOf(world, await draftOf(account))).toEqual(['Basic 3000']);
    const payment = (await paymentsOf(world, account)).at(-1)!;
    await addCard(world, account);
    await at('2024-05-02T00:01:00Z');
    const renewal = (await invoicesOf(world, account)).find((invoice) => invoice.reason === 'subscription_cycle')!;
    expect(renewal).toMatchObject({ status: 'PAID', totalMinor: 1500n });

    await world.deps.payments.authenticate({ chargeRef: payment.chargeRef!, success: true });
    await at('2024-05-02T12:00:00Z');
    expect(await subscriptionOf(world, account)).toMatchObject({ changeInvoiceId: null, changeTakesBack: null });
    expect(await creditNotesOf(world, account)).toMatchObject([
      { invoiceId: renewal.id, reason: 'Unused time on Basic', totalMinor: 1500n, balanceMinor: 1500n },
    ]);
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    // Of the 30.00 that 31 days on Premium cost after the coupon, two days are used.
    expect(await balanceOf(world, account.id, 'wallet')).toBe(2806n);
    await expectSoundLedger(world, account.id);
  });

  test('a change to a plan that costs nothing takes effect at once, and off the draft', async () => {
    const { account, id: subscriptionId } = await waiting();
    await at('2024-05-01T12:00:00Z');
    const input = { subscriptionId, planCode: 'free', timing: 'IMMEDIATE', proration: 'PER_DAY' } as const;
    const shown = await preview(world.deps, account.actor, { changePlan: input });
    expect(shown).toMatchObject({ dueNowMinor: 0n, creditMinor: 0n, invoice: null });
    expect(shown.unpaidInvoice).toMatchObject({ totalMinor: 0n });
    await changePlan(world.deps, account.actor, { ...input, previewToken: shown.token });
    expect(await linesOf(world, await draftOf(account))).toEqual(['Basic 3000', 'Unused time on Basic -3000']);
    await at('2024-05-02T00:01:00Z');
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'PAID', totalMinor: 0n });
    await expectSoundLedger(world, account.id);
  });
});

test('of a fee that is being dunned a preview shows what is left to pay, also through GraphQL', async () => {
  const { account, id: subscriptionId } = await subscribed(world);
  await addCard(world, account, 'tok_chargeDeclined');
  await at('2024-05-01T00:01:00Z');
  world.clock.set('2024-05-01T12:00:00Z');
  const { data, errors } = await world.gql(
    account.token,
    `query ($id: ID!) { preview(input: { cancelSubscription: { idempotencyKey: "quoted", subscriptionId: $id, timing: IMMEDIATE } }) {
      token credit { minorUnits } invoice { id }
      unpaidInvoice { status lines { description } creditNoted { minorUnits } amountDue { minorUnits } } } }`,
    { id: subscriptionId },
  );
  expect(errors).toBeUndefined();
  expect(data.preview).toMatchObject({
    credit: { minorUnits: '0' },
    invoice: null,
    unpaidInvoice: {
      status: 'OPEN',
      lines: [{ description: 'Basic' }],
      creditNoted: { minorUnits: '2903' },
      amountDue: { minorUnits: '97' },
    },
  });
  const previewToken = data.preview.token as string;
  await cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'IMMEDIATE', previewToken });
  expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'OPEN', amountDueMinor: 97n });
  expect(await creditNotesOf(world, account)).toMatchObject([{ kind: 'CREDIT', appliedToInvoiceMinor: 2903n }]);
  await expectSoundLedger(world, account.id);
});

test('a fee of which a note has left less than is unused is lowered by that', async () => {
  const { account, id: subscriptionId } = await subscribed(world);
  await addCard(world, account, 'tok_chargeDeclined');
  await at('2024-05-01T00:01:00Z');
  world.clock.set('2024-05-01T12:00:00Z');
  const invoice = (await invoicesOf(world, account))[1]!;
  await credit(world, account, { invoice, amount: '20.00' });
  await cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'IMMEDIATE' });
  // The note took 20.00 of 31 days: of the other 10.00, 30 days are unused.
  expect((await creditNotesOf(world, account)).map((note) => note.totalMinor)).toEqual([2000n, 968n]);
  expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'OPEN', amountDueMinor: 32n });
  await expectSoundLedger(world, account.id);
});

describe('with other taxes than when it was billed', () => {
  test('a change that is declined leaves no tax behind', async () => {
    const { account, id } = await subscribed(world);
    await settle(world, account, { taxes: ['VAT 19'] });
    await addCard(world, account, 'tok_chargeDeclined');
    world.clock.set('2024-04-11T00:00:00Z');
    expect((await toPremium(account, id)).error).toMatchObject({ code: 'PAYMENT_DECLINED' });
    expect((await invoicesOf(world, account))[1]).toMatchObject({ status: 'VOID', taxMinor: 760n, totalMinor: 2760n });
    expect(await balanceOf(world, account.id, 'tax')).toBe(0n);
    expect(await balanceOf(world, account.id, 'revenue')).toBe(3000n);
    await expectSoundLedger(world, account.id);
  });

  test('invoice, events and ledger say the same of each rate', async () => {
    const { account, id } = await subscribed(world);
    await settle(world, account, { taxes: ['VAT 19'] });
    world.clock.set('2024-04-11T00:00:00Z');
    await toPremium(account, id);
    await settle(world, account, { taxes: ['VAT 10', 'City 2'] });
    await cancelSubscription(world.deps, account.actor, { subscriptionId: id, timing: 'IMMEDIATE' });
    const [, change, final] = await invoicesOf(world, account);
    const { data } = await world.gql(
      account.token,
      'query ($id: ID!) { invoice(id: $id) { taxes { name percent taxable { minorUnits } amount { minorUnits } } } }',
      { id: publicId('invoice', change!.id) },
    );
    expect(data.invoice.taxes).toEqual([
      { name: 'VAT', percent: '19', taxable: { minorUnits: '4000' }, amount: { minorUnits: '760' } },
    ]);
    // One of 20 days is used: 38.00 of the 40.00 charged, at the 19 % they were charged with.
    expect(final).toMatchObject({ subtotalMinor: -3800n, taxMinor: -722n, totalMinor: 0n });
    expect(final!.taxes).toMatchObject([{ name: 'VAT', percent: '19', charged: null }]);
    expect(await balanceOf(world, account.id, 'wallet')).toBe(4522n);
    expect(await balanceOf(world, account.id, 'tax')).toBe(38n);
    await expectSoundLedger(world, account.id);
  });
});

test('a credit note and a cancellation at once give a fee back once', async () => {
  const { account, id: subscriptionId } = await subscribed(world);
  const [invoice] = await invoicesOf(world, account);
  const { codes } = await allAtOnce(6, async (i) =>
    i % 2 === 0
      ? cancelSubscription(world.deps, account.actor, { subscriptionId, timing: 'IMMEDIATE' })
      : credit(world, account, { invoice: invoice!, amount: '10.00', kind: 'REFUND' }),
  );
  expect(codes).not.toContain('INTERNAL');
  const noted = (await creditNotesOf(world, account)).reduce((sum, note) => sum + note.totalMinor, 0n);
  const walletMinor = await balanceOf(world, account.id, 'wallet');
  expect(noted + walletMinor).toBeGreaterThanOrEqual(2900n);
  expect(noted + walletMinor).toBeLessThanOrEqual(3000n);
  await expectSoundLedger(world, account.id);
});
