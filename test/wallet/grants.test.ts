import { grantsOfBalances } from '../../migrations/Migration20261125010000.js';
import { advanceTestClock } from '../../src/account/advanceTestClock.js';
import { createTestClock } from '../../src/account/createTestClock.js';
import { voidInvoice } from '../../src/invoice/collectInvoice.js';
import { createInvoice } from '../../src/invoice/createInvoice.js';
import { Invoice } from '../../src/invoice/invoice.entity.js';
import { systemActor } from '../../src/platform/actor.js';
import { transact } from '../../src/platform/db.js';
import { publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { unsoundOf } from '../../src/verify.js';
import { expireDueCredit } from '../../src/wallet/expireCredit.js';
import { giveCredit } from '../../src/wallet/giveCredit.js';
import { topUp } from '../../src/wallet/topUp.js';
import {
  addCard,
  dayMs,
  eventsOf,
  freshKey,
  invoicesOf,
  operatorOf,
  runDue,
  testCatalogYaml,
  usd,
} from '../support/billing.js';
import { credit } from '../support/creditNotes.js';
import { balanceOf, expectSoundLedger } from '../support/ledger.js';
import { fundsOf, give, grantsOf, leftOf } from '../support/wallet.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

const april = (day: number): Date => new Date(Date.UTC(2024, 3, day));
/** An invoice over an amount, which the wallet pays as far as it can. */
async function spend(account: TestAccount, amount: string): Promise<Invoice> {
  const items = [{ description: 'Work', amount: usd(amount) }];
  await createInvoice(world.deps, account.actor, { idempotencyKey: freshKey(), items });
  return (await invoicesOf(world, account)).at(-1)!;
}
/** Takes an invoice back that nothing has paid in full. */
const takeBack = (account: TestAccount, { id }: Invoice): Promise<void> =>
  transact(world.deps, account.id, async (tx) =>
    voidInvoice(tx, await tx.em.findOneOrFail(Invoice, { accountId: account.id, id })),
  );
const expired = (account: TestAccount) => eventsOf(world, account, 'wallet.credit_expired');
/** A top-up of this amount, by a card that is the account's default. */
async function buy(account: TestAccount, amount: string): Promise<void> {
  await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd(amount) });
}
async function withCard(): Promise<TestAccount> {
  const account = await world.account();
  await addCard(world, account);
  return account;
}

describe('spending', () => {
  test('goes by priority, then what expires first, given before bought, oldest first', async () => {
    const account = await withCard();
    await buy(account, '10.00');
    await give(world, account, '5.00');
    await give(world, account, '3.00', { expiresAt: april(20) });
    await give(world, account, '2.00', { priority: 60, expiresAt: april(10) });
    await give(world, account, '1.00', { priority: 10 });
    const left = async (amount: string) => {
      await spend(account, amount);
      return leftOf(world, account);
    };
    expect(await left('1.50')).toEqual(['purchased 1000', 'granted 500', 'granted 250', 'granted 200', 'granted 0']);
    expect(await left('4.50')).toEqual(['purchased 1000', 'granted 300', 'granted 0', 'granted 200', 'granted 0']);
    expect(await left('8.00')).toEqual(['purchased 500', 'granted 0', 'granted 0', 'granted 200', 'granted 0']);
    expect(await left('6.00')).toEqual(['purchased 0', 'granted 0', 'granted 0', 'granted 100', 'granted 0']);
    expect(await fundsOf(world, account)).toBe('1.00 0.00 1.00');
    await expectSoundLedger(world, account.id);
  });

  test('a movement that moves something else of the grants than of the wallet is refused', async () => {
    const account = await world.account();
    await give(world, account, '5.00');
    const em = world.deps.db.orm.em.fork();
    await world.rows(sql`update wallet_grant set remaining_minor = 400 where account_id = ${account.id}`);
    expect(await unsoundOf(em, account.id)).toEqual([
      'grants_are_the_balance: wallet: expected 5.00 USD, found 4.00 USD',
      expect.stringMatching(/^grant_is_its_entries: cg_.*: expected 5.00 USD, found 4.00 USD$/),
    ]);
    await expect(
      world.rows(sql`update wallet_grant set held_minor = 401 where account_id = ${account.id}`),
    ).rejects.toMatchObject({ code: '23514' });
  });
});

