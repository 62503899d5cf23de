import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { createStripeProvider } from '../../src/integrations/payments/stripe.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import { removePaymentMethod } from '../../src/payment/removePaymentMethod.js';
import { publicId } from '../../src/platform/ids.js';
import { subscribe } from '../../src/subscription/subscribe.js';
import { topUp } from '../../src/wallet/topUp.js';
import { eventsOf, freshKey, invoicesOf, paymentsOf, subscriptionOf, usd } from '../support/billing.js';
import { balanceOf } from '../support/ledger.js';
import type { Fault } from '../support/stripeStandin/standin.js';
import { type StripeWorld, startStripeWorld } from '../support/stripeWorld.js';
import type { TestAccount } from '../support/world.js';

let world: StripeWorld;
beforeAll(async () => {
  world = await startStripeWorld();
});
afterAll(() => world.stop());
afterEach(() => {
  world.standin.heal();
  world.standin.hooks.set({ dropped: 0 });
});

const wallet = (account: TestAccount) => balanceOf(world, account.id, 'wallet');
const fiveDollars = () => ({ idempotencyKey: freshKey(), amount: usd('5.00') });

describe('by Stripe', () => {
  test('a top-up charges the card and credits the wallet, once', async () => {
    const account = await world.withCard();
    const input = fiveDollars();
    const first = await topUp(world.deps, account.actor, input);
    expect(first.error).toBeUndefined();
    expect(await topUp(world.deps, account.actor, input)).toEqual({ ...first, replayed: true });
    await world.quiet();
    expect(await paymentsOf(world, account)).toMatchObject([
      { status: 'SUCCEEDED', chargeRef: expect.stringMatching(/^pi_/) },
    ]);
    expect(await wallet(account)).toBe(500n);
    expect(await eventsOf(world, account, 'wallet.topped_up')).toHaveLength(1);
    await world.expectSound(account);
  });

  test('subscribing collects the first invoice; every object bears our ids, every request a key of ours', async () => {
    const account = await world.withCard();
    await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode: 'basic' });
    await world.quiet();
    expect((await subscriptionOf(world, account)).status).toBe('ACTIVE');
    expect(await invoicesOf(world, account)).toMatchObject([{ status: 'PAID' }]);
    const [payment] = await paymentsOf(world, account);
    expect(world.standin.books.intents.get(payment!.chargeRef!)).toMatchObject({
      amount: 3000,
      metadata: { account_id: account.id, payment_id: payment!.id },
    });
    const posts = world.standin.requests.filter(({ method }) => method === 'POST');
    expect(posts.filter(({ key }) => key === undefined || key.startsWith('stripe-node'))).toEqual([]);
    await world.expectSound(account);
  });

  test('a decline tells its code, and what is declined moves nothing', async () => {
    const account = await world.withCard('tok_visa_chargeCustomerFailLostCard');
    const { error } = await topUp(world.deps, account.actor, fiveDollars());
    expect(error).toMatchObject({ code: 'PAYMENT_DECLINED', details: { declineCode: 'lost_card' } });
    await world.quiet();
    expect(await eventsOf(world, account, 'wallet.top_up_failed')).toHaveLength(1);
    expect(await wallet(account)).toBe(0n);
    await world.expectSound(account);
  });

  test('less than Stripe charges is declined with a code that says so', async () => {
    const account = await world.withCard();
    const { error } = await topUp(world.deps, account.actor, { idempotencyKey: freshKey(), amount: usd('0.10') });
    expect(error).toMatchObject({ code: 'PAYMENT_DECLINED', details: { declineCode: 'amount_too_small' } });
  });

  test('a card that is declined when it is set up is not added', async () => {
    const account = await world.account();
    const { data } = await world.gql(
      account.token,
      'mutation { addPaymentMethod(input: { idempotencyKey: "c", token: "tok_chargeDeclinedInsufficientFunds" }) { paymentMethod { id } userErrors { code declineCode } } }',
    );
    expect(data.addPaymentMethod).toEqual({
      paymentMethod: null,
      userErrors: [{ code: 'PAYMENT_DECLINED', declineCode: 'insufficient_funds' }],
    });
  });

  test('a removed card is detached at Stripe', async () => {
    const account = await world.withCard();
    const [method] = await world.deps.db.orm.em.fork().find(PaymentMethod, { accountId: account.id });
    await removePaymentMethod(world.deps, account.actor, { paymentMethodId: publicId('paymentMethod', method!.id) });
    expect(world.standin.books.methods.get(method!.methodRef!).customer).toBeNull();
    await world.quiet();
    expect(await eventsOf(world, account, 'payment_method.removed')).toHaveLength(1);
  });

  test('64 top-ups at once with one key are one charge, one credit, and 64 equal answers', async () => {
    const account = await world.withCard();
    const query = `mutation { topUp(input: { idempotencyKey: "once", amount: { amount: "7.00", currency: "USD" } }) { payment { id status } userErrors { code } } }`;
    const ask = async (): Promise<object> => {
      for (;;) {
        const { data } = await world.gql(account.token, query);
        if (data?.topUp?.userErrors[0]?.code !== 'IDEMPOTENCY_IN_FLIGHT') return data?.topUp;
      }
    };
    const answers = await Promise.all(Array.from({ length: 64 }, ask));
    expect(answers[0]).toMatchObject({ payment: { status: 'SUCCEEDED' }, userErrors: [] });
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(await wallet(account)).toBe(700n);
    expect(world.standin.books.ledger(account.id).charges).toBe(1);
    await world.expectSound(account);
  });
});

