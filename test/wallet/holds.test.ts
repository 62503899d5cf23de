import { createInvoice } from '../../src/invoice/createInvoice.js';
import { systemActor } from '../../src/platform/actor.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { recordUsage } from '../../src/usage/recordUsage.js';
import { captureHold } from '../../src/wallet/captureHold.js';
import { createHold } from '../../src/wallet/createHold.js';
import { releaseHold } from '../../src/wallet/releaseHold.js';
import { walletTransactions } from '../../src/wallet/wallets.js';
import {
  allAtOnce,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  runDue,
  subscribed,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { proveSpends } from '../support/spends.js';
import { fundsOf, give, hold, holdsOf, leftOf } from '../support/wallet.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const april = (day: number): Date => new Date(Date.UTC(2024, 3, day));
async function withCredit(amount: string): Promise<TestAccount> {
  const account = await world.account();
  await give(world, account, amount);
  return account;
}
const capture = (account: TestAccount, holdId: string, amount?: string) =>
  captureHold(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    holdId: publicId('hold', holdId),
    amount: amount === undefined ? undefined : usd(amount),
  });
const release = (account: TestAccount, holdId: string) =>
  releaseHold(world.deps, account.actor, { idempotencyKey: freshKey(), holdId: publicId('hold', holdId) });
const told = async (account: TestAccount) =>
  (await eventsOf(world, account)).flatMap(({ type }) => (type.startsWith('wallet.hold_') ? [type.slice(12)] : []));

test('a hold lowers what is available, not the balance; captured in part, the rest is free again', async () => {
  const account = await withCredit('50.00');
  const id = await hold(world, account, '20.00');
  expect(await fundsOf(world, account)).toBe('50.00 20.00 30.00');
  await capture(account, id, '12.50');
  expect(await fundsOf(world, account)).toBe('37.50 0.00 37.50');
  expect(await holdsOf(world, account)).toMatchObject([
    { status: 'CAPTURED', amountMinor: 2000n, capturedMinor: 1250n, expiryDueAt: null },
  ]);
  expect(await balanceOf(world, account.id, 'revenue')).toBe(1250n);
  const em = world.deps.db.orm.em.fork();
  const { nodes } = await walletTransactions(em, account.id, { first: 5 });
  expect(nodes.map(({ type, walletAmountMinor }) => [type, walletAmountMinor])).toEqual([
    ['hold_captured', -1250n],
    ['credit_granted', 5000n],
  ]);
  expect(await told(account)).toEqual(['created', 'captured']);
  await expectSoundLedger(world, account.id);
});

test('released, all of it is free again, and nothing has moved', async () => {
  const account = await withCredit('5.00');
  const id = await hold(world, account, '5.00');
  await release(account, id);
  expect(await fundsOf(world, account)).toBe('5.00 0.00 5.00');
  expect(await told(account)).toEqual(['created', 'released']);
  await expectSoundLedger(world, account.id);
});

test('more than what is available is refused: other holds and usage not yet invoiced come first', async () => {
  const { account } = await subscribed(world);
  await give(world, account, '10.00');
  await hold(world, account, '3.00');
  await recordUsage(world.deps, account.actor, [{ transactionId: 'u', metric: 'minutes', value: '180' }]); // 4.00 over
  expect(await fundsOf(world, account)).toBe('10.00 3.00 3.00');
  await expect(hold(world, account, '3.01')).rejects.toMatchObject({
    code: 'INSUFFICIENT_BALANCE',
    message: '3.01 USD to hold, but 3.00 is available',
    details: { field: ['amount'] },
  });
  await hold(world, account, '3.00');
  expect(await fundsOf(world, account)).toBe('10.00 6.00 0.00');
  await expectSoundLedger(world, account.id);
});

test('an invoice does not take what is held', async () => {
  const account = await withCredit('10.00');
  const id = await hold(world, account, '8.00');
  const items = [{ description: 'Work', amount: usd('5.00') }];
  await createInvoice(world.deps, account.actor, { idempotencyKey: freshKey(), items });
  expect((await invoicesOf(world, account))[0]).toMatchObject({ walletAppliedMinor: 200n, amountDueMinor: 300n });
  expect(await fundsOf(world, account)).toBe('8.00 8.00 0.00');
  await capture(account, id);
  expect(await fundsOf(world, account)).toBe('0.00 0.00 0.00');
  await expectSoundLedger(world, account.id);
});