describe('grantCredit', () => {
  test('is once for each key, and tells of the grant', async () => {
    const account = await world.account();
    const input = {
      idempotencyKey: freshKey(),
      amount: usd('5.00'),
      reason: ' Sorry ',
      expiresAt: april(2),
      priority: 0,
    };
    const first = await giveCredit(world.deps, account.actor, input);
    expect(await giveCredit(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
    const [told, ...more] = await eventsOf(world, account, 'wallet.credited');
    expect(more).toEqual([]);
    expect(told!.data).toMatchObject({
      balance: 5,
      grant: {
        kind: 'granted',
        amount: 5,
        remaining: 5,
        priority: 0,
        reason: 'Sorry',
        expires_at: april(2).toISOString(),
      },
    });
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-500n);
    await expectSoundLedger(world, account.id);
  });

  test.each<[string, object, string]>([
    ['nothing', { amount: usd('0.00') }, 'amount is 0.00, expected more than 0 and at most 999999.99'],
    [
      'another currency',
      { amount: { minorUnits: 1n, currency: 'EUR' } },
      'The wallet is in USD, found an amount in EUR',
    ],
    ['no reason', { reason: ' ' }, 'reason has 0 characters, expected 1 to 500'],
    ['a priority there is not', { priority: 101 }, 'priority is 101, expected a whole number from 0 to 100'],
    ['half a priority', { priority: 1.5 }, 'priority is 1.5, expected a whole number from 0 to 100'],
    ['what has expired', { expiresAt: april(1) }, 'expected a time after 2024-04-01T00:00'],
    ['what outlives all', { expiresAt: new Date('2035-01-01') }, 'at most 10 years later'],
  ])('refuses %s', async (_name, of, message) => {
    const account = await world.account();
    const input = { amount: usd('1.00'), reason: 'Welcome', ...of };
    await expect(giveCredit(world.deps, account.actor, input)).rejects.toMatchObject({
      code: 'INVALID',
      message: expect.stringContaining(message),
    });
    expect(await grantsOf(world, account)).toEqual([]);
  });

  test("takes an operator with the wallet's scope", async () => {
    const account = await world.account();
    const input = { amount: usd('1.00'), reason: 'Welcome' };
    for (const actor of [
      { ...systemActor(account.id), operator: false },
      { ...systemActor(account.id), scopes: ['wallet:read'] },
    ])
      await expect(giveCredit(world.deps, actor, input)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  test('through GraphQL, with the grants of the wallet', async () => {
    const account = await withCard();
    await buy(account, '2.00');
    const ask = await operatorOf(world, account);
    const { grantCredit } = await ask(
      `mutation { grantCredit(input: { idempotencyKey: "g", amount: { amount: "5.00", currency: "USD" }, reason: "Welcome", priority: 1,
        expiresAt: "2024-05-01T00:00:00Z" }) { creditGrant { kind amount { amount } priority expiresAt payment { id } } wallet { balance { amount } } userErrors { code } } }`,
    );
    expect(grantCredit).toEqual({
      creditGrant: {
        kind: 'GRANTED',
        amount: { amount: '5.00' },
        priority: 1,
        expiresAt: '2024-05-01T00:00:00.000Z',
        payment: null,
      },
      wallet: { balance: { amount: '7.00' } },
      userErrors: [],
    });
    await spend(account, '5.00');
    const { wallet } = await ask(
      `{ wallet { all: grants { nodes { kind remaining { amount } } } open: grants(spent: false) { nodes { payment { status } reason } } } }`,
    );
    expect(wallet).toEqual({
      all: {
        nodes: [
          { kind: 'GRANTED', remaining: { amount: '0.00' } },
          { kind: 'PURCHASED', remaining: { amount: '2.00' } },
        ],
      },
      open: { nodes: [{ payment: { status: 'SUCCEEDED' }, reason: null }] },
    });
  });
});

describe('expiry', () => {
  test('takes what is left, at its time and not before; given credit is not given after all', async () => {
    const account = await world.account();
    await give(world, account, '5.00', { expiresAt: april(10) });
    await spend(account, '2.00');
    world.clock.set('2024-04-09T23:59:50Z');
    await runDue(world);
    expect(await fundsOf(world, account)).toBe('3.00 0.00 3.00');
    world.clock.set('2024-04-10T00:00:00Z');
    await Promise.all([runDue(world), runDue(world)]);
    expect(await fundsOf(world, account)).toBe('0.00 0.00 0.00');
    expect((await expired(account)).map((e) => [e.data.balance, e.data.expired])).toEqual([[0, 3]]);
    expect(await balanceOf(world, account.id, 'granted_credit')).toBe(-200n);
    await expectSoundLedger(world, account.id);
  });

  test('of bought credit is revenue', async () => {
    const account = await withCard();
    await buy(account, '4.00');
    await world.rows(
      sql`update wallet_grant set expires_at = ${april(2)}, expiry_due_at = ${april(2)} where account_id = ${account.id}`,
    );
    world.clock.set(april(3));
    await runDue(world);
    expect(await balanceOf(world, account.id, 'revenue')).toBe(400n);
    await expectSoundLedger(world, account.id);
  });

  test('of many accounts at once, each grant on its own', async () => {
    const accounts = await Promise.all(Array.from({ length: 5 }, () => world.account()));
    for (const account of accounts) {
      await give(world, account, '1.00', { expiresAt: april(5) });
      await give(world, account, '2.00', { expiresAt: april(5) });
      await give(world, account, '3.00');
    }
    world.clock.set(april(6));
    expect(await expireDueCredit(world.deps)).toBe(10);
    for (const account of accounts) {
      expect(await leftOf(world, account)).toEqual(['granted 0', 'granted 0', 'granted 300']);
      await expectSoundLedger(world, account.id);
    }
  });

  test('of one that can not be taken keeps no other waiting', async () => {
    const [broken, other] = [await world.account(), await world.account()];
    for (const [account, day] of [
      [broken, 5],
      [other, 6],
    ] as const)
      await give(world, account, '1.00', { expiresAt: april(day) });
    await world.rows(
      sql`update ledger_account set balance_minor = 0 where account_id = ${broken.id} and kind = 'wallet'`,
    );
    world.clock.set(april(7));
    expect(await expireDueCredit(world.deps)).toBe(1);
    expect([await leftOf(world, broken), await leftOf(world, other)]).toEqual([['granted 100'], ['granted 0']]);
    await world.rows(
      sql`update ledger_account set balance_minor = 100 where account_id = ${broken.id} and kind = 'wallet'`,
    );
    expect(await expireDueCredit(world.deps)).toBe(1);
    await expectSoundLedger(world, broken.id);
  });

  test('of one that is spent is no movement and no event', async () => {
    const account = await world.account();
    await give(world, account, '1.00', { expiresAt: april(5) });
    await spend(account, '1.00');
    world.clock.set(april(6));
    expect(await expireDueCredit(world.deps)).toBe(0);
    expect(await expired(account)).toEqual([]);
  });

  test('on a test clock comes at its own time, before what a renewal of that time would spend', async () => {
    const account = await world.account();
    await createTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), now: april(1) });
    await addCard(world, account);
    await world.gql(
      account.token,
      'mutation { subscribe(input: { idempotencyKey: "s", planCode: "basic" }) { subscription { id } } }',
    );
    await give(world, account, '7.00', { expiresAt: new Date('2024-05-01T00:00:00Z') });
    await give(world, account, '5.00', { expiresAt: new Date('2024-05-01T00:00:01Z') });
    const to = new Date('2024-07-01T12:00:00Z');
    await advanceTestClock(world.deps, account.actor, { idempotencyKey: freshKey(), to });
    const [, renewal] = await invoicesOf(world, account);
    expect(renewal).toMatchObject({ walletAppliedMinor: 500n, amountPaidMinor: 2500n });
    expect((await expired(account)).map((e) => [e.occurredAt.toISOString(), e.data.expired])).toEqual([
      ['2024-05-01T00:00:00.000Z', 7],
    ]);
    await expectSoundLedger(world, account.id);
  });
});

describe('what comes back', () => {
  test('of a void invoice goes into the grants it was taken from, with what they were', async () => {
    const account = await world.account();
    await give(world, account, '3.00', { expiresAt: april(20), priority: 1 });
    await give(world, account, '4.00');
    const invoice = await spend(account, '9.00');
    expect(await leftOf(world, account)).toEqual(['granted 0', 'granted 0']);
    await takeBack(account, invoice);
    expect(await grantsOf(world, account)).toMatchObject([
      { remainingMinor: 300n, expiresAt: april(20), expiryDueAt: april(20), priority: 1 },
      { remainingMinor: 400n, expiresAt: null },
    ]);
    await expectSoundLedger(world, account.id);
  });

  test('to a grant that has expired meanwhile lives as long as it had left when it was taken', async () => {
    const account = await world.account();
    await give(world, account, '3.00', { expiresAt: april(4) });
    world.clock.set(april(2));
    const invoice = await spend(account, '9.00');
    world.clock.set(april(6));
    await runDue(world);
    await takeBack(account, invoice);
    const [grant] = await grantsOf(world, account);
    expect(grant!.remainingMinor).toBe(300n);
    expect(Math.round((grant!.expiresAt!.getTime() - april(6).getTime()) / dayMs)).toBe(2);
    world.clock.set(april(9));
    await runDue(world);
    expect(await leftOf(world, account)).toEqual(['granted 0']);
    await expectSoundLedger(world, account.id);
  });

  test('by credit notes comes back in part and in steps, what was taken last first', async () => {
    const account = await world.account();
    await give(world, account, '3.00', { expiresAt: april(20) });
    await give(world, account, '4.00');
    const invoice = await spend(account, '7.00');
    expect(invoice.status).toBe('PAID');
    for (const [amount, left] of [
      ['2.00', ['granted 0', 'granted 200']],
      ['3.00', ['granted 100', 'granted 400']],
      ['2.00', ['granted 300', 'granted 400']],
    ] as const) {
      await credit(world, account, { invoice, amount, kind: 'REFUND' });
      expect(await leftOf(world, account)).toEqual(left);
    }
    await expectSoundLedger(world, account.id);
  });

  test('of an invoice that was paid before grants were kept opens a bought one that never expires', async () => {
    const account = await world.account();
    await give(world, account, '5.00');
    const invoice = await spend(account, '9.00');
    await world.ownerRows(sql`delete from wallet_grant_entry where account_id = ${account.id}`);
    await world.rows(sql`delete from wallet_grant where account_id = ${account.id}`);
    await takeBack(account, invoice);
    expect(await leftOf(world, account)).toEqual(['purchased 500']);
    expect(await grantsOf(world, account)).toMatchObject([{ expiresAt: null }]);
    // All is sound but for the grant that was taken away above.
    expect(await unsoundOf(world.deps.db.orm.em.fork(), account.id)).toEqual([
      expect.stringMatching(/^movement_has_its_document: mov_.* found none for a movement credit_granted$/),
    ]);
  });
});

test('balances from before become grants: given credit went first, of either kind the oldest, to the minor unit', async () => {
  const account = await withCard();
  await buy(account, '10.00');
  await buy(account, '20.00');
  await give(world, account, '4.00');
  await give(world, account, '6.00');
  const given = await withCard();
  await buy(given, '1.00');
  await give(world, given, '2.00');
  await give(world, given, '3.00');
  await spend(account, '15.00'); // 10.00 of what was given, 5.00 of the older top-up
  await spend(given, '3.50'); // the older gift, and 1.50 of the other
  const before = [await leftOf(world, account), await leftOf(world, given)];
  expect(before).toEqual([
    ['purchased 500', 'purchased 2000', 'granted 0', 'granted 0'],
    ['purchased 100', 'granted 0', 'granted 150'],
  ]);
  for (const { id } of [account, given]) {
    await world.ownerRows(sql`delete from wallet_grant_entry where account_id = ${id}`);
    await world.rows(sql`delete from wallet_grant where account_id = ${id}`);
  }
  await world.ownerRows(sql`update ledger_transaction set type = 'credit' where type = 'credit_granted'`);
  await world.ownerRows(sql`delete from wallet_grant_entry`);
  await world.rows(sql`delete from wallet_hold_part`);
  await world.rows(sql`delete from wallet_grant`);
  await world.rows(sql.raw(grantsOfBalances));
  expect([await leftOf(world, account), await leftOf(world, given)]).toEqual([
    ['purchased 500', 'purchased 2000'],
    ['purchased 100', 'granted 150'],
  ]);
  const [oldest] = await grantsOf(world, account);
  const em = world.deps.db.orm.em.fork();
  // Sound but for what the gifts of that time came from: an invoice each, which there is none of here.
  const without = expect.stringMatching(/^movement_has_its_document: mov_.* found none for a movement credit$/);
  expect(await unsoundOf(em, account.id)).toEqual([without, without]);
  expect(publicId('payment', oldest!.referenceId)).toMatch(/^pay_/);
});
