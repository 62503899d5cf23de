import fs from 'node:fs';
import { runCli } from '../../src/cliProgram.js';
import { newId } from '../../src/platform/ids.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { simulate } from '../../src/simulate.js';
import { parseScenario } from '../../src/simulateScenario.js';
import { checks, openForVerifying, unsoundOf, verify } from '../../src/verify.js';
import { type Violation, violationsOf } from '../../src/wallet/ledgerCheck.js';
import { topUp } from '../../src/wallet/topUp.js';
import { addCard, invoicesOf, subscribed, testCatalogYaml, unreachable, usd } from '../support/billing.js';
import { credit } from '../support/creditNotes.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

/**
 * Credit, wallet and card pay one invoice; a refund to card and wallet; a note that is void; a change that is declined and gives
 * everything back; a cancellation whose lines sum below zero.
 */
const life = `
name: Books with a movement of every kind
arithmetic: none
account: { settings: { tax_rates: [{ name: VAT, percent: 19 }] } }
catalog:
  plans:
    - { code: basic, name: Basic, price: 30.00, currency: USD, interval: month }
    - { code: premium, name: Premium, price: 90.00, currency: USD, interval: month }
start: 2026-04-01T00:00:00Z
steps:
  - card: tok_visa
  - top_up: 50.00
  - subscribe: { plan: basic }
  - credit_note: { invoice: 1, lines: [{ line: 1, amount: 10.00 }] }
  - advance: period
  - expect: { invoices: [{ number: 1, wallet: 35.70 }, { number: 2, credit: 11.90, wallet: 14.30, paid: 9.50 }] }
  - credit_note: { invoice: 2, kind: refund }
  - credit_note: { invoice: 1 }
  - void_credit_note: 3
  - card: tok_chargeDeclined
  - at: 2026-05-11T12:00:00Z
    change_plan: { plan: premium }
  - expect: { error: PAYMENT_DECLINED, wallet: { balance: 14.30 } }
  - card: tok_visa
  - advance: period
  - at: 2026-06-11T12:00:00Z
    cancel: { timing: immediate }
  - expect: { ledger: sound }
`;

/** Credit that is given, held and captured, expires, and goes back to its card. */
const wallet = `
name: Credit with a movement of every kind
arithmetic: none
catalog:
  plans:
    - { code: basic, name: Basic, price: 30.00, currency: USD, interval: month }
start: 2026-04-01T00:00:00Z
steps:
  - card: tok_visa
  - top_up: 20.00
  - grant: { amount: 5.00, expires_at: 2026-04-05T00:00:00Z }
  - hold: { amount: 2.00 }
  - capture: { hold: 1, amount: 1.50 }
  - hold: { amount: 1.00, expires_at: 2026-04-20T00:00:00Z }
  - refund_top_up: { top_up: 1, amount: 4.00 }
  - advance: { days: 10 }
  - expect: { wallet: { balance: 17.00, held: 1.00 }, ledger: sound }
`;

let world: World;
let accounts: { total: number };
beforeAll(async () => {
  world = await startWorld({ catalog: testCatalogYaml, worker: false });
  for (const story of [life, wallet]) expect((await simulate(world, parseScenario(story))).failure).toBeUndefined();
  await owing();
  await refundTo('tok_refundFail');
  await refundTo('tok_visa', { underWay: true });
  const [row] = await world.rows(sql<{ total: number }>`select count(*)::int as total from account`);
  accounts = row!;
});
afterAll(() => world.stop());

/** A renewal that the card doesn't pay stays open. */
async function owing(): Promise<void> {
  const { account } = await subscribed(world, { token: 'tok_visa' });
  await addCard(world, account, 'tok_chargeDeclinedInsufficientFunds');
  world.clock.advanceMs(32 * 86_400_000);
  for (let finished = 1; finished > 0; ) finished = await world.sweeps.runOnce();
  expect((await invoicesOf(world, account)).at(-1)).toMatchObject({ status: 'OPEN' });
}

