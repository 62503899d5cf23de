import { createKey } from '../../src/account/apiKeys.js';
import { type BillingSettingsInput, updateBillingSettings } from '../../src/account/updateBillingSettings.js';
import { parseCatalog } from '../../src/catalog/catalogFile.js';
import { Coupon } from '../../src/catalog/plan.entity.js';
import { type CatalogChange, publishCatalog } from '../../src/catalog/publishCatalog.js';
import { Decimal } from '../../src/domain/decimal.js';
import { type Money, parseMoney } from '../../src/domain/money.js';
import { type PaymentProvider, ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { applyCoupon } from '../../src/invoice/applyCoupon.js';
import { Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { addPaymentMethod } from '../../src/payment/addPaymentMethod.js';
import { Payment } from '../../src/payment/payment.entity.js';
import { type LoggedEvent, readEvents } from '../../src/platform/eventLog.js';
import { newId, publicId } from '../../src/platform/ids.js';
import { type SubscriptionAnswer, subscribe } from '../../src/subscription/subscribe.js';
import { Subscription } from '../../src/subscription/subscription.entity.js';
import type { Loose, TestAccount, World } from './world.js';

/** Round prices, one of each kind of plan, and a metric of each supported aggregation. */
export const testCatalogYaml = `
metrics:
  - { code: users, name: Users, aggregation: latest }
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: requests, name: Requests, aggregation: count }
  - { code: peak, name: Peak, aggregation: max }
  - { code: storage, name: Storage, unit: gb, aggregation: latest }
plans:
  - code: basic
    name: Basic
    price: 30.00
    currency: USD
    interval: month
    features: { users: 5, requests: 10, peak: 100, minutes: { limit: 100, overage: charge, unit_price: 0.05 } }
  - code: premium
    name: Premium
    price: 60.00
    currency: USD
    interval: month
    features: { users: 50, requests: 1000, peak: 100, storage_gb: 10, minutes: { limit: 1000, overage: charge, unit_price: 0.02 } }
  - { code: yearly, name: Yearly, price: 600.00, currency: USD, interval: year, features: { users: 50 } }
  - { code: free, name: Free, price: 0.00, currency: USD, interval: month, features: { users: 1 } }
  - code: tryout
    name: Tryout
    price: 20.00
    currency: USD
    interval: month
    trial_days: 14
    features: { minutes: { limit: 10, overage: charge, unit_price: 0.10 } }
  - { code: euro, name: Euro, price: 10.00, currency: EUR, interval: month }
  - code: metered
    name: Metered
    price: 10.00
    currency: USD
    interval: month
    features:
      minutes:
        charge:
          model: graduated
          tiers: [{ up_to: 5, unit_price: 10.00, flat_fee: 100.00 }, { unit_price: 5.00, flat_fee: 50.00 }]
      requests: { limit: 10, charge: { model: package, size: 10, price: 3.00 } }
      peak: { limit: 100, charge: { model: unit, unit_price: 0.50, minimum: 20.00 } }
`;

export const usd = (amount: string): Money => parseMoney(amount, 'USD');
export const dayMs = 86_400_000;
let counted = 0;
/** A key no other test uses. */
export const freshKey = (): string => `key-${++counted}`;

export const publish = (world: World, yaml: string): Promise<CatalogChange[]> =>
  publishCatalog(world.deps, parseCatalog(yaml));

/** Adds a card and returns its public id. */
export async function addCard(
  world: World,
  account: TestAccount,
  token = 'tok_visa',
  makeDefault = true,
): Promise<string> {
  const { paymentMethodId } = await addPaymentMethod(world.deps, account.actor, {
    idempotencyKey: freshKey(),
    type: 'card',
    token,
    makeDefault,
  });
  return publicId('paymentMethod', paymentMethodId);
}

/** An account with a card and a subscription. `id` is the public one. */
export async function subscribed(
  world: World,
  { planCode = 'basic', token = 'tok_visa', ...of }: { planCode?: string; token?: string; timeZone?: string } = {},
): Promise<{ account: TestAccount; id: string; answer: SubscriptionAnswer }> {
  const account = await world.account(of);
  await addCard(world, account, token);
  const answer = await subscribe(world.deps, account.actor, { idempotencyKey: freshKey(), planCode });
  return { account, answer, id: publicId('subscription', answer.subscriptionId) };
}

export const subscriptionsOf = (world: World, { id }: TestAccount): Promise<Subscription[]> =>
  world.deps.db.orm.em.fork().find(Subscription, { accountId: id }, { orderBy: { id: 'asc' } });

/** The account's newest subscription. */
export const subscriptionOf = async (world: World, account: TestAccount): Promise<Subscription> =>
  (await subscriptionsOf(world, account)).at(-1)!;

/** In the order of their numbers. */
export const invoicesOf = (world: World, { id }: TestAccount): Promise<Invoice[]> =>
  world.deps.db.orm.em.fork().find(Invoice, { accountId: id }, { orderBy: { number: 'asc' } });

/** `Basic 3000`, one text for each line. */
export const linesOf = async (world: World, invoice: Invoice): Promise<string[]> =>
  (
    await world.deps.db.orm.em
      .fork()
      .find(InvoiceLine, { accountId: invoice.accountId, invoiceId: invoice.id }, { orderBy: { position: 'asc' } })
  ).map((line) => `${line.description} ${line.amountMinor}`);

export const paymentsOf = (world: World, { id }: TestAccount): Promise<Payment[]> =>
  world.deps.db.orm.em.fork().find(Payment, { accountId: id }, { orderBy: { id: 'asc' } });

/** The account's events in order, those of some types only when they are named; numbers in `data` as plain ones. */
export async function eventsOf(world: World, { id }: TestAccount, ...types: string[]): Promise<LoggedEvent[]> {
  const em = world.deps.db.orm.em.fork();
  const only = types.length > 0 ? types : undefined;
  const events = await readEvents(em, { accountId: id, after: 0n, types: only, limit: 1_000 });
  return events.map((event) => ({ ...event, data: JSON.parse(JSON.stringify(event.data)) }));
}

/** Everything due by now happens, with all that follows from it. */
export async function runDue(world: World): Promise<void> {
  for (let finished = 1; finished > 0; ) {
    await world.settled();
    finished = await world.sweeps.runOnce();
    await world.settled();
  }
}

/** A provider whose answers are lost: `before` it has charged or refunded, or `after`. */
export const unreachable = (payments: PaymentProvider, when: 'before' | 'after'): PaymentProvider => ({
  ...payments,
  charge: async (input) => {
    if (when === 'after') await payments.charge(input);
    throw new ProviderUnavailable('connection reset');
  },
  refund: async (input) => {
    if (when === 'after') await payments.refund(input);
    throw new ProviderUnavailable('connection reset');
  },
});

/** Runs the work `times` at once; the codes of what failed, and what succeeded. */
export async function allAtOnce<T>(
  times: number,
  work: (i: number) => Promise<T>,
): Promise<{ done: T[]; codes: string[] }> {
  const results = await Promise.allSettled(Array.from({ length: times }, (_, i) => work(i)));
  return {
    done: results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : [])),
    codes: results.flatMap((r) =>
      r.status === 'rejected' ? [String((r.reason as { code?: string }).code ?? r.reason)] : [],
    ),
  };
}