test('it keeps what would be spent first, and a capture takes of that in order', async () => {
  const account = await world.account();
  await give(world, account, '4.00');
  await give(world, account, '3.00', { expiresAt: april(20) });
  const id = await hold(world, account, '5.00');
  await capture(account, id, '3.50');
  expect(await leftOf(world, account)).toEqual(['granted 350', 'granted 0']);
  await expectSoundLedger(world, account.id);
});

describe('that has ended', () => {
  test.each<[string, (account: TestAccount, id: string) => Promise<unknown>, string]>([
    ['captured', (account, id) => capture(account, id, '1.00'), 'is CAPTURED, expected OPEN'],
    ['released', release, 'is RELEASED, expected OPEN'],
    [
      'expired, though the sweep has not been there',
      async () => world.clock.set(april(9)),
      'has expired at 2024-04-08T00:00:0',
    ],
  ])('%s is neither captured nor released', async (_name, end, message) => {
    const account = await withCredit('5.00');
    const id = await hold(world, account, '5.00');
    await end(account, id);
    const before = await fundsOf(world, account);
    for (const again of [() => capture(account, id), () => release(account, id)])
      await expect(again()).rejects.toMatchObject({
        code: 'ILLEGAL_STATE',
        message: expect.stringContaining(message),
      });
    expect(await fundsOf(world, account)).toBe(before);
  });
});

test('nobody ends it: after seven days it expires by itself, once', async () => {
  const account = await withCredit('5.00');
  await hold(world, account, '5.00');
  world.clock.set(new Date(april(8).getTime() - 10_000));
  await runDue(world);
  expect(await fundsOf(world, account)).toBe('5.00 5.00 0.00');
  world.clock.set(new Date(april(8).getTime() + 60_000));
  await Promise.all([runDue(world), runDue(world)]);
  expect(await fundsOf(world, account)).toBe('5.00 0.00 5.00');
  expect(await told(account)).toEqual(['created', 'expired']);
  await expectSoundLedger(world, account.id);
});

describe('over credit that expires', () => {
  const held = async () => {
    const account = await world.account();
    await give(world, account, '6.00', { expiresAt: april(3) });
    const id = await hold(world, account, '4.00', { expiresAt: april(9) });
    world.clock.set(april(5));
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('4.00 4.00 0.00'); // 2.00 that nobody held are gone
    return { account, id };
  };

  test('keeps it beyond its time: it can still be captured, and what is not captured expires at once', async () => {
    const { account, id } = await held();
    await capture(account, id, '3.00');
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('0.00 0.00 0.00');
    expect((await eventsOf(world, account, 'wallet.credit_expired')).map((e) => e.data.expired)).toEqual([2, 1]);
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-300n);
    await expectSoundLedger(world, account.id);
  });

  test('lets it go when it is released, or expires itself', async () => {
    for (const end of ['release', 'expire']) {
      const { account, id } = await held();
      if (end === 'release') await release(account, id);
      else world.clock.set(april(10));
      await runDue(world);
      expect(await fundsOf(world, account)).toBe('0.00 0.00 0.00');
      await expectSoundLedger(world, account.id);
      world.clock.set(april(1));
    }
  });
});

test.each<[string, object, string]>([
  ['nothing', { amount: usd('0.00') }, 'amount is 0.00, expected more than 0'],
  ['another currency', { amount: { minorUnits: 1n, currency: 'EUR' } }, 'The wallet is in USD'],
  ['no description', { description: ' ' }, 'description has 0 characters, expected 1 to 500'],
  ['what is over', { expiresAt: april(1) }, 'expected a time after 2024-04-01T00:00'],
  ['what lasts too long', { expiresAt: new Date(april(1).getTime() + 91 * dayMs) }, 'at most 90 days later'],
])('refuses to hold %s', async (_name, of, message) => {
  const account = await withCredit('5.00');
  const input = { amount: usd('1.00'), description: 'A job', ...of };
  await expect(createHold(world.deps, account.actor, input)).rejects.toMatchObject({
    code: 'INVALID',
    message: expect.stringContaining(message),
  });
  await expect(
    createHold(world.deps, { ...systemActor(account.id), scopes: ['wallet:read'] }, input),
  ).rejects.toMatchObject({ code: 'FORBIDDEN' });
});