describe('3-D Secure', () => {
  test('a charge waits for its holder, who pays by the client secret; the webhook settles it', async () => {
    const account = await world.withCard('tok_authenticationRequired');
    const { error } = await topUp(world.deps, account.actor, fiveDollars());
    const [payment] = await paymentsOf(world, account);
    expect(error).toMatchObject({ code: 'REQUIRES_ACTION', details: { clientSecret: payment!.clientSecret } });
    expect(payment!.clientSecret).toContain(payment!.chargeRef);
    world.standin.books.authenticate(payment!.chargeRef!, true);
    await world.standin.hooks.drained();
    expect(await paymentsOf(world, account)).toMatchObject([{ status: 'SUCCEEDED' }]);
    expect(await wallet(account)).toBe(500n);
    await world.expectSound(account);
  });

  test('a card that asked its holder when it was set up does not ask again', async () => {
    const account = await world.withCard('tok_authenticationRequiredOnSetup');
    expect((await topUp(world.deps, account.actor, fiveDollars())).error).toBeUndefined();
    await world.expectSound(account);
  });

  const adding = async () => {
    const account = await world.account();
    const input = { idempotencyKey: freshKey(), type: 'card', token: 'tok_authenticationRequired', makeDefault: true };
    const add = () => addPaymentMethod(world.deps, account.actor, input);
    await expect(add()).rejects.toMatchObject({
      code: 'REQUIRES_ACTION',
      details: { clientSecret: expect.any(String) },
    });
    await expect(add()).rejects.toMatchObject({ code: 'REQUIRES_ACTION' });
    const methods = () => world.deps.db.orm.em.fork().find(PaymentMethod, { accountId: account.id });
    const [method] = await methods();
    return { account, add, methods, setupRef: method!.setupRef! };
  };

  test('a card waits for its holder when it is set up; the webhook adds it, as the default if that was asked', async () => {
    const { account, add, methods, setupRef } = await adding();
    world.standin.books.authenticate(setupRef, true);
    await world.standin.hooks.drained();
    expect(await methods()).toMatchObject([{ status: 'ACTIVE', isDefault: true, last4: '3184', clientSecret: null }]);
    expect(await add()).toMatchObject({ replayed: true });
    expect(await eventsOf(world, account, 'payment_method.added')).toHaveLength(1);
  });

  test('without the webhook the sweep adds it, and gives it up after a day', async () => {
    world.standin.hooks.set({ dropped: 1 });
    const [confirmed, refused, forgotten] = [await adding(), await adding(), await adding()];
    world.standin.books.authenticate(confirmed.setupRef, true);
    world.standin.books.authenticate(refused.setupRef, false);
    world.clock.advanceMs(31_000);
    await world.quiet();
    expect(await confirmed.methods()).toMatchObject([{ status: 'ACTIVE' }]);
    expect(await refused.methods()).toMatchObject([
      { status: 'FAILED', declineCode: 'setup_intent_authentication_failure' },
    ]);
    expect(await forgotten.methods()).toMatchObject([{ status: 'PENDING' }]);
    world.clock.advanceMs(25 * 3_600_000);
    await world.quiet();
    expect(await forgotten.methods()).toMatchObject([{ status: 'FAILED', declineCode: 'authentication_required' }]);
  });
});

