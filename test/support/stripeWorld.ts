import { createStripeProvider } from '../../src/integrations/payments/stripe.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { PaymentMethod } from '../../src/payment/payment.entity.js';
import type { Deps } from '../../src/platform/deps.js';
import { freshKey, runDue, testCatalogYaml } from './billing.js';
import { expectSoundLedger } from './ledger.js';
import { type StripeStandin, startStripeStandin } from './stripeStandin/standin.js';
import { startWorld, type TestAccount, type World } from './world.js';

export interface StripeWorld extends World {
  standin: StripeStandin;
  /** An account with a card, which its holder has confirmed where that was asked for. */
  withCard(token?: string): Promise<TestAccount>;
  /** The same application with a provider that waits no longer than this. */
  impatient(timeoutMs: number): Deps;
  /** The ledger adds up to what the stand-in says was moved, and nothing was charged twice. */
  expectSound(account: TestAccount): Promise<void>;
  /** Every webhook has been sent and answered, and all that was due has happened. */
  quiet(): Promise<void>;
}

const secretKey = 'sk_test_x';
const webhookSecret = 'whsec_test';

/** The whole application with Stripe as its provider, which is a stand-in, and webhooks from there. */
export async function startStripeWorld(): Promise<StripeWorld> {
  const standin = await startStripeStandin();
  const env = { STRIPE_SECRET_KEY: secretKey, STRIPE_API_BASE: standin.url, STRIPE_WEBHOOK_SECRET: webhookSecret };
  const world = await startWorld({ catalog: testCatalogYaml, worker: false, env });
  standin.hooks.target = { url: `${world.url}/webhooks/stripe`, secret: webhookSecret };
  await world.sweeps.runOnce(); // the list of events is read from here on
  const open = {
    ...world.deps.payments,
    moved: async (of: { accountId: string }) => standin.books.ledger(of.accountId),
  };
  const inspected = { ...world, deps: { ...world.deps, payments: { ...world.deps.payments, ...open } } };

  return {
    ...world,
    standin,
    withCard: async (token = 'tok_visa') => {
      const account = await world.account();
      const input = { idempotencyKey: freshKey(), type: 'card', token, makeDefault: true };
      await addPaymentMethod(world.deps, account.actor, input).catch(async (error: { code?: string }) => {
        if (error.code !== 'REQUIRES_ACTION') throw error;
        const [method] = await world.deps.db.orm.em.fork().find(PaymentMethod, { accountId: account.id });
        standin.books.authenticate(method!.setupRef!, true);
        await addPaymentMethod(world.deps, account.actor, input);
      });
      return account;
    },
    impatient: (timeoutMs) => ({
      ...world.deps,
      payments: createStripeProvider({ secretKey, apiBase: standin.url, timeoutMs }),
    }),
    expectSound: async ({ id }) => {
      await expectSoundLedger(inspected, id);
      expect(standin.books.ledger(id).duplicates).toEqual([]);
    },
    quiet: async () => {
      await standin.hooks.drained();
      await runDue(world);
    },
    stop: async () => {
      await standin.stop();
      await world.stop();
    },
  };
}