/** A refund that fails, or whose outcome is not known yet. */
async function refundTo(token: string, { underWay = false } = {}): Promise<void> {
  const { account } = await subscribed(world, { token });
  const [invoice] = await invoicesOf(world, account);
  const payments = underWay ? unreachable(world.deps.payments, 'before') : world.deps.payments;
  await credit(world, account, { invoice: invoice!, kind: 'REFUND', deps: { ...world.deps, payments } });
}

/** Breaks something as the owner of the tables, in a transaction that is rolled back; what is broken of the account it hit. */
async function brokenBy(...statements: ReturnType<typeof sql>[]): Promise<Violation[]> {
  let found: Violation[] = [];
  const undo = new Error('undo');
  await world
    .asOwner(async (em) => {
      let hit: string[] = [];
      for (const statement of statements)
        hit = (await rowsOf(em, statement as ReturnType<typeof sql<{ account_id: string }>>)).map(
          (row) => row.account_id,
        );
      expect(new Set(hit).size).toBe(1);
      found = await violationsOf(em, checks, hit);
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  return found;
}

/** One row, always the same. */
const one = (table: string, where: string) => sql`(account_id, id) = (
  select account_id, id from ${sql.id(table)} where ${sql.raw(where)} order by account_id, id limit 1)`;
const change = (table: string, set: string, where: string) =>
  sql`update ${sql.id(table)} set ${sql.raw(set)} where ${one(table, where)} returning account_id`;

/** What is done to the books, and the rules that are broken by it. */
const breaks: [string, ReturnType<typeof sql>[], string[]][] = [
  [
    'a posting is changed',
    [change('ledger_posting', 'amount_minor = amount_minor + 1', 'amount_minor > 0')],
    ['movement_sums_to_zero', 'balance_is_the_sum_of_postings'],
  ],
  [
    'the postings of a movement are gone',
    [
      sql`delete from ledger_posting where (account_id, transaction_id) = (
            select account_id, id from ledger_transaction order by account_id, id limit 1) returning account_id`,
    ],
    ['movement_has_two_postings'],
  ],
  [
    'a movement is gone, its postings are there',
    [
      sql`alter table ledger_posting drop constraint ledger_posting_transaction_id_foreign`,
      sql`delete from ledger_transaction where ${one('ledger_transaction', "type = 'top_up'")} returning account_id`,
    ],
    ['posting_has_a_movement', 'payment_is_booked_once'],
  ],
  [
    'a posting is in another currency',
    [change('ledger_posting', "currency = 'EUR'", 'amount_minor > 0')],
    ['movement_has_one_currency', 'movement_sums_to_zero', 'movement_has_two_postings'],
  ],
  [
    'a movement says another amount of the wallet',
    [change('ledger_transaction', 'wallet_amount_minor = wallet_amount_minor + 1', "type = 'top_up'")],
    ['movement_knows_its_wallet_amount'],
  ],
  [
    'a movement has lost the balance after it',
    [change('ledger_transaction', 'wallet_balance_after_minor = null', "type = 'top_up'")],
    ['movement_knows_its_wallet_balance', 'wallet_balances_form_a_chain'],
  ],
  [
    'a movement is there twice',
    [
      sql`alter table ledger_transaction drop constraint ledger_transaction_account_id_type_reference_id_unique`,
      sql`insert into ledger_transaction select account_id, ${newId()}, type, currency, reference_id, wallet_amount_minor,
            wallet_balance_after_minor, created_at
          from ledger_transaction where ${one('ledger_transaction', "type = 'invoice_issued'")} returning account_id`,
    ],
    ['movement_is_posted_once'],
  ],
  [
    'a balance is changed',
    [change('ledger_account', 'balance_minor = balance_minor - 1', "kind = 'revenue'")],
    ['balance_is_the_sum_of_postings', 'revenue_is_what_documents_say'],
  ],
  [
    'a wallet is overdrawn',
    [
      sql`alter table ledger_account drop constraint ledger_account_wallet_check`,
      change('ledger_account', 'balance_minor = -1', "kind = 'wallet'"),
    ],
    ['wallet_is_never_below_zero'],
  ],
  [
    'a wallet was overdrawn once',
    [change('ledger_transaction', 'wallet_balance_after_minor = -1', "type = 'top_up'")],
    ['wallet_is_never_below_zero', 'wallet_balances_form_a_chain'],
  ],
  [
    'the balance after a movement is another',
    [
      change(
        'ledger_transaction',
        'wallet_balance_after_minor = wallet_balance_after_minor + 1',
        "type = 'wallet_payment'",
      ),
    ],
    ['wallet_balances_form_a_chain'],
  ],
  [
    'a movement is about nothing',
    [change('ledger_transaction', `reference_id = '${newId()}'`, "type = 'refund'")],
    ['movement_has_its_document', 'refund_is_booked_once'],
  ],
  [
    'a movement is of a type that nobody knows',
    [change('ledger_transaction', "type = 'gift'", "type = 'credit'")],
    ['movement_has_its_document', 'invoice_below_zero_goes_to_the_wallet', 'invoice_below_zero_gives_tax_back'],
  ],
  [
    'a payment has failed after all',
    [change('payment', "status = 'FAILED'", "status = 'SUCCEEDED' and purpose = 'invoice'")],
    ['payment_is_booked_once', 'provider_clearing_is_what_documents_say'],
  ],
  [
    'the payment of an invoice was a top-up',
    [change('payment', "purpose = 'top_up'", "status = 'SUCCEEDED' and purpose = 'invoice'")],
    ['top_up_pays_no_invoice'],
  ],
  [
    'an invoice has another total',
    [change('invoice', 'total_minor = total_minor + 1, amount_due_minor = amount_due_minor + 1', "status = 'OPEN'")],
    ['invoice_is_booked_once', 'receivable_is_what_documents_say', 'revenue_is_what_documents_say'],
  ],
  [
    'an invoice has another tax',
    [change('invoice', 'tax_minor = tax_minor + 1', "status = 'PAID' and tax_minor > 0")],
    ['invoice_tax_is_booked_once', 'tax_is_what_documents_say', 'revenue_is_what_documents_say'],
  ],
  [
    'a void invoice is open again',
    [change('invoice', "status = 'OPEN', amount_due_minor = total_minor", "status = 'VOID'")],
    [
      'void_invoice_is_taken_back',
      'void_invoice_tax_is_taken_back',
      'wallet_payment_of_a_void_invoice_is_returned',
      'credit_of_a_void_invoice_is_returned',
      'applied_credit_comes_from_notes',
      'invoice_is_the_sum_of_what_pays_it',
    ],
  ],
  [
    'the wallet paid more of an invoice',
    [
      change(
        'invoice',
        'wallet_applied_minor = wallet_applied_minor + 1',
        "status = 'PAID' and wallet_applied_minor > 0",
      ),
    ],
    ['wallet_payment_is_booked_once', 'invoice_is_the_sum_of_what_pays_it'],
  ],
  [
    'credit paid more of an invoice',
    [
      change(
        'invoice',
        'credit_applied_minor = credit_applied_minor + 1',
        "status = 'PAID' and credit_applied_minor > 0",
      ),
    ],
    ['credit_is_applied_once', 'invoice_is_the_sum_of_what_pays_it'],
  ],
  [
    'a card paid more of an invoice',
    [change('invoice', 'amount_paid_minor = amount_paid_minor + 1', "status = 'PAID' and amount_paid_minor > 0")],
    ['invoice_is_paid_by_its_payments'],
  ],
  [
    'credit of a note that paid an invoice is forgotten',
    [sql`delete from credit_application where ${one('credit_application', 'true')} returning account_id`],
    ['applied_credit_comes_from_notes', 'credit_note_is_the_sum_of_its_parts'],
  ],
  [
    'an invoice is credited by more than its notes',
    [change('invoice', 'credit_noted_minor = credit_noted_minor - 1', 'credit_noted_minor > 0')],
    ['invoice_is_credited_by_its_notes'],
  ],
  [
    'a credit note gives back more tax than there was',
    [change('credit_note', 'tax_minor = tax_minor + 10000', "status = 'ISSUED' and tax_minor > 0")],
    ['invoice_is_not_credited_beyond_its_tax', 'credit_note_tax_is_booked_once', 'tax_is_what_documents_say'],
  ],
  [
    'a credit note has another total',
    [change('credit_note', 'total_minor = total_minor + 1', "status = 'ISSUED'")],
    ['credit_note_is_booked_once', 'credit_note_is_the_sum_of_its_parts', 'revenue_is_what_documents_say'],
  ],
  [
    'a credit note has more left',
    [change('credit_note', 'balance_minor = balance_minor + 1', "status = 'ISSUED'")],
    ['credit_note_is_the_sum_of_its_parts', 'customer_credit_is_what_documents_say'],
  ],
  [
    'a void credit note has something left',
    [change('credit_note', 'balance_minor = 1', "status = 'VOID'")],
    ['void_credit_note_has_no_balance', 'customer_credit_is_what_documents_say'],
  ],
  [
    'a void credit note stands again',
    [change('credit_note', "status = 'ISSUED', balance_minor = total_minor", "status = 'VOID'")],
    ['void_credit_note_is_taken_back', 'void_credit_note_tax_is_taken_back', 'invoice_is_credited_by_its_notes'],
  ],
  [
    'a credit note lowered a debt that it did not',
    [
      change(
        'credit_note',
        'applied_to_invoice_minor = applied_to_invoice_minor + 1, balance_minor = balance_minor - 1',
        "status = 'ISSUED' and balance_minor > 0",
      ),
    ],
    ['credit_note_lowers_its_invoice'],
  ],
  [
    'a credit note returned more to the wallet',
    [change('credit_note', 'returned_to_wallet_minor = returned_to_wallet_minor + 1', 'returned_to_wallet_minor > 0')],
    ['credit_note_returns_to_the_wallet'],
  ],
  [
    'a refund is over more',
    [change('refund', 'amount_minor = amount_minor + 1', "status = 'SUCCEEDED'")],
    ['refund_is_booked_once', 'credit_note_goes_back_by_refunds', 'provider_clearing_is_what_documents_say'],
  ],
  [
    'a refund is done that was under way',
    [change('refund', "status = 'SUCCEEDED'", "status = 'PENDING'")],
    ['refund_is_booked_once', 'refunds_payable_is_what_documents_say', 'provider_clearing_is_what_documents_say'],
  ],
  [
    'a refund has failed that was under way',
    [change('refund', "status = 'FAILED'", "status = 'PENDING'")],
    ['failed_refund_becomes_credit', 'refunds_payable_is_what_documents_say'],
  ],
  [
    'a refund has not failed',
    [change('refund', "status = 'PENDING'", "status = 'FAILED'")],
    ['failed_refund_becomes_credit', 'refunds_payable_is_what_documents_say'],
  ],
  [
    'a grant has more left',
    [change('wallet_grant', 'remaining_minor = remaining_minor + 1', 'remaining_minor > 0')],
    ['grants_are_the_balance', 'grant_is_its_entries'],
  ],
  [
    'a grant keeps more than is held, and than it has',
    [
      sql`alter table wallet_grant drop constraint wallet_grant_amounts_check`,
      change('wallet_grant', 'held_minor = remaining_minor + 1', 'held_minor > 0'),
    ],
    ['grants_keep_what_is_held', 'grant_keeps_what_is_left'],
  ],
  [
    'a movement took more from a grant than from the wallet',
    [change('wallet_grant_entry', 'amount_minor = amount_minor - 1', 'amount_minor < 0')],
    ['movement_takes_from_grants', 'grant_is_its_entries'],
  ],
  [
    'a hold keeps less than it says',
    [change('wallet_hold', 'amount_minor = amount_minor + 1', "status = 'OPEN'")],
    ['hold_is_its_parts', 'grants_keep_what_is_held'],
  ],
  [
    'more of a hold was captured',
    [change('wallet_hold', 'captured_minor = captured_minor + 1', "status = 'CAPTURED'")],
    ['revenue_is_what_documents_say'],
  ],
  [
    'a top-up was refunded by more than was taken',
    [change('refund', 'amount_minor = amount_minor + 1', "purpose = 'top_up'")],
    ['top_up_refund_is_taken_once', 'refund_is_booked_once', 'provider_clearing_is_what_documents_say'],
  ],
  [
    'an invoice has no number any more',
    [change('invoice', 'number = null', "number like '%000001' and status = 'PAID'")],
    ['numbers_have_no_gaps'],
  ],
  [
    'a number of a credit note was given and not used',
    [
      sql`update account set last_credit_note_number = last_credit_note_number + 1
          where id = (select account_id from credit_note order by account_id limit 1) returning id as account_id`,
    ],
    ['numbers_have_no_gaps'],
  ],
];

describe('a healthy database', () => {
  test('is sound, each of its accounts is looked at once, and so is each posting', async () => {
    const { orm, guard } = await openForVerifying(world.databaseUrl);
    let [seen, postings] = [0, 0];
    for await (const verified of verify(orm)) {
      seen += verified.accounts;
      postings += verified.postings;
      expect(verified.violations).toEqual([]);
    }
    await orm.close();
    const [row] = await world.rows(sql<{ n: number }>`select count(*)::int as n from ledger_posting`);
    expect({ seen, postings, guarded: guard.inForce }).toEqual({
      seen: accounts.total,
      postings: row!.n,
      guarded: true,
    });
  });

  test('has a movement of every type, so that what is broken below was sound above', async () => {
    const rows = await world.rows(sql<{ type: string }>`select distinct type from ledger_transaction order by type`);
    expect(rows.map(({ type }) => type)).toEqual([
      ...['credit', 'credit_applied', 'credit_expired', 'credit_granted', 'credit_note', 'credit_note_voided'],
      ...['credit_returned', 'hold_captured', 'invoice_issued', 'invoice_payment', 'invoice_voided', 'refund'],
      ...['refund_failed', 'top_up', 'top_up_refund', 'wallet_payment'],
      'wallet_payment_returned',
    ]);
  });

  test('stays sound to who verifies it while money moves', async () => {
    const { orm } = await openForVerifying(world.databaseUrl);
    const account = await world.account();
    await addCard(world, account);
    let moving = true;
    const moves = Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let i = 0; i < 12; i++) await topUp(world.deps, account.actor, { amount: usd('1.00') });
      }),
    ).finally(() => {
      moving = false;
    });
    let postings = 0;
    while (moving)
      for await (const verified of verify(orm, { accountId: account.id })) {
        expect(verified.violations).toEqual([]);
        postings = verified.postings;
      }
    await moves;
    expect(postings).toBeGreaterThan(0);
    expect(await unsoundOf(orm.em.fork(), account.id)).toEqual([]);
    await orm.close();
  });

  test('movements of two processes whose clocks differ are sound in whatever order their ids are', async () => {
    const account = await topUps('5.00', '3.00');
    const swapped = await brokenBy(
      sql`alter table ledger_posting drop constraint ledger_posting_transaction_id_foreign`,
      sql`update ledger_transaction set id = '00000000-0000-7000-8000-000000000001'
          where account_id = ${account.id} and wallet_amount_minor = 300`,
      sql`update ledger_posting set transaction_id = '00000000-0000-7000-8000-000000000001'
          where account_id = ${account.id} and abs(amount_minor) = 300 returning account_id`,
    );
    expect(swapped).toEqual([]);
  });
});

