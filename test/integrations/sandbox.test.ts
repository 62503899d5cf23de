import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import pg from 'pg';
import { money } from '../../src/domain/money.js';
import type { ChargeInput, RefundInput } from '../../src/integrations/payments/provider.js';
import { ProviderMisuse, ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { createSandboxProvider, type SandboxProvider, sandboxTables } from '../../src/integrations/payments/sandbox.js';
import { startEmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { tmpDataDir } from '../support/cluster.js';

/** An empty database: on the server of TEST_PG_URL, else on one started for this file. */
async function createDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const server = process.env.TEST_PG_URL;
  if (!server) {
    const dataDir = tmpDataDir(`sandbox-${randomUUID()}`);
    const running = await startEmbeddedPostgres({ dataDir, durable: false });
    const remove = (path: string) => fs.rmSync(path, { recursive: true, force: true });
    return {
      url: running.url,
      drop: async () => {
        await running.stop();
        for (const path of [dataDir, `${dataDir}.log`, `${dataDir}.password`]) remove(path);
      },
    };
  }
  const name = `sandbox_${randomUUID().replaceAll('-', '')}`;
  const run = async (statement: string) => {
    const admin = new pg.Client({ connectionString: server });
    await admin.connect();
    await admin.query(statement).finally(() => admin.end());
  };
  await run(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database ${name} with (force)`) };
}

/** `pool.end()` answers before the connections are closed; a server that stops meanwhile would fail them. */
async function closePool(ending: pg.Pool): Promise<void> {
  let open = ending.totalCount;
  const closed = new Promise<void>((resolve) => {
    if (open === 0) resolve();
    ending.on('remove', () => {
      open -= 1;
      if (open === 0) resolve();
    });
  });
  await ending.end();
  await closed;
}

const now = () => new Date('2026-03-10T12:00:00Z');
let database: Awaited<ReturnType<typeof createDatabase>>;
let pool: pg.Pool;
let sandbox: SandboxProvider;

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 20 });
  await pool.query(sandboxTables);
  sandbox = createSandboxProvider({ pool, now });
}, 60_000);

afterAll(async () => {
  if (pool) await closePool(pool);
  await database?.drop();
}, 60_000);

async function createCustomer(): Promise<{ accountId: string; customerRef: string }> {
  const accountId = randomUUID();
  return { accountId, ...(await sandbox.createCustomer({ accountId, name: 'Acme', key: 'customer' })) };
}

/** A charge of 49.00 USD, ready to send, on a new customer's new card. */
async function prepareCharge(token: string, change: Partial<ChargeInput> = {}): Promise<ChargeInput> {
  const customer = await createCustomer();
  const attached = await sandbox.attachPaymentMethod({ ...customer, token, key: 'attach' });
  if (attached.status !== 'attached') throw new Error(`${token}: ${attached.status}`);
  const { methodRef } = attached;
  const paymentId = randomUUID();
  const amount = money(4900n, 'USD');
  return { ...customer, methodRef, paymentId, key: `charge-${paymentId}`, amount, description: 'Invoice', ...change };
}

const attach = async (token: string) =>
  sandbox.attachPaymentMethod({ ...(await createCustomer()), token, key: 'attach' });

test('the tables may be created again over existing books', async () => {
  const charge = await prepareCharge('tok_visa');
  await sandbox.charge(charge);
  await pool.query(sandboxTables);
  expect(await sandbox.findCharge(charge)).toMatchObject({ status: 'succeeded' });
});

describe('cards that pay', () => {
  test.each([
    ['tok_visa', 'visa', '4242'],
    ['tok_visa_debit', 'visa', '5556'],
    ['tok_mastercard', 'mastercard', '4444'],
    ['tok_mastercard_debit', 'mastercard', '8210'],
    ['tok_amex', 'amex', '8431'],
    ['tok_discover', 'discover', '1117'],
    ['tok_jcb', 'jcb', '0505'],
    ['tok_diners', 'diners', '0004'],
    ['tok_unionpay', 'unionpay', '0005'],
    ['tok_threeDSecureOptional', 'visa', '3055'],
    ['pm_card_visa', 'visa', '4242'],
    ['pm_card_mastercard', 'mastercard', '4444'],
    ['pm_card_amex', 'amex', '8431'],
    ['pm_card_amex_threeDSecureNotSupported', 'amex', '0005'],
    ['pm_card_authenticationRequiredSetupForOffSession', 'visa', '0446'],
    ['tok_visa_xxx', 'visa', '4242'],
    ['tok_visa_debit_abc', 'visa', '5556'],
    ['tok_mastercard_1', 'mastercard', '4444'],
    ['pm_card_visa_xxx', 'visa', '4242'],
    ['pm_card_xxx', 'visa', '4242'],
  ])('%s is a %s ending in %s', async (token, brand, last4) => {
    const card = { type: 'card', brand, last4, expMonth: 12, expYear: 2029 };
    expect(await attach(token)).toEqual({ status: 'attached', methodRef: expect.stringMatching(/^pm_/), card });
    const charge = await prepareCharge(token);
    expect(await sandbox.charge(charge)).toEqual({
      status: 'succeeded',
      chargeRef: expect.stringMatching(/^ch_/),
    });
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
  });
});

describe('cards that attach and then decline', () => {
  test.each([
    ['tok_chargeDeclined', '0002', 'card_declined'],
    ['tok_chargeDeclinedInsufficientFunds', '9995', 'insufficient_funds'],
    ['tok_chargeDeclinedLostCard', '9987', 'lost_card'],
    ['tok_chargeDeclinedStolenCard', '9979', 'stolen_card'],
    ['tok_chargeDeclinedExpiredCard', '0069', 'expired_card'],
    ['tok_chargeDeclinedIncorrectCvc', '0127', 'incorrect_cvc'],
    ['tok_chargeDeclinedProcessingError', '0119', 'processing_error'],
    ['tok_chargeDeclinedFraudulent', '0019', 'fraudulent'],
    ['tok_chargeCustomerFail', '0341', 'card_declined'],
    ['tok_visa_chargeCustomerFailLostCard', '0341', 'lost_card'],
    ['tok_visa_chargeDeclined', '0002', 'card_declined'],
    ['tok_visa_debit_chargeDeclinedInsufficientFunds', '9995', 'insufficient_funds'],
    ['tok_threeDSecureRequiredProcessingError', '1280', 'card_declined'],
    ['pm_card_chargeDeclined', '0002', 'card_declined'],
    ['pm_card_chargeDeclinedInsufficientFunds', '9995', 'insufficient_funds'],
    ['pm_card_visa_chargeDeclined', '0002', 'card_declined'],
    ['pm_card_visa_chargeDeclinedLostCard', '9987', 'lost_card'],
    ['pm_card_visa_chargeDeclinedVelocityLimitExceeded', '6975', 'card_velocity_exceeded'],
    ['pm_card_chargeCustomerFail', '0341', 'card_declined'],
  ])('%s (%s) is declined with %s and moves nothing', async (token, last4, declineCode) => {
    expect(await attach(token)).toMatchObject({ status: 'attached', card: { brand: 'visa', last4 } });
    const charge = await prepareCharge(token);
    for (const key of ['first', 'second']) {
      expect(await sandbox.charge({ ...charge, key })).toEqual({
        status: 'declined',
        chargeRef: expect.stringMatching(/^ch_/),
        declineCode,
        message: expect.stringMatching(/\w{4,}.*\.$/),
      });
    }
    expect(await sandbox.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });
  });
});

describe('tokens that are no test card', () => {
  test.each([
    'tok_unknown',
    'pm_card_yyy',
    'tok_',
    'tok_visaxxx',
    'visa',
    '',
    'tok_visa_chargeDeclinedLost',
    'tok_mastercard_threeDSecureRequired',
    'tok_constructor',
  ])("'%s' is invalid and the message names tokens that work", async (token) => {
    const outcome = await attach(token);
    expect(outcome).toEqual({ status: 'invalid', message: expect.stringContaining('tok_visa, tok_mastercard') });
    expect(outcome).toMatchObject({ message: expect.stringContaining(`'${token}'`) });
  });

  test.each([
    '4242424242424242',
    '4242 4242 4242 4242',
    '3782-822463-10005',
    'card_4242424242424242',
  ])('a card number (%s) is refused, not repeated and not stored', async (token) => {
    const outcome = await attach(token);
    expect(outcome).toEqual({ status: 'invalid', message: expect.stringContaining('Card numbers are not accepted') });
    expect(JSON.stringify(outcome)).not.toMatch(/\d{4}/);
  });

  test('a card number behind a brand token is not stored', async () => {
    await prepareCharge('tok_visa_4242424242424242');
    const { rows } = await pool.query("select 1 from sandbox.payment_method m where m::text like '%424242%'");
    expect(rows).toEqual([]);
  });
});

describe('idempotency', () => {
  test('the same key sent twice is one charge with one answer', async () => {
    const charge = await prepareCharge('tok_visa');
    const first = await sandbox.charge(charge);
    expect(await sandbox.charge(charge)).toEqual(first);
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
  });

  test('20 parallel charges of one key are one charge with one answer', async () => {
    const charge = await prepareCharge('tok_visa');
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => sandbox.charge(charge)));
    expect(new Set(outcomes.map((outcome) => outcome.chargeRef)).size).toBe(1);
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
  });

  test('two keys are two charges', async () => {
    const charge = await prepareCharge('tok_visa');
    await sandbox.charge(charge);
    await sandbox.charge({ ...charge, key: 'another' });
    expect(await sandbox.moved(charge)).toEqual({ charges: 2, amountMinor: 9800n });
  });

  test('the same key on two accounts is two charges', async () => {
    const [one, other] = [
      await prepareCharge('tok_visa', { key: 'k' }),
      await prepareCharge('tok_chargeDeclined', { key: 'k' }),
    ];
    await sandbox.charge(one);
    await sandbox.charge(other);
    expect(await sandbox.findCharge(one)).toMatchObject({ status: 'succeeded' });
    expect(await sandbox.findCharge(other)).toMatchObject({ status: 'declined' });
  });

  test.each([
    ['amount', { amount: money(5000n, 'USD') }],
    ['currency', { amount: money(4900n, 'EUR') }],
    ['payment', { paymentId: randomUUID() }],
  ])('a key reused with another %s throws and moves nothing more', async (_what, change) => {
    const charge = await prepareCharge('tok_visa');
    await sandbox.charge(charge);
    const reused = sandbox.charge({ ...charge, ...change });
    await expect(reused).rejects.toThrow(/Idempotency key reused with other parameters/);
    await expect(reused).rejects.toBeInstanceOf(ProviderMisuse);
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
  });

  test('a key reused with another card throws', async () => {
    const charge = await prepareCharge('tok_visa');
    await sandbox.charge(charge);
    const other = await sandbox.attachPaymentMethod({ ...charge, token: 'tok_amex', key: 'attach-2' });
    expect(other.status).toBe('attached');
    const { methodRef } = other as { methodRef: string };
    await expect(sandbox.charge({ ...charge, methodRef })).rejects.toThrow(/reused with other parameters/);
  });

  test('one key makes one customer and one method, at once or later', async () => {
    const { accountId, customerRef } = await createCustomer();
    const again = await Promise.all(
      Array.from({ length: 10 }, () => sandbox.createCustomer({ accountId, name: 'Renamed', key: 'customer' })),
    );
    expect(new Set(again.map((customer) => customer.customerRef))).toEqual(new Set([customerRef]));

    const input = { accountId, customerRef, token: 'tok_visa', key: 'attach' };
    const methods = await Promise.all(Array.from({ length: 10 }, () => sandbox.attachPaymentMethod(input)));
    for (const method of methods) expect(method).toEqual(methods[0]);
    await expect(sandbox.attachPaymentMethod({ ...input, token: 'tok_amex' })).rejects.toThrow(/reused/);
  });
});

describe('findCharge', () => {
  test('a charge never seen is undefined', async () => {
    expect(await sandbox.findCharge({ key: 'never', paymentId: randomUUID() })).toBeUndefined();
  });

  test.each([
    'tok_visa',
    'tok_chargeDeclinedLostCard',
    'tok_threeDSecure2Required',
  ])('repeats the outcome of a %s charge without moving money', async (token) => {
    const charge = await prepareCharge(token);
    const outcome = await sandbox.charge(charge);
    const before = await sandbox.moved(charge);
    expect(await sandbox.findCharge(charge)).toEqual(outcome);
    expect(await sandbox.moved(charge)).toEqual(before);
  });

  test('falls back to the payment for money that moved under another key', async () => {
    const charge = await prepareCharge('tok_visa');
    const outcome = await sandbox.charge(charge);
    expect(await sandbox.findCharge({ key: 'lost', paymentId: charge.paymentId })).toEqual(outcome);
  });

  test("another key's decline is not this key's answer", async () => {
    const charge = await prepareCharge('tok_chargeDeclined');
    await sandbox.charge(charge);
    expect(await sandbox.findCharge({ key: 'second-try', paymentId: charge.paymentId })).toBeUndefined();
  });

  test("a key's own decline wins over a success under another key", async () => {
    const charge = await prepareCharge('tok_chargeDeclined');
    const declined = await sandbox.charge(charge);
    const attached = await sandbox.attachPaymentMethod({ ...charge, token: 'tok_visa', key: 'attach-2' });
    const { methodRef } = attached as { methodRef: string };
    await sandbox.charge({ ...charge, methodRef, key: 'second-try' });
    expect(await sandbox.findCharge(charge)).toEqual(declined);
  });
});

describe('3-D Secure', () => {
  test.each([
    ['tok_threeDSecure2Required', '3220'],
    ['tok_threeDSecureRequired', '3063'],
    ['pm_card_threeDSecure2Required', '3220'],
    ['pm_card_authenticationRequired', '3184'],
    ['pm_card_authenticationRequiredOnSetup', '3155'],
  ])('%s (%s) asks for a challenge and pays once it succeeds', async (token, last4) => {
    expect(await attach(token)).toMatchObject({ status: 'attached', card: { last4 } });
    const charge = await prepareCharge(token);
    const pending = await sandbox.charge(charge);
    expect(pending).toEqual({
      status: 'requires_action',
      chargeRef: expect.stringMatching(/^ch_/),
      clientSecret: expect.stringContaining(`${pending.chargeRef}_secret_`),
    });
    expect(await sandbox.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });

    const { chargeRef } = pending;
    expect(await sandbox.authenticate({ chargeRef, success: true })).toEqual({ status: 'succeeded', chargeRef });
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    expect(await sandbox.charge(charge)).toEqual({ status: 'succeeded', chargeRef });
  });

  test('a failed challenge declines, and no later answer changes that', async () => {
    const charge = await prepareCharge('tok_threeDSecure2Required');
    const { chargeRef } = await sandbox.charge(charge);
    const failed = await sandbox.authenticate({ chargeRef, success: false });
    expect(failed).toMatchObject({ status: 'declined', declineCode: 'payment_intent_authentication_failure' });
    expect(await sandbox.authenticate({ chargeRef, success: true })).toEqual(failed);
    expect(await sandbox.findCharge(charge)).toEqual(failed);
    expect(await sandbox.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });
  });

  test('a paid challenge is not undone by a later failure', async () => {
    const charge = await prepareCharge('tok_threeDSecure2Required');
    const { chargeRef } = await sandbox.charge(charge);
    await sandbox.authenticate({ chargeRef, success: true });
    expect(await sandbox.authenticate({ chargeRef, success: false })).toEqual({ status: 'succeeded', chargeRef });
  });

  test.each([
    ['tok_threeDSecureRequiredChargeDeclined', 'card_declined'],
    ['pm_card_authenticationRequiredChargeDeclinedInsufficientFunds', 'insufficient_funds'],
  ])('%s is declined (%s) after a good challenge', async (token, declineCode) => {
    const charge = await prepareCharge(token);
    const { chargeRef, status } = await sandbox.charge(charge);
    expect(status).toBe('requires_action');
    expect(await sandbox.authenticate({ chargeRef, success: true })).toMatchObject({ status: 'declined', declineCode });
    expect(await sandbox.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });
  });

  test('an unknown charge is misuse', async () => {
    await expect(sandbox.authenticate({ chargeRef: 'ch_none', success: true })).rejects.toBeInstanceOf(ProviderMisuse);
  });
});

describe('refunds', () => {
  /** 20.00 USD of a charge of 49.00, ready to send. */
  async function prepareRefund(token = 'tok_visa', change: Partial<RefundInput> = {}): Promise<RefundInput> {
    const charge = await prepareCharge(token);
    const { accountId } = charge;
    const { chargeRef } = await sandbox.charge(charge);
    const refundId = randomUUID();
    return { accountId, chargeRef, refundId, key: `refund-${refundId}`, amount: money(2000n, 'USD'), ...change };
  }
  const another = (refund: RefundInput, minor: bigint): RefundInput => {
    const refundId = randomUUID();
    return { ...refund, refundId, key: `refund-${refundId}`, amount: money(minor, 'USD') };
  };

  test('give back part after part, never more than was charged', async () => {
    const refund = await prepareRefund();
    const succeeded = { status: 'succeeded', refundRef: expect.stringMatching(/^re_/) };
    expect(await sandbox.refund(refund)).toEqual(succeeded);
    expect(await sandbox.moved(refund)).toEqual({ charges: 1, amountMinor: 2900n });
    await expect(sandbox.refund(another(refund, 2901n))).rejects.toThrow('Cannot refund 2901');
    expect(await sandbox.refund(another(refund, 2900n))).toEqual(succeeded);
    await expect(sandbox.refund(another(refund, 1n))).rejects.toBeInstanceOf(ProviderMisuse);
    expect(await sandbox.moved(refund)).toEqual({ charges: 1, amountMinor: 0n });
  });

  test('20 parallel refunds of one key are one refund; of 20 keys, as many as the charge holds', async () => {
    const refund = await prepareRefund();
    const same = await Promise.all(Array.from({ length: 20 }, () => sandbox.refund(refund)));
    expect(new Set(same.map(({ refundRef }) => refundRef)).size).toBe(1);
    expect(await sandbox.refund(refund)).toEqual(same[0]);
    const others = await Promise.allSettled(Array.from({ length: 20 }, () => sandbox.refund(another(refund, 500n))));
    expect(others.filter(({ status }) => status === 'fulfilled')).toHaveLength(5); // 4900 - 2000 = 5 × 500 + 400
    expect(await sandbox.moved(refund)).toEqual({ charges: 1, amountMinor: 400n });
  });

  test.each(['tok_refundFail', 'pm_card_refundFail'])('to %s fail and move nothing', async (token) => {
    const refund = await prepareRefund(token);
    const failed = {
      status: 'failed',
      refundRef: expect.stringMatching(/^re_/),
      failureCode: 'expired_or_canceled_card',
    };
    expect(await sandbox.refund(refund)).toEqual(failed);
    expect(await sandbox.findRefund(refund)).toEqual(failed);
    expect(await sandbox.moved(refund)).toEqual({ charges: 1, amountMinor: 4900n });
  });

  test('are found by their key, else by their id when money moved; never seen is undefined', async () => {
    const refund = await prepareRefund();
    expect(await sandbox.findRefund(refund)).toBeUndefined();
    const answer = await sandbox.refund(refund);
    expect(await sandbox.findRefund(refund)).toEqual(answer);
    expect(await sandbox.findRefund({ ...refund, key: 'another' })).toEqual(answer);
  });

  test.each<[string, Partial<RefundInput>]>([
    ['of an unknown charge', { chargeRef: 'ch_unknown' }],
    ["of another account's charge", { accountId: randomUUID() }],
    ['in another currency', { amount: money(2000n, 'EUR') }],
    ['of nothing', { amount: money(0n, 'USD') }],
  ])('%s are misuse', async (_what, change) => {
    await expect(sandbox.refund(await prepareRefund('tok_visa', change))).rejects.toBeInstanceOf(ProviderMisuse);
  });

  test('a key reused with another amount throws, and a declined charge has nothing to give back', async () => {
    const refund = await prepareRefund();
    await sandbox.refund(refund);
    await expect(sandbox.refund({ ...refund, amount: money(1n, 'USD') })).rejects.toThrow('Idempotency key reused');
    await expect(sandbox.refund(await prepareRefund('tok_chargeDeclined'))).rejects.toBeInstanceOf(ProviderMisuse);
  });
});

describe('durability', () => {
  test('a new provider on a new pool knows the charge and repeats no money', async () => {
    const charge = await prepareCharge('tok_visa');
    const outcome = await sandbox.charge(charge);
    const laterPool = new pg.Pool({ connectionString: database.url });
    try {
      const later = createSandboxProvider({ pool: laterPool, now });
      expect(await later.findCharge(charge)).toEqual(outcome);
      expect(await later.charge(charge)).toEqual(outcome);
      expect(await later.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    } finally {
      await closePool(laterPool);
    }
  });

  test("money stays moved when billing's transaction rolls back", async () => {
    const charge = await prepareCharge('tok_visa');
    const billing = await pool.connect();
    try {
      await billing.query('begin');
      await sandbox.charge(charge);
      await billing.query('rollback');
    } finally {
      billing.release();
    }
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
  });

  test('a database out of reach is ProviderUnavailable with its cause', async () => {
    const charge = await prepareCharge('tok_visa');
    const closed = new pg.Pool({ connectionString: database.url });
    await closed.end();
    const call = createSandboxProvider({ pool: closed, now }).charge(charge);
    await expect(call).rejects.toBeInstanceOf(ProviderUnavailable);
    await expect(call).rejects.toMatchObject({ cause: expect.any(Error) });
    expect(await sandbox.findCharge(charge)).toBeUndefined();
  });
});

describe('detach', () => {
  test('a detached card is declined, and detaching twice is the same as once', async () => {
    const charge = await prepareCharge('tok_visa');
    await sandbox.detachPaymentMethod(charge);
    await sandbox.detachPaymentMethod(charge);
    expect(await sandbox.charge(charge)).toMatchObject({
      status: 'declined',
      declineCode: 'payment_method_detached',
    });
    expect(await sandbox.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });
  });

  test('a charge made before is still told as it was', async () => {
    const charge = await prepareCharge('tok_visa');
    const outcome = await sandbox.charge(charge);
    await sandbox.detachPaymentMethod(charge);
    expect(await sandbox.charge(charge)).toEqual(outcome);
  });

  test('an unknown card is misuse', async () => {
    await expect(sandbox.detachPaymentMethod({ methodRef: 'pm_none' })).rejects.toBeInstanceOf(ProviderMisuse);
  });
});

describe('misuse', () => {
  test.each([0n, -1n, 100_000_000n])('an amount of %s minor units is refused', async (minorUnits) => {
    const charge = await prepareCharge('tok_visa', { amount: money(minorUnits, 'USD') });
    const refused = sandbox.charge(charge);
    await expect(refused).rejects.toThrow(`Cannot charge ${minorUnits} minor units`);
    await expect(refused).rejects.toBeInstanceOf(ProviderMisuse);
    expect(await sandbox.findCharge(charge)).toBeUndefined();
  });

  test.each([1n, 99_999_999n])('an amount of %s minor units is charged', async (minorUnits) => {
    const charge = await prepareCharge('tok_visa', { amount: money(minorUnits, 'USD') });
    await sandbox.charge(charge);
    expect(await sandbox.moved(charge)).toEqual({ charges: 1, amountMinor: minorUnits });
  });

  test("another account's card or customer cannot be charged", async () => {
    const [mine, theirs] = [await prepareCharge('tok_visa'), await prepareCharge('tok_visa')];
    const { methodRef, customerRef } = theirs;
    await expect(sandbox.charge({ ...mine, methodRef })).rejects.toThrow(/No payment method/);
    await expect(sandbox.charge({ ...mine, methodRef, customerRef })).rejects.toThrow(/No payment method/);
    await expect(sandbox.charge({ ...mine, customerRef })).rejects.toThrow(/No payment method/);
    const attaching = sandbox.attachPaymentMethod({ ...mine, customerRef, token: 'tok_visa', key: 'attach-2' });
    await expect(attaching).rejects.toThrow(/No customer/);
    expect(await sandbox.moved(theirs)).toEqual({ charges: 0, amountMinor: 0n });
  });

  test('an account id that is no UUID is misuse, not an outage', async () => {
    const created = sandbox.createCustomer({ accountId: 'acme', name: 'Acme', key: 'k' });
    await expect(created).rejects.toBeInstanceOf(ProviderMisuse);
  });
});
