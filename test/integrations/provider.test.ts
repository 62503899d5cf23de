import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { money } from '../../src/domain/money.js';
import type { ChargeInput, PaymentProvider } from '../../src/integrations/payments/provider.js';
import { ProviderMisuse, ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { createSandboxProvider, sandboxTables } from '../../src/integrations/payments/sandbox.js';
import { createStripeProvider } from '../../src/integrations/payments/stripe.js';
import { startStripeStandin } from '../support/stripeStandin/standin.js';

/** A provider, and the way to look into its books and to play its card holders. */
interface Bench {
  provider: PaymentProvider;
  moved(of: { accountId: string }): Promise<{ charges: number; amountMinor: bigint }>;
  authenticate(chargeRef: string, success: boolean): Promise<void>;
  /** The same, out of reach. */
  away: PaymentProvider;
  /** Is a token's card asked about when it is attached, and which code does a plain decline have? */
  words: { unknownToken: string; challenge: string; declined: string; confirmAttachment: boolean };
  confirm(setupRef: string): Promise<void>;
  stop(): Promise<void>;
}

const benches: Record<string, () => Promise<Bench>> = {
  sandbox: async () => {
    const base = process.env.TEST_PG_URL!;
    const name = `provider_${randomUUID().replaceAll('-', '')}`;
    const admin = new pg.Client({ connectionString: base });
    await admin.connect();
    await admin.query(`create database ${name}`);
    const pool = new pg.Pool({ connectionString: base.replace(/[^/]+$/, name), max: 20 });
    pool.on('error', () => {}); // the database is dropped at the end
    await pool.query(sandboxTables);
    const now = () => new Date('2026-03-10T12:00:00Z');
    const provider = createSandboxProvider({ pool, now });
    const closed = new pg.Pool({ connectionString: base });
    await closed.end();
    return {
      provider,
      moved: (of) => provider.moved(of),
      authenticate: async (chargeRef, success) => {
        await provider.authenticate({ chargeRef, success });
      },
      away: createSandboxProvider({ pool: closed, now }),
      words: {
        unknownToken: 'tok_nosuchcard',
        challenge: 'tok_authenticationRequired',
        declined: 'card_declined',
        confirmAttachment: false,
      },
      confirm: async () => {},
      stop: async () => {
        await pool.end();
        await admin.query(`drop database ${name} with (force)`);
        await admin.end();
      },
    };
  },
  stripe: async () => {
    const standin = await startStripeStandin();
    const provider = createStripeProvider({ secretKey: 'sk_test_x', apiBase: standin.url, timeoutMs: 1_000 });
    return {
      provider,
      moved: async ({ accountId }) => {
        const { charges, amountMinor } = standin.books.ledger(accountId);
        return { charges, amountMinor };
      },
      authenticate: async (chargeRef, success) => standin.books.authenticate(chargeRef, success),
      away: createStripeProvider({ secretKey: 'sk_test_x', apiBase: 'http://127.0.0.1:9' }),
      words: {
        unknownToken: 'tok_nosuchcard',
        challenge: 'tok_authenticationRequired',
        declined: 'generic_decline',
        confirmAttachment: true,
      },
      confirm: async (setupRef) => standin.books.authenticate(setupRef, true),
      stop: () => standin.stop(),
    };
  },
};

describe.each(Object.keys(benches))('%s', (name) => {
  let bench: Bench;
  let provider: PaymentProvider;
  beforeAll(async () => {
    bench = await benches[name]!();
    provider = bench.provider;
  });
  afterAll(() => bench.stop());

  async function createCustomer(): Promise<{ accountId: string; customerRef: string }> {
    const accountId = randomUUID();
    return { accountId, ...(await provider.createCustomer({ accountId, name: 'Acme', key: `cus-${accountId}` })) };
  }

  const attachKey = () => `attach-${randomUUID()}`;

  /** A charge of 49.00 USD, ready to send, on a new customer's new card. */
  async function prepareCharge(token: string, change: Partial<ChargeInput> = {}): Promise<ChargeInput> {
    const customer = await createCustomer();
    let attached = await provider.attachPaymentMethod({ ...customer, token, key: attachKey() });
    if (attached.status === 'requires_action') {
      const { setupRef } = attached;
      await bench.confirm(setupRef);
      attached = await provider.findAttachment!({ setupRef });
    }
    if (attached.status !== 'attached') throw new Error(`${token}: ${attached.status}`);
    const { methodRef } = attached;
    const paymentId = randomUUID();
    const amount = money(4900n, 'USD');
    return { ...customer, methodRef, paymentId, key: `pay-${paymentId}`, amount, description: 'Invoice', ...change };
  }

  async function charged(change: Partial<ChargeInput> = {}): Promise<ChargeInput & { chargeRef: string }> {
    const charge = await prepareCharge('tok_visa', change);
    const outcome = await provider.charge(charge);
    expect(outcome.status).toBe('succeeded');
    return { ...charge, chargeRef: outcome.chargeRef };
  }

  describe('attach', () => {
    test.each([
      ['tok_visa', 'visa', '4242'],
      ['tok_mastercard', 'mastercard', '4444'],
      ['pm_card_amex', 'amex', '8431'],
    ])('%s becomes a %s ending in %s', async (token, brand, last4) => {
      const input = { ...(await createCustomer()), token, key: attachKey() };
      const attached = await provider.attachPaymentMethod(input);
      expect(attached).toEqual({
        status: 'attached',
        methodRef: expect.stringMatching(/^pm_/),
        card: { type: 'card', brand, last4, expMonth: 12, expYear: expect.any(Number) },
      });
      expect(await provider.attachPaymentMethod(input)).toEqual(attached);
    });

    test('a token that is none, and a card number, are invalid; the number is not repeated', async () => {
      const customer = await createCustomer();
      const attach = (token: string) => provider.attachPaymentMethod({ ...customer, token, key: attachKey() });
      expect(await attach(bench.words.unknownToken)).toEqual({ status: 'invalid', message: expect.any(String) });
      expect(await attach('4242 4242 4242 4242')).toEqual({
        status: 'invalid',
        message: expect.not.stringContaining('4242'),
      });
    });

    test('a key used again with another token is misuse', async () => {
      const input = { ...(await createCustomer()), token: 'tok_visa', key: attachKey() };
      await provider.attachPaymentMethod(input);
      await expect(provider.attachPaymentMethod({ ...input, token: 'tok_amex' })).rejects.toThrow(/key reused/);
    });

    test("another account's customer gets no card that is not its own", async () => {
      const [mine, theirs] = [await prepareCharge('tok_visa'), await prepareCharge('tok_visa')];
      await expect(provider.charge({ ...mine, methodRef: theirs.methodRef })).rejects.toBeInstanceOf(ProviderMisuse);
      expect((await bench.moved(theirs)).charges).toBe(0);
    });

    test('a renamed account keeps its customer', async () => {
      const { accountId, customerRef } = await createCustomer();
      const again = await provider.createCustomer({ accountId, name: 'Renamed', key: `cus-${accountId}` });
      expect(again).toEqual({ customerRef });
    });

    test('a detached card pays nothing, and detaching twice is the same as once', async () => {
      const charge = await prepareCharge('tok_visa');
      await provider.detachPaymentMethod(charge);
      await provider.detachPaymentMethod(charge);
      const after = await provider.charge(charge).catch((error: unknown) => error);
      expect(after instanceof ProviderMisuse || (after as { status: string }).status === 'declined').toBe(true);
      expect((await bench.moved(charge)).charges).toBe(0);
      await expect(provider.detachPaymentMethod({ methodRef: 'pm_none' })).rejects.toBeInstanceOf(ProviderMisuse);
    });
  });

  describe('charge', () => {
    test('moves the money once, whatever is repeated', async () => {
      const charge = await prepareCharge('tok_visa');
      const first = await provider.charge(charge);
      expect(first).toEqual({ status: 'succeeded', chargeRef: expect.any(String) });
      expect(await provider.charge(charge)).toEqual(first);
      expect(await bench.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    });

    test('20 at once with one key are one charge', async () => {
      const charge = await prepareCharge('tok_visa');
      const outcomes = await Promise.all(Array.from({ length: 20 }, () => provider.charge(charge)));
      expect(new Set(outcomes.map(({ chargeRef }) => chargeRef)).size).toBe(1);
      expect(await bench.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    });

    test.each([
      ['tok_chargeCustomerFail', undefined],
      ['tok_visa_chargeCustomerFailLostCard', 'lost_card'],
      ['tok_visa_chargeCustomerFailStolenCard', 'stolen_card'],
    ])('%s is declined with its code and moves nothing', async (token, code) => {
      const charge = await prepareCharge(token);
      const declined = {
        status: 'declined',
        chargeRef: expect.any(String),
        declineCode: code ?? bench.words.declined,
        message: expect.stringMatching(/\.$/),
      };
      expect(await provider.charge(charge)).toEqual(declined);
      expect(await provider.charge(charge)).toEqual(declined);
      expect(await bench.moved(charge)).toEqual({ charges: 0, amountMinor: 0n });
    });

    test.each([
      ['amount', { amount: money(5000n, 'USD') }],
      ['currency', { amount: money(4900n, 'EUR') }],
      ['payment', { paymentId: randomUUID() }],
    ])('a key used again with another %s is misuse and moves nothing more', async (_what, change) => {
      const charge = await charged();
      await expect(provider.charge({ ...charge, ...change })).rejects.toThrow(/Idempotency key reused/);
      expect(await bench.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    });

    test.each([
      ['JPY', 500n],
      ['KWD', 5120n],
      ['EUR', 1999n],
    ])('%s is charged to the last of its minor units', async (currency, minorUnits) => {
      const charge = await charged({ amount: money(minorUnits, currency) });
      expect(await bench.moved(charge)).toEqual({ charges: 1, amountMinor: minorUnits });
    });

    test('nothing is charged that is nothing', async () => {
      const charge = await prepareCharge('tok_visa', { amount: money(0n, 'USD') });
      await expect(provider.charge(charge)).rejects.toBeInstanceOf(ProviderMisuse);
    });
  });

  describe('3-D Secure', () => {
    test('a challenge pays once its holder has answered, and every question then says so', async () => {
      const charge = await prepareCharge(bench.words.challenge);
      const waiting = await provider.charge(charge);
      const { chargeRef } = waiting;
      expect(waiting).toEqual({
        status: 'requires_action',
        chargeRef,
        clientSecret: expect.stringContaining(chargeRef),
      });
      expect(await provider.findCharge(charge)).toEqual(waiting);
      expect((await bench.moved(charge)).charges).toBe(0);
      await bench.authenticate(chargeRef, true);
      expect(await provider.findCharge(charge)).toEqual({ status: 'succeeded', chargeRef });
      expect(await provider.charge(charge)).toEqual({ status: 'succeeded', chargeRef });
      expect(await bench.moved(charge)).toEqual({ charges: 1, amountMinor: 4900n });
    });

    test('a challenge that fails is a decline', async () => {
      const charge = await prepareCharge(bench.words.challenge);
      const { chargeRef } = await provider.charge(charge);
      await bench.authenticate(chargeRef, false);
      const declined = { status: 'declined', declineCode: 'payment_intent_authentication_failure' };
      expect(await provider.findCharge({ ...charge, chargeRef })).toMatchObject(declined);
      expect((await bench.moved(charge)).charges).toBe(0);
    });
  });

  describe('findCharge', () => {
    test('what was never seen is undefined', async () => {
      const { customerRef } = await createCustomer();
      const unseen = { key: 'never', paymentId: randomUUID() };
      expect(await provider.findCharge(unseen)).toBeUndefined();
      expect(await provider.findCharge({ ...unseen, customerRef })).toBeUndefined();
    });

    test.each([
      'tok_visa',
      'tok_chargeCustomerFail',
    ])('tells the outcome of a lost answer (%s), by whatever is known, and moves nothing', async (token) => {
      const charge = await prepareCharge(token);
      const { key, paymentId, customerRef } = charge;
      const outcome = await provider.charge(charge);
      const before = await bench.moved(charge);
      expect(await provider.findCharge({ key, paymentId })).toEqual(outcome);
      expect(await provider.findCharge({ key, paymentId, customerRef })).toEqual(outcome);
      expect(await provider.findCharge({ key, paymentId, chargeRef: outcome.chargeRef })).toEqual(outcome);
      expect(await bench.moved(charge)).toEqual(before);
    });

    test("money that moved under another key is found, another key's decline is not this key's answer", async () => {
      const paid = await charged();
      const { chargeRef, paymentId } = paid;
      expect(await provider.findCharge({ key: 'lost', paymentId })).toEqual({ status: 'succeeded', chargeRef });
      const declined = await prepareCharge('tok_chargeCustomerFail');
      await provider.charge(declined);
      expect(await provider.findCharge({ key: 'second-try', paymentId: declined.paymentId })).toBeUndefined();
    });
  });

  describe('refund', () => {
    const refundOf = ({ accountId, chargeRef }: { accountId: string; chargeRef: string }, minorUnits: bigint) => {
      const refundId = randomUUID();
      return { key: `refund-${refundId}`, accountId, refundId, chargeRef, amount: money(minorUnits, 'USD') };
    };

    test('gives a part and then the rest back, and never more', async () => {
      const charge = await charged();
      const part = refundOf(charge, 1900n);
      const first = await provider.refund(part);
      expect(first).toEqual({ status: 'succeeded', refundRef: expect.stringMatching(/^re_/) });
      expect(await provider.refund(part)).toEqual(first);
      expect((await bench.moved(charge)).amountMinor).toBe(3000n);
      await expect(provider.refund(refundOf(charge, 3001n))).rejects.toBeInstanceOf(ProviderMisuse);
      expect((await provider.refund(refundOf(charge, 3000n))).status).toBe('succeeded');
      await expect(provider.refund(refundOf(charge, 1n))).rejects.toBeInstanceOf(ProviderMisuse);
      expect((await bench.moved(charge)).amountMinor).toBe(0n);
    });

    test('a key used again with another amount is misuse', async () => {
      const charge = await charged();
      const refund = refundOf(charge, 100n);
      await provider.refund(refund);
      await expect(provider.refund({ ...refund, amount: money(200n, 'USD') })).rejects.toThrow(/key reused/);
      expect((await bench.moved(charge)).amountMinor).toBe(4800n);
    });

    test('findRefund tells the outcome of a lost answer, and nothing of one that never came', async () => {
      const charge = await charged();
      const refund = refundOf(charge, 100n);
      expect(await provider.findRefund(refund)).toBeUndefined();
      const outcome = await provider.refund(refund);
      const { key, refundId } = refund;
      expect(await provider.findRefund({ key, refundId })).toEqual(outcome);
      expect(await provider.findRefund(refund)).toEqual(outcome);
    });

    test('of 10 refunds at once for half of it each, two go through', async () => {
      const charge = await charged();
      const results = await Promise.allSettled(
        Array.from({ length: 10 }, () => provider.refund(refundOf(charge, 2450n))),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
      expect((await bench.moved(charge)).amountMinor).toBe(0n);
    });
  });

  test('a provider out of reach is ProviderUnavailable, whatever is asked', async () => {
    const charge = await prepareCharge('tok_visa');
    const refund = { key: 'k', accountId: charge.accountId, refundId: 'r', chargeRef: 'c', amount: charge.amount };
    for (const call of [
      () => bench.away.createCustomer({ accountId: charge.accountId, name: 'Acme', key: 'k' }),
      () => bench.away.charge(charge),
      () => bench.away.findCharge(charge),
      () => bench.away.refund(refund),
      () => bench.away.findRefund(refund),
      () => bench.away.detachPaymentMethod(charge),
    ]) {
      await expect(call()).rejects.toBeInstanceOf(ProviderUnavailable);
    }
    expect(await provider.findCharge(charge)).toBeUndefined();
  });
});