async function topUps(...amounts: string[]): Promise<TestAccount> {
  const account = await world.account();
  await addCard(world, account);
  for (const amount of amounts) await topUp(world.deps, account.actor, { amount: usd(amount) });
  return account;
}

describe('is named by its rule when', () => {
  test.each(breaks)('%s', async (_, statements, rules) => {
    const found = await brokenBy(...statements);
    expect(found.map(({ rule }) => rule)).toEqual(expect.arrayContaining(rules));
  });

  test('every rule there is, is broken above', () => {
    const sources = ['wallet/verifyLedger', 'wallet/verifyGrants', 'invoice/verifyCredit', 'invoice/verifyBooks'].map(
      (name) => `src/${name}.ts`,
    );
    const text = sources.map((file) => fs.readFileSync(file, 'utf8')).join('\n');
    const rules = new Set([...text.matchAll(/'([a-z]+(?:_[a-z]+){3,})'/g)].map((match) => match[1]!));
    expect(rules.size).toBeGreaterThan(30);
    const broken = new Set(breaks.flatMap(([, , named]) => named));
    expect([...rules].filter((rule) => !broken.has(rule))).toEqual([]);
    for (const kind of ['receivable', 'revenue', 'tax', 'provider_clearing', 'refunds_payable', 'customer_credit'])
      expect(broken).toContain(`${kind}_is_what_documents_say`);
  });

  test('with account, subject, and what was expected and found', async () => {
    const account = await topUps('5.00');
    const [violation] = await brokenBy(
      sql`update ledger_account set balance_minor = 501 where account_id = ${account.id} and kind = 'wallet' returning account_id`,
    );
    expect(violation).toEqual({
      accountId: account.id,
      rule: 'balance_is_the_sum_of_postings',
      subject: 'wallet',
      expected: '5.00 USD',
      found: '5.01 USD',
    });
    const [gap] = await brokenBy(
      sql`update account set last_invoice_number = 2 where id = ${account.id} returning id as account_id`,
    );
    expect(gap).toMatchObject({ expected: '2 numbers, 1 to 2', found: '0 up to 0, without 1, 2' });
  });
});