/** Of a charge: what happens to it, and whether the money has moved all the same. */
const faults: [string, Fault[], 'paid' | 'not paid'][] = [
  ['the connection breaks before', [{ kind: 'drop_before', times: 2 }], 'not paid'],
  ['the connection breaks after', [{ kind: 'drop_after', times: 2 }], 'paid'],
  ['it hangs before', [{ kind: 'hang_before' }], 'not paid'],
  ['it hangs after', [{ kind: 'hang_after' }], 'paid'],
  ['500 before', [{ kind: 'status_before' }], 'not paid'],
  ['500 after', [{ kind: 'status_after' }], 'paid'],
  ['429', [{ kind: 'rate_limit' }], 'not paid'],
  ['a lock timeout', [{ kind: 'lock_timeout' }], 'not paid'],
  ['a truncated answer', [{ kind: 'truncate' }], 'paid'],
];

describe.each(faults)('%s', (_what, what, end) => {
  test(`the top-up is ${end}, once, and settled within a minute`, async () => {
    const account = await world.withCard();
    await world.standin.hooks.drained();
    world.standin.hooks.set({ dropped: 1 });
    world.standin.fail(...what.map((fault) => ({ ...fault, method: 'POST', path: /payment_intents$/ })));
    const input = fiveDollars();
    const { error } = await topUp(world.impatient(300), account.actor, input);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    expect(world.standin.books.ledger(account.id).charges).toBe(end === 'paid' ? 1 : 0);
    world.clock.advanceMs(31_000);
    await world.quiet();
    const again = await topUp(world.deps, account.actor, input);
    expect(again.error?.details.declineCode).toBe(end === 'paid' ? undefined : 'provider_unreachable');
    expect(await wallet(account)).toBe(end === 'paid' ? 500n : 0n);
    await world.expectSound(account);
  });
});

test('one answer lost on the way: the SDK sends the same key once more, and it is one charge', async () => {
  const account = await world.withCard();
  world.standin.fail({ kind: 'drop_after', method: 'POST', path: /payment_intents$/ });
  expect((await topUp(world.deps, account.actor, fiveDollars())).error).toBeUndefined();
  await world.expectSound(account);
});

test('a charge whose key Stripe has forgotten is found by what it was made for, and is not made again', async () => {
  const account = await world.withCard();
  await world.standin.hooks.drained();
  world.standin.hooks.set({ dropped: 1 });
  world.standin.fail({ kind: 'hang_after', method: 'POST', path: /payment_intents$/ });
  await topUp(world.impatient(300), account.actor, fiveDollars());
  world.standin.advanceSeconds(25 * 3600);
  world.clock.advanceMs(31_000);
  await world.quiet();
  world.standin.advanceSeconds(-25 * 3600);
  expect(await wallet(account)).toBe(500n);
  await world.expectSound(account);
});

test('a key that Stripe does not accept is told to the operator, without the key, and no customer is blamed', async () => {
  const told: string[] = [];
  const secretKey = 'sk_live_0123456789secret';
  const provider = createStripeProvider({
    secretKey,
    apiBase: world.standin.url,
    onRejectedKey: (message) => told.push(message),
  });
  const failed = await provider.findCharge({ key: 'k', paymentId: 'p' }).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(ProviderUnavailable);
  expect(told).toEqual([expect.stringContaining('STRIPE_SECRET_KEY')]);
  expect(`${told}${(failed as Error).stack}`).not.toContain('0123456789secret');
});