test('a capture is more than nothing and at most what is held, of a hold of this account', async () => {
  const account = await withCredit('5.00');
  const id = await hold(world, account, '2.00');
  for (const amount of ['0.00', '2.01'])
    await expect(capture(account, id, amount)).rejects.toMatchObject({
      code: 'INVALID',
      message: `amount is ${amount}, expected more than 0 and at most the 2.00 held`,
    });
  const stranger = await withCredit('5.00');
  await expect(capture(stranger, id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(captureHold(world.deps, account.actor, { holdId: 'hold_x' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('a key is used once: a repeat answers the same, 20 at once are one', async () => {
  const account = await withCredit('5.00');
  const input = { idempotencyKey: freshKey(), amount: usd('2.00'), description: 'A job' };
  const { done, codes } = await allAtOnce(20, () => createHold(world.deps, account.actor, input));
  expect(codes).toEqual([]);
  expect(new Set(done.map(({ holdId }) => holdId)).size).toBe(1);
  expect(await fundsOf(world, account)).toBe('5.00 2.00 3.00');
  const ending = { idempotencyKey: freshKey(), holdId: publicId('hold', done[0]!.holdId), amount: usd('1.00') };
  const captures = await allAtOnce(20, () => captureHold(world.deps, account.actor, ending));
  expect(captures.done.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(captures.done).toHaveLength(20);
  await expect(captureHold(world.deps, account.actor, { ...ending, amount: usd('1.01') })).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISMATCH',
  });
  expect(await fundsOf(world, account)).toBe('4.00 0.00 4.00');
  await expectSoundLedger(world, account.id);
});

test('through GraphQL: hold, capture, and the holds of the wallet', async () => {
  const account = await withCredit('5.00');
  const { data } = await world.gql(
    account.token,
    `mutation { createHold(input: { idempotencyKey: "h", amount: { amount: "2.00", currency: "USD" }, description: "Transcription" }) {
      hold { id status amount { amount } description expiresAt } wallet { balance { amount } held { amount } available { amount } } userErrors { code } } }`,
  );
  const { id, expiresAt } = data.createHold.hold;
  expect(data.createHold).toEqual({
    hold: { id, status: 'OPEN', amount: { amount: '2.00' }, description: 'Transcription', expiresAt },
    wallet: { balance: { amount: '5.00' }, held: { amount: '2.00' }, available: { amount: '3.00' } },
    userErrors: [],
  });
  const captured = await world.gql(
    account.token,
    `mutation { captureHold(input: { idempotencyKey: "c", holdId: "${id}", amount: { amount: "0.75", currency: "USD" } }) {
      hold { status captured { amount } } wallet { available { amount } } userErrors { code } }
      releaseHold(input: { idempotencyKey: "r", holdId: "${id}" }) { hold { id } userErrors { code message } } }`,
  );
  expect(captured.data).toEqual({
    captureHold: {
      hold: { status: 'CAPTURED', captured: { amount: '0.75' } },
      wallet: { available: { amount: '4.25' } },
      userErrors: [],
    },
    releaseHold: {
      hold: null,
      userErrors: [{ code: 'ILLEGAL_STATE', message: `Hold ${id} is CAPTURED, expected OPEN` }],
    },
  });
  const listed = await world.gql(
    account.token,
    '{ wallet { holds { nodes { id } } open: holds(status: OPEN) { nodes { id } } } }',
  );
  expect(listed.data.wallet).toEqual({ holds: { nodes: [{ id }] }, open: { nodes: [] } });
});

test('100 at once spend one balance: never below zero, and to the minor unit what there was', async () => {
  const { broken, spends } = await proveSpends(world, { rounds: 2, seed: 1 });
  expect(broken).toEqual([]);
  expect(spends).toBe(200);
});

test('the database refuses what no code should try', async () => {
  const account = await withCredit('5.00');
  await hold(world, account, '2.00');
  await expect(
    world.rows(sql`update wallet_grant set remaining_minor = 199 where account_id = ${account.id}`),
  ).rejects.toMatchObject({ code: '23514' });
});