describe('billing ledger verify', () => {
  let before: string | undefined;
  beforeAll(() => {
    before = process.env.DATABASE_URL;
    process.env.DATABASE_URL = world.databaseUrl;
  });
  afterAll(() => {
    if (before === undefined) delete process.env.DATABASE_URL;
    else process.env.DATABASE_URL = before;
  });

  async function run(...args: string[]) {
    let [out, err] = ['', ''];
    const code = await runCli(['ledger', 'verify', ...args], {
      stdin: (async function* () {})(),
      stdout: { write: (text) => (out += text) },
      stderr: { write: (text) => (err += text) },
    });
    return { code, out, err };
  }

  test('says that all is sound, at what rate, and that the database guards it', async () => {
    const { code, out, err } = await run();
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^[\d,]+ accounts, [\d,]+ postings in [\d.]+ s \([\d,]+ postings\/s\): all sound\.\n/);
    expect(out).toContain('lets the product (as billing_app) add to the ledger, but not change it');
  });

  test('ends with 1 and names what is broken; another account is sound by itself', async () => {
    const [account, other] = [await topUps('5.00'), await topUps('5.00')];
    const shift = (by: bigint) =>
      world.ownerRows(sql`update ledger_posting set amount_minor = amount_minor + ${by}
        where account_id = ${account.id} and amount_minor > 0`);
    await shift(1n);
    try {
      const { code, out } = await run();
      expect(code).toBe(1);
      expect(out).toMatch(new RegExp(`${account.publicId} +movement_sums_to_zero +mov_\\w+ +0.00 USD +0.01 USD`));
      expect(out).toMatch(/: 4 violations\.\n/);
      const found = await run('--account', account.publicId, '--json');
      expect([found.code, JSON.parse(found.out)]).toMatchObject([
        1,
        {
          sound: false,
          accounts: 1,
          postings: 2,
          appendOnly: { guarded: true },
          violations: [{ account: account.publicId }, {}, {}, {}],
        },
      ]);
      const sound = await run('--account', other.publicId, '--json');
      expect([sound.code, JSON.parse(sound.out)]).toMatchObject([0, { sound: true, complete: true, violations: [] }]);
    } finally {
      await shift(-1n);
    }
  });

  test('an account that is not there is an error', async () => {
    expect(await run('--account', 'acct_none')).toMatchObject({
      code: 1,
      err: "billing: No account with id 'acct_none'\n",
    });
  });
});