/** Publishes a coupon; `percent` or `amountMinor` is off, FOREVER unless said. */
export async function couponOf(
  world: World,
  { code = `coupon_${freshKey()}`, ...of }: Partial<Omit<Coupon, 'id' | 'contentHash' | 'createdAt'>>,
): Promise<string> {
  const em = world.deps.db.orm.em.fork();
  em.create(Coupon, {
    id: newId(),
    code,
    name: code,
    currency: of.amountMinor == null ? null : 'USD',
    duration: 'FOREVER',
    planCodes: [],
    metricCodes: [],
    contentHash: '',
    createdAt: world.clock.now(),
    ...of,
  });
  await em.flush();
  return code;
}

/** Takes a coupon for an account; returns the uuid of what it took. */
export const take = async (world: World, account: TestAccount, couponCode: string): Promise<string> =>
  (await applyCoupon(world.deps, account.actor, { couponCode })).appliedCouponId;

/** Sets how an account is billed; taxes as `VAT 19`, or `VAT 19 inclusive`. */
export async function settle(
  world: World,
  account: TestAccount,
  { taxes, ...settings }: Omit<BillingSettingsInput, 'taxRates'> & { taxes?: string[] },
): Promise<void> {
  const taxRates = taxes?.map((text) => {
    const [name = '', percent = '', inclusive] = text.split(' ');
    return { name, percent: new Decimal(percent), inclusive: inclusive !== undefined };
  });
  await updateBillingSettings(world.deps, account.actor, { ...settings, taxRates });
}

/** Asks GraphQL as an operator who names the account; what the caller could act on fails the test. */
export async function operatorOf(world: World, account: TestAccount) {
  const { token } = await createKey(world.deps, { accountId: undefined, scopes: ['*:*'] });
  return async (query: string, variables?: object): Promise<Loose> => {
    const { data, errors } = await world.gql(token, query, variables, { 'billing-account': account.publicId });
    expect(errors).toBeUndefined();
    return data;
  };
}
