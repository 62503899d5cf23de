import { InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { sql } from '../../src/platform/sql.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import {
  addCard,
  couponOf,
  freshKey,
  invoicesOf,
  linesOf,
  operatorOf,
  paymentsOf,
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

const item = '{ id description quantity unitAmount amount { amount } }';
const add = (input: string) =>
  `mutation { addInvoiceItem(input: { idempotencyKey: "${freshKey()}", ${input} }) { invoiceItem ${item} replayed userErrors { code field } } }`;
const create = (items: string, key = freshKey()) =>
  `mutation { createInvoice(input: { idempotencyKey: "${key}", items: [${items}] }) { invoice { id status total { amount } } replayed userErrors { code field } } }`;
const waiting = async (account: TestAccount) =>
  (await world.gql(account.token, `{ viewer { invoiceItems ${item} } }`)).data.viewer.invoiceItems;

test('items wait for the next invoice, whatever it is for, and are billed once', async () => {
  const { account } = await subscribed(world);
  const ask = await operatorOf(world, account);
  const { addInvoiceItem } = await ask(add('description: "Setup", quantity: "2.5", unitAmount: "39.99"'));
  expect(addInvoiceItem).toEqual({
    invoiceItem: {
      id: expect.stringMatching(/^ii_/),
      description: 'Setup',
      quantity: '2.5',
      unitAmount: '39.99',
      amount: { amount: '99.98' },
    },
    replayed: false,
    userErrors: [],
  });
  await ask(add('description: "Goodwill", amount: { amount: "-10.00", currency: "USD" }'));
  expect(await waiting(account)).toHaveLength(2);
  world.clock.set('2024-05-01T00:01:00Z');
  await runDue(world);
  const [, renewal] = await invoicesOf(world, account);
  expect(await linesOf(world, renewal!)).toEqual(['Basic 3000', 'Setup 9998', 'Goodwill -1000']);
  expect(renewal).toMatchObject({ status: 'PAID', totalMinor: 11_998n });
  const [line] = await world.deps.db.orm.em
    .fork()
    .find(InvoiceLine, { accountId: account.id, invoiceId: renewal!.id, description: 'Setup' });
  expect(line).toMatchObject({
    kind: 'one_off',
    quantity: '2.500000000000',
    periodStart: null,
    itemId: expect.any(String),
  });
  expect(line!.explanation).toEqual([
    { label: 'One-off', expression: '2.5 × 39.99 USD, rounded HALF_UP', result: '99.98' },
  ]);
  expect(await waiting(account)).toEqual([]);
  world.clock.set('2024-06-01T00:01:00Z');
  await runDue(world);
  expect(await linesOf(world, (await invoicesOf(world, account))[2]!)).toEqual(['Basic 3000']);
  await expectSoundLedger(world, account.id);
});

test('an invoice of its own bills what waits and what is given, with coupon and tax, and is collected', async () => {
  const account = await world.account();
  await addCard(world, account);
  await settle(world, account, { taxes: ['VAT 20'] });
  const ask = await operatorOf(world, account);
  await take(world, account, await couponOf(world, { percent: '10', duration: 'ONCE' }));
  await ask(add('description: "Waiting", amount: { amount: "10", currency: "USD" }'));
  const key = freshKey();
  const given = '{ description: "Given", amount: { amount: "5", currency: "USD" } }';
  const { createInvoice } = await ask(create(given, key));
  expect(createInvoice).toMatchObject({ invoice: { status: 'PAID', total: { amount: '16.20' } }, userErrors: [] });
  expect((await ask(create(given, key))).createInvoice).toMatchObject({
    invoice: { id: createInvoice.invoice.id },
    replayed: true,
  });
  const [invoice] = await invoicesOf(world, account);
  expect(invoice).toMatchObject({ reason: 'one_off', periodStart: null, subscriptionId: null });
  expect(await linesOf(world, invoice!)).toEqual(['Waiting 1000', 'Given 500']);
  expect(await invoicesOf(world, account)).toHaveLength(1);
  // No period's invoice: the coupon is not used up.
  expect((await world.gql(account.token, '{ viewer { coupons { periodsLeft } } }')).data.viewer.coupons).toEqual([
    { periodsLeft: 1 },
  ]);
  expect((await ask(create(''))).createInvoice.userErrors).toEqual([{ code: 'ILLEGAL_STATE', field: ['items'] }]);
  await expectSoundLedger(world, account.id);
});

test('an invoice of its own that is declined is tried again, and given up, as a renewal is', async () => {
  const account = await world.account();
  await addCard(world, account, 'tok_chargeCustomerFail');
  const ask = await operatorOf(world, account);
  const { createInvoice } = await ask(create('{ description: "Work", amount: { amount: "5", currency: "USD" } }'));
  expect(createInvoice).toMatchObject({ invoice: { status: 'OPEN' }, userErrors: [] });
  expect((await invoicesOf(world, account))[0]!.nextPaymentAttemptAt).not.toBeNull();
  await addCard(world, account, 'tok_visa');
  await runDue(world);
  expect((await invoicesOf(world, account))[0]).toMatchObject({ status: 'PAID', amountPaidMinor: 500n });
  expect(await paymentsOf(world, account)).toHaveLength(2);
  await expectSoundLedger(world, account.id);
});

test('items that sum below zero become credit in the wallet, with the tax on them', async () => {
  const account = await world.account();
  await settle(world, account, { taxes: ['VAT 20'] });
  const ask = await operatorOf(world, account);
  const { createInvoice } = await ask(create('{ description: "Sorry", amount: { amount: "-5", currency: "USD" } }'));
  expect(createInvoice.invoice).toMatchObject({ status: 'PAID', total: { amount: '0.00' } });
  expect(await balanceOf(world, account.id, 'wallet')).toBe(600n);
  expect(await balanceOf(world, account.id, 'tax')).toBe(-100n);
  await expectSoundLedger(world, account.id);
});

test('an item on a first invoice that is never paid waits again', async () => {
  const account = await world.account();
  await addCard(world, account, 'tok_chargeCustomerFail');
  const ask = await operatorOf(world, account);
  await ask(add('description: "Setup", amount: { amount: "7", currency: "USD" }'));
  const start = () => subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
  await start();
  expect(await waiting(account)).toEqual([]);
  await addCard(world, account, 'tok_visa');
  const { data } = await world.gql(
    account.token,
    '{ preview(input: { subscribe: { idempotencyKey: "p", planCode: "basic" } }) { dueNow { amount } invoice { lines { description } } nextInvoice { lines { description } } } }',
  );
  expect(data.preview).toEqual({
    dueNow: { amount: '37.00' },
    invoice: { lines: [{ description: 'Basic' }, { description: 'Setup' }] },
    nextInvoice: { lines: [{ description: 'Basic' }] },
  });
  await start();
  expect((await invoicesOf(world, account)).map((i) => [i.status, i.totalMinor])).toEqual([
    ['VOID', 3700n],
    ['PAID', 3700n],
  ]);
  expect(await waiting(account)).toEqual([]);
  await expectSoundLedger(world, account.id);
});

test('an item can be taken back while it waits', async () => {
  const account = await world.account();
  const ask = await operatorOf(world, account);
  const remove = (id: string) =>
    `mutation { removeInvoiceItem(input: { idempotencyKey: "${freshKey()}", invoiceItemId: "${id}" }) { userErrors { code } } }`;
  const made = async () =>
    (await ask(add('description: "Setup", amount: { amount: "7", currency: "USD" }'))).addInvoiceItem.invoiceItem.id;
  const first = await made();
  expect((await ask(remove(first))).removeInvoiceItem.userErrors).toEqual([]);
  expect(await waiting(account)).toEqual([]);
  expect((await ask(remove(first))).removeInvoiceItem.userErrors).toEqual([{ code: 'NOT_FOUND' }]);
  const second = await made();
  await ask(create(''));
  expect((await ask(remove(second))).removeInvoiceItem.userErrors).toEqual([{ code: 'ILLEGAL_STATE' }]);
});

test.each([
  ['description: "", amount: { amount: "7", currency: "USD" }', ['description']],
  ['description: "x"', ['amount']],
  ['description: "x", amount: { amount: "7", currency: "USD" }, unitAmount: "1"', ['amount']],
  ['description: "x", amount: { amount: "7", currency: "USD" }, quantity: "1"', ['quantity']],
  ['description: "x", amount: { amount: "7", currency: "EUR" }', ['amount']],
  ['description: "x", amount: { amount: "0", currency: "USD" }', ['amount']],
  ['description: "x", amount: { amount: "-10000000000.01", currency: "USD" }', ['amount']],
  ['description: "x", quantity: "10000000000", unitAmount: "1.01"', ['amount']],
])('an item of %s is refused', async (input, field) => {
  const ask = await operatorOf(world, await world.account());
  expect((await ask(add(input))).addInvoiceItem.userErrors).toEqual([{ code: 'INVALID', field }]);
});

test('a hundred items wait at the most', async () => {
  const account = await world.account();
  await world.rows(sql`
    insert into invoice_item (account_id, id, description, quantity, amount_minor, created_at)
    select ${account.id}, gen_random_uuid(), 'x', 1, 1, now() from generate_series(1, 100)`);
  const ask = await operatorOf(world, account);
  const { addInvoiceItem } = await ask(add('description: "x", amount: { amount: "7", currency: "USD" }'));
  expect(addInvoiceItem.userErrors).toMatchObject([{ code: 'INVALID' }]);
});

test('a customer can neither bill nor credit himself', async () => {
  const account = await world.account();
  for (const mutation of [
    add('description: "x", amount: { amount: "-7", currency: "USD" }'),
    create(''),
    'mutation { removeInvoiceItem(input: { idempotencyKey: "r", invoiceItemId: "ii_x" }) { replayed } }',
  ]) {
    const { errors } = await world.gql(account.token, mutation);
    expect(errors?.[0].extensions.code).toBe('FORBIDDEN');
  }
});
