import fs from 'node:fs';
import { printSchema } from 'graphql';
import { billingErrorOf } from '../../src/api/errors.js';
import { createSchema } from '../../src/api/schema.js';
import { createCreditNote } from '../../src/invoice/createCreditNote.js';
import { type IdKind, idPrefixes, newId, publicId } from '../../src/platform/ids.js';
import { sql } from '../../src/platform/sql.js';
import { createHold } from '../../src/wallet/createHold.js';
import { countStatements, rootFieldsOf, rootFieldsOfSchema, subscribed } from '../support/graphql.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const money = '{ amount minorUnits currency }';

/** Invoices with two lines and a payment each, made by SQL so that there are many. Returns their public ids, newest first. */
async function manyInvoices(
  { id: accountId }: TestAccount,
  count: number,
  { rows }: Pick<World, 'rows'> = world,
): Promise<string[]> {
  const ids = Array.from({ length: count }, () => newId()).sort();
  const methodId = newId();
  await rows(sql`
    insert into payment_method (account_id, id, status, type, is_default, created_at) values (${accountId}, ${methodId}, 'ACTIVE', 'card', false, now())`);
  await rows(sql`
    insert into invoice (account_id, id, number, status, reason, customer_name, time_zone, currency, subtotal_minor, discount_minor, tax_minor,
      total_minor, credit_applied_minor, wallet_applied_minor, amount_paid_minor, amount_due_minor, discounts, taxes, tax_exempt, credit_noted_minor, created_at)
    select ${accountId}, id, 'N-' || n, 'PAID', 'subscription_cycle', 'Test', 'UTC', 'USD', 200, 0, 0, 200, 0, 0, 200, 0, '[]', '[]', false, 0, now()
    from unnest(${ids}::uuid[]) with ordinality as t (id, n)`);
  await rows(sql`
    insert into invoice_line (account_id, id, invoice_id, position, description, quantity, amount_minor, discount_minor, kind, proration, explanation)
    select ${accountId}, gen_random_uuid(), id, position, 'Line', 1, 100, 0, 'fee', false, '[]' from unnest(${ids}::uuid[]) as t (id), generate_series(0, 1) as position`);
  await rows(sql`
    insert into payment (account_id, id, purpose, subject_id, amount_minor, currency, status, payment_method_id, description, provider_key, created_at)
    select ${accountId}, gen_random_uuid(), 'invoice', id, 200, 'USD', 'SUCCEEDED', ${methodId}, '', id::text, now() from unnest(${ids}::uuid[]) as t (id)`);
  return ids.reverse().map((id) => publicId('invoice', id));
}

/** Root fields that a test of their own asks through the door: field → its file. */
const provedElsewhere: Record<string, string> = {
  createCreditNote: 'test/invoice/creditNotes.test.ts',
  creditNote: 'test/invoice/creditNotes.test.ts',
  creditNotes: 'test/invoice/creditNotes.test.ts',
  voidCreditNote: 'test/invoice/creditNotes.test.ts',
  createTestClock: 'test/account/testClock.test.ts',
  advanceTestClock: 'test/account/testClock.test.ts',
  addInvoiceItem: 'test/invoice/invoiceItems.test.ts',
  applyCoupon: 'test/invoice/waterfall.test.ts',
  createInvoice: 'test/invoice/invoiceItems.test.ts',
  finalizeInvoice: 'test/usage/gracePeriod.test.ts',
  removeCoupon: 'test/invoice/waterfall.test.ts',
  removeInvoiceItem: 'test/invoice/invoiceItems.test.ts',
  updateBillingSettings: 'test/account/billingSettings.test.ts',
  pauseSubscription: 'test/subscription/pause.test.ts',
  resumeSubscription: 'test/subscription/pause.test.ts',
  undoScheduledChange: 'test/subscription/pause.test.ts',
  redeliverWebhook: 'test/webhook/redeliver.test.ts',
  redeliverWebhooks: 'test/webhook/redeliver.test.ts',
  sendTestEvent: 'test/webhook/redeliver.test.ts',
  rotateWebhookSecret: 'test/webhook/endpoints.test.ts',
  updateWebhookEndpoint: 'test/webhook/endpoints.test.ts',
  migrateSubscribers: 'test/subscription/migrate.test.ts',
  correctUsage: 'test/usage/correctUsage.test.ts',
  ledgerStatement: 'test/wallet/ledgerStatement.test.ts',
  grantCredit: 'test/wallet/grants.test.ts',
  createHold: 'test/wallet/holds.test.ts',
  captureHold: 'test/wallet/holds.test.ts',
  releaseHold: 'test/wallet/holds.test.ts',
  refundTopUp: 'test/wallet/refundTopUp.test.ts',
  setLowBalanceThreshold: 'test/wallet/limits.test.ts',
};

test('one account lives through every query and every mutation', async () => {
  const account = await world.account();
  const asked = new Set<string>();
  const ask = async (query: string, variables?: object) => {
    for (const field of rootFieldsOf(query)) asked.add(field);
    const { status, data, errors } = await world.gql(account.token, query, variables);
    expect({ status, errors }).toEqual({ status: 200, errors: undefined });
    for (const answer of Object.values(data) as { userErrors?: unknown[] }[])
      expect(answer?.userErrors ?? []).toEqual([]);
    return data;
  };

  const { addPaymentMethod } = await ask(`mutation {
    addPaymentMethod(input: { idempotencyKey: "1", token: "tok_visa" }) {
      paymentMethod { id type brand last4 expMonth expYear isDefault } replayed userErrors { code message field declineCode retryable }
    }
  }`);
  expect(addPaymentMethod).toMatchObject({
    replayed: false,
    paymentMethod: { type: 'card', brand: 'visa', last4: '4242', isDefault: true },
  });

  const { preview } = await ask(`{ preview(input: { subscribe: { idempotencyKey: "s", planCode: "plan_starter" } }) {
    token validUntil dueNow ${money} credit ${money} lines { id description period { start end } quantity unitAmount amount ${money} proration explanation { label expression result } }
    nextInvoice { id status total ${money} lines { amount ${money} } }
  } }`);
  expect(preview.dueNow).toEqual({ amount: '49.00', minorUnits: '4900', currency: 'USD' });

  const subscription = `subscription { id version status plan { code } currentPeriod { start end } trialEndsAt cancelAt canceledAt pendingPlan { code }
    usage { watermark } }`;
  const made = await ask(
    `mutation($token: String!) { subscribe(input: { idempotencyKey: "s", planCode: "plan_starter", previewToken: $token }) {
      ${subscription} invoice { id number total ${money} } replayed userErrors { code message } } }`,
    { token: preview.token },
  );
  expect(made.subscribe.subscription).toMatchObject({
    status: 'ACTIVE',
    plan: { code: 'plan_starter' },
    pendingPlan: null,
  });
  const subscriptionId: string = made.subscribe.subscription.id;

  const { recordUsage } = await ask(`mutation { recordUsage(input: { events: [
      { transactionId: "a", metric: "users", value: "4" }, { transactionId: "b", metric: "voice_minutes", value: "510.5", properties: { call: 7 } },
      { transactionId: "a", metric: "users", value: "4" }, { transactionId: "c", metric: "nonsense" }
    ] }) { results { transactionId status error { code message field } } watermark userErrors { code } } }`);
  expect(recordUsage.results.map((r: { status: string }) => r.status)).toEqual([
    'ACCEPTED',
    'ACCEPTED',
    'DUPLICATE',
    'REJECTED',
  ]);
  expect(recordUsage.results[3].error.field).toEqual(['events', '3', 'metric']);

  const { usage } = await ask(
    `{ usage { period { start end } items { metric { id code name unit aggregation } used limit percent charge ${money} } charges ${money} watermark } }`,
  );
  expect(usage.items.find((i: { metric: { code: string } }) => i.metric.code === 'voice_minutes')).toMatchObject({
    used: '510.5',
    limit: '500',
    percent: 102.1,
    charge: { amount: '0.32' },
  });
  expect(BigInt(usage.watermark)).toBeGreaterThanOrEqual(BigInt(recordUsage.watermark));

  const { topUp } =
    await ask(`mutation { topUp(input: { idempotencyKey: "t", amount: { amount: "25.50", currency: "USD" } }) {
    wallet { id balance ${money} } payment { id amount ${money} status method { id } declineCode createdAt } replayed userErrors { code message } } }`);
  expect(topUp).toMatchObject({ wallet: { balance: { amount: '25.50' } }, payment: { status: 'SUCCEEDED' } });
  const { configureAutoRecharge } =
    await ask(`mutation { configureAutoRecharge(input: { idempotencyKey: "r", enabled: true,
    threshold: { amount: 5, currency: "USD" }, amount: { amount: "10.00", currency: "USD" } }) {
    wallet { autoRecharge { enabled threshold ${money} amount ${money} } } replayed userErrors { code } } }`);
  expect(configureAutoRecharge.wallet.autoRecharge).toMatchObject({
    enabled: true,
    threshold: { amount: '5.00' },
    amount: { amount: '10.00' },
  });

  const second = await ask(
    `mutation { addPaymentMethod(input: { idempotencyKey: "2", token: "tok_mastercard", type: "card" }) { paymentMethod { id isDefault } userErrors { code } } }`,
  );
  const secondId = second.addPaymentMethod.paymentMethod.id;
  const chosen = await ask(
    `mutation($id: ID!) { setDefaultPaymentMethod(input: { idempotencyKey: "d", paymentMethodId: $id }) { paymentMethod { isDefault } replayed userErrors { code } } }`,
    { id: secondId },
  );
  expect(chosen.setDefaultPaymentMethod.paymentMethod.isDefault).toBe(true);
  await ask(
    `mutation($id: ID!) { removePaymentMethod(input: { idempotencyKey: "x", paymentMethodId: $id }) { replayed userErrors { code } } }`,
    { id: addPaymentMethod.paymentMethod.id },
  );
  const { paymentMethods } = await ask('{ paymentMethods { id last4 } }');
  expect(paymentMethods).toEqual([{ id: secondId, last4: '4444' }]);

  const changed = await ask(
    `mutation($id: ID!) { changePlan(input: { idempotencyKey: "c", subscriptionId: $id, planCode: "plan_professional", proration: PER_SECOND }) {
    ${subscription} invoice { id total ${money} } replayed userErrors { code message } } }`,
    { id: subscriptionId },
  );
  expect(changed.changePlan.subscription.plan.code).toBe('plan_professional');

  const { invoices } = await ask(`{ invoices(status: [PAID]) { edges { cursor node { id } } nodes {
    id number status period { start end } issuedAt dueAt currency subtotal ${money} discount ${money} tax ${money} total ${money}
    creditApplied ${money} walletApplied ${money} amountPaid ${money} amountDue ${money} nextPaymentAttemptAt pdfUrl
    lines { id amount ${money} } payments { id status amount ${money} method { last4 } }
  } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`);
  expect(invoices.nodes.map((i: { number: string }) => i.number.split('-').at(-1))).toEqual(
    ['000002', '000001'].map((n) => expect.stringContaining(n.slice(-1))),
  );
  expect(invoices.nodes[0].pdfUrl).toContain(world.url);
  const { invoice } = await ask('query($id: ID!) { invoice(id: $id) { id total { amount } } }', {
    id: made.subscribe.invoice.id,
  });
  expect(invoice).toEqual({ id: made.subscribe.invoice.id, total: { amount: '49.00' } });
  const paid = await world.gql(
    account.token,
    'mutation($id: ID!) { payInvoice(input: { idempotencyKey: "p", invoiceId: $id }) { invoice { id } userErrors { code } } }',
    {
      id: invoice.id,
    },
  );
  asked.add('payInvoice');
  expect(paid.data.payInvoice.userErrors).toEqual([{ code: 'ILLEGAL_STATE' }]);

  const { createWebhookEndpoint } =
    await ask(`mutation { createWebhookEndpoint(input: { idempotencyKey: "w", url: "http://127.0.0.1:9/hook", events: ["wallet.topped_up"] }) {
    webhookEndpoint { id url events enabled secret } replayed userErrors { code message } } }`);
  expect(createWebhookEndpoint.webhookEndpoint).toMatchObject({
    enabled: true,
    secret: expect.stringMatching(/^whsec_/),
  });
  await ask(
    'mutation { topUp(input: { idempotencyKey: "t2", amount: { amount: "1.00", currency: "USD" } }) { userErrors { code } } }',
  );
  await world.settled();
  const { webhookEndpoints } = await ask(`{ webhookEndpoints { id secret deliveries(first: 5) {
    nodes { id event { id type cursor occurredAt data } status attempts nextAttemptAt responseStatus durationMs log { attemptedAt error } } edges { cursor } pageInfo { hasNextPage } } } }`);
  expect(webhookEndpoints).toMatchObject([
    {
      id: createWebhookEndpoint.webhookEndpoint.id,
      secret: null,
      deliveries: { nodes: [{ event: { type: 'wallet.topped_up' } }] },
    },
  ]);
  const gone = await ask(
    'mutation($id: ID!) { deleteWebhookEndpoint(input: { idempotencyKey: "w-", webhookEndpointId: $id }) { webhookEndpoint { enabled } replayed userErrors { code } } }',
    {
      id: createWebhookEndpoint.webhookEndpoint.id,
    },
  );
  expect(gone.deleteWebhookEndpoint.webhookEndpoint.enabled).toBe(false);

  const { wallet } =
    await ask(`{ wallet { id balance ${money} available ${money} autoRecharge { enabled } transactions(first: 50) {
    nodes { id type amount ${money} balanceAfter ${money} createdAt } edges { cursor node { id } } pageInfo { hasNextPage } } } }`);
  expect(wallet.transactions.nodes[0].balanceAfter).toEqual(wallet.balance);

  const { eventTypes } = await ask('{ eventTypes { type description resource example schema } }');
  expect(eventTypes).toContainEqual(expect.objectContaining({ type: 'usage.threshold', resource: 'usage_threshold' }));
  const { events } = await ask(
    '{ events(first: 100) { nodes { id cursor type occurredAt data } edges { cursor } pageInfo { endCursor hasNextPage } } }',
  );
  expect(events.nodes.map((e: { cursor: string }) => e.cursor)).toEqual(
    events.nodes.map((_: unknown, i: number) => String(i + 1)),
  );
  expect(events.nodes.map((e: { type: string }) => e.type)).toEqual(
    expect.arrayContaining(['subscription.created', 'invoice.paid', 'usage.threshold', 'wallet.topped_up']),
  );

  const seen = await ask(`{
    viewer { id name currency timeZone subscription { id } wallet { id } paymentMethods { id } entitlements { feature allowed limit used remaining resetsAt } }
    plans { nodes { id code version name price ${money} interval intervalCount trialDays features { code name metric { code } limit overage } } }
    subscription(id: "${subscriptionId}") { id plan { code } }
    usageHistory { period { start } items { used } charges ${money} watermark }
    node(id: "${subscriptionId}") { __typename id }
  }`);
  expect(seen.viewer).toMatchObject({
    id: account.publicId,
    subscription: { id: subscriptionId },
    wallet: { id: wallet.id },
  });
  expect(seen.viewer.entitlements).toContainEqual(
    expect.objectContaining({
      feature: 'voice_minutes',
      limit: '5000',
      used: '510.5',
      remaining: '4489.5',
      allowed: true,
    }),
  );
  expect(seen.plans.nodes.map((p: { code: string }) => p.code)).toEqual([
    'plan_starter',
    'plan_professional',
    'plan_enterprise',
  ]);
  expect(seen.node).toEqual({ __typename: 'BillingSubscription', id: subscriptionId });
  expect(seen.usageHistory).toHaveLength(1);

  const canceled = await ask(
    `mutation($id: ID!) { cancelSubscription(input: { idempotencyKey: "z", subscriptionId: $id, timing: IMMEDIATE }) { ${subscription} invoice { id } replayed userErrors { code message } } }`,
    { id: subscriptionId },
  );
  expect(canceled.cancelSubscription.subscription.status).toBe('CANCELED');

  const { Query, Mutation } = rootFieldsOfSchema(printSchema(createSchema()));
  const elsewhere = Object.keys(provedElsewhere);
  expect([...asked, ...elsewhere].sort()).toEqual([...Query, ...Mutation].sort());
  for (const [field, file] of Object.entries(provedElsewhere))
    expect(fs.readFileSync(file, 'utf8')).toMatch(new RegExp(`\\b${field}\\(`));
});

/** Kinds that `node` doesn't find. */
const unowned = ['apiKey', 'appliedCoupon', 'dispute', 'invoiceItem'] as const;
type Unowned = (typeof unowned)[number];

describe('node(id)', () => {
  const node = (token: string, id: string) =>
    world.gql(token, 'query($id: ID!) { node(id: $id) { __typename id } }', { id });

  /** One public id of each kind that an account owns, and those of the catalog. */
  async function idsOf(
    account: Awaited<ReturnType<typeof subscribed>>,
  ): Promise<Record<Exclude<IdKind, Unowned>, string>> {
    await world.gql(
      account.token,
      'mutation { createWebhookEndpoint(input: { idempotencyKey: "w", url: "http://127.0.0.1:9/hook" }) { userErrors { code } } }',
    );
    await world.gql(
      account.token,
      'mutation { topUp(input: { idempotencyKey: "t", amount: { amount: "1", currency: "USD" } }) { payment { id } } }',
    );
    const { invoiceId } = account;
    await createCreditNote(world.deps, account.actor, { invoiceId, kind: 'REFUND', reason: 'Goodwill' });
    await createHold(world.deps, account.actor, {
      amount: { minorUnits: 10n, currency: 'USD' },
      description: 'A job',
    });
    await world.settled();
    const { data } = await world.gql(
      account.token,
      `{ creditNotes { nodes { id refunds { id } } } viewer { id wallet { id transactions { nodes { id } } grants { nodes { id } } holds { nodes { id } } } } plans { nodes { id } } usage { items { metric { id } } }
        ledgerStatement(from: "2000-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z") { movements { nodes { id } } }
        invoices { nodes { lines { id } payments { id } } } events { nodes { id } } webhookEndpoints { id deliveries { nodes { id } } } }`,
    );
    return {
      account: data.viewer.id,
      plan: data.plans.nodes[0].id,
      metric: data.usage.items[0].metric.id,
      paymentMethod: account.paymentMethodId,
      payment: data.invoices.nodes[0].payments[0].id,
      wallet: data.viewer.wallet.id,
      walletTransaction: data.viewer.wallet.transactions.nodes[0].id,
      ledgerMovement: data.ledgerStatement.movements.nodes[0].id,
      creditGrant: data.viewer.wallet.grants.nodes[0].id,
      hold: data.viewer.wallet.holds.nodes[0].id,
      invoice: account.invoiceId,
      creditNote: data.creditNotes.nodes[0].id,
      refund: data.creditNotes.nodes[0].refunds[0].id,
      invoiceLine: data.invoices.nodes[0].lines[0].id,
      subscription: account.subscriptionId,
      event: data.events.nodes[0].id,
      webhookEndpoint: data.webhookEndpoints[0].id,
      webhookDelivery: data.webhookEndpoints[0].deliveries.nodes[0].id,
    };
  }

  test('finds an object of every kind for its owner; to others it is as if it were not there', async () => {
    const owner = await subscribed(world);
    const stranger = await world.account();
    const ids = await idsOf(owner);
    expect(Object.keys(ids).sort()).toEqual(
      Object.keys(idPrefixes)
        .filter((kind) => !(unowned as readonly string[]).includes(kind))
        .sort(),
    );
    const nothing = await node(stranger.token, publicId('invoice', newId()));
    expect(nothing).toMatchObject({ status: 200, data: { node: null } });
    for (const [kind, id] of Object.entries(ids)) {
      expect({ kind, ...(await node(owner.token, id)) }).toMatchObject({ kind, status: 200, data: { node: { id } } });
      if (kind === 'plan' || kind === 'metric') continue;
      expect({ kind, ...(await node(stranger.token, id)) }).toEqual({ kind, ...nothing });
    }
  });

  test.each([
    ['nothing', ''],
    ['no TypeID', 'inv_short'],
    ['an unknown kind', `xyz_${publicId('invoice', newId()).slice(4)}`],
    ['capitals', publicId('invoice', newId()).toUpperCase()],
    ['more than 128 bits', 'inv_zzzzzzzzzzzzzzzzzzzzzzzzzz'],
    ['a uuid', '019aa000-0000-7000-8000-000000000001'],
    ['a quote', "inv_'; drop table invoice; --"],
    ['a long text', 'i'.repeat(50_000)],
    ['an API key', publicId('apiKey', newId())],
  ])('answers %s exactly like an unknown id, and so do the fields that take one', async (_what, id) => {
    const { token } = await world.account();
    const ask = (of: string) =>
      world.gql(
        token,
        'query($id: ID!) { node(id: $id) { id } invoice(id: $id) { id } subscription(id: $id) { id } }',
        { id: of },
      );
    expect(await ask(id)).toEqual(await ask(publicId('invoice', newId())));
  });

  test('a mutation with the id of another account answers like one with an unknown id', async () => {
    const owner = await subscribed(world);
    const stranger = await world.account();
    const ask = async (
      ids: { invoice: string; subscription: string; method: string; endpoint: string },
      key: string,
    ) => {
      const { data, errors } = await world.gql(
        stranger.token,
        `mutation($invoice: ID!, $subscription: ID!, $method: ID!, $endpoint: ID!, $key: String!) {
          payInvoice(input: { idempotencyKey: $key, invoiceId: $invoice }) { invoice { id } userErrors { code message field } }
          changePlan(input: { idempotencyKey: $key, subscriptionId: $subscription, planCode: "plan_starter" }) { subscription { id } userErrors { code message field } }
          cancelSubscription(input: { idempotencyKey: $key, subscriptionId: $subscription }) { subscription { id } userErrors { code message field } }
          setDefaultPaymentMethod(input: { idempotencyKey: $key, paymentMethodId: $method }) { paymentMethod { id } userErrors { code message field } }
          removePaymentMethod(input: { idempotencyKey: $key, paymentMethodId: $method }) { paymentMethod { id } userErrors { code message field } }
          topUp(input: { idempotencyKey: $key, amount: { amount: 5, currency: "USD" }, paymentMethodId: $method }) { payment { id } userErrors { code message field } }
          deleteWebhookEndpoint(input: { idempotencyKey: $key, webhookEndpointId: $endpoint }) { webhookEndpoint { id } userErrors { code message field } }
        }`,
        { ...ids, key },
      );
      expect(errors).toBeUndefined();
      return JSON.stringify(data).replace(/'[a-z]+_\w+'/g, 'ID');
    };
    const endpoint = (
      await world.gql(
        owner.token,
        'mutation { createWebhookEndpoint(input: { idempotencyKey: "w", url: "http://127.0.0.1:9/" }) { webhookEndpoint { id } } }',
      )
    ).data.createWebhookEndpoint.webhookEndpoint.id;
    const foreign = await ask(
      { invoice: owner.invoiceId, subscription: owner.subscriptionId, method: owner.paymentMethodId, endpoint },
      'k1',
    );
    const unknown = await ask(
      {
        invoice: publicId('invoice', newId()),
        subscription: publicId('subscription', newId()),
        method: publicId('paymentMethod', newId()),
        endpoint: publicId('webhookEndpoint', newId()),
      },
      'k2',
    );
    expect(foreign).toBe(unknown);
    expect(foreign.match(/"code":"NOT_FOUND"/g)).toHaveLength(7);
  });
});

describe('connections', () => {
  test('walking 45 invoices by 7 meets each once, newest first, and says when there are no more', async () => {
    const account = await world.account();
    const ids = await manyInvoices(account, 45);
    const met: string[] = [];
    for (let after: string | null = null, pages = 0; ; pages++) {
      const { data } = await world.gql(
        account.token,
        'query($after: String) { invoices(first: 7, after: $after) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }',
        { after },
      );
      const { edges, pageInfo } = data.invoices;
      met.push(...edges.map((edge: { node: { id: string } }) => edge.node.id));
      expect(pageInfo).toMatchObject({
        hasPreviousPage: pages > 0,
        startCursor: edges[0].cursor,
        endCursor: edges.at(-1).cursor,
      });
      expect(pageInfo.hasNextPage).toBe(pages < 6);
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(met).toEqual(ids);
  });

  test('walking the deliveries of two endpoints at once meets each once, at its own endpoint', async () => {
    const { id: accountId, token } = await world.account();
    const endpoints = [newId(), newId()];
    await world.rows(sql`
      insert into webhook_endpoint (account_id, id, url, events, enabled, secret, created_at)
      select ${accountId}, id, 'http://127.0.0.1:9/', '{}', true, '', now() from unnest(${endpoints}::uuid[]) as t (id)`);
    await world.rows(sql`
      insert into webhook_delivery (account_id, id, endpoint_id, event_id, status, created_at)
      select ${accountId}, gen_random_uuid(), id, gen_random_uuid(), 'DELIVERED', now()
      from unnest(${endpoints}::uuid[]) as t (id), generate_series(1, 9)`);
    const met: string[][] = [[], []];
    let after: string | null = null;
    for (let pages = 0; pages < 3; pages++) {
      const { data } = await world.gql(
        token,
        'query($after: String) { webhookEndpoints { deliveries(first: 4, after: $after) { nodes { id } pageInfo { endCursor hasNextPage } } } }',
        { after },
      );
      const [one] = data.webhookEndpoints;
      met[0]!.push(...one.deliveries.nodes.map((node: { id: string }) => node.id));
      if (pages === 0)
        met[1]!.push(...data.webhookEndpoints[1].deliveries.nodes.map((node: { id: string }) => node.id));
      expect(one.deliveries.pageInfo.hasNextPage).toBe(pages < 2);
      after = one.deliveries.pageInfo.endCursor;
    }
    expect(met[0]).toEqual([...met[0]!].sort().reverse());
    expect([new Set(met[0]).size, met[1]!.length, new Set(met.flat()).size]).toEqual([9, 4, 13]);
  });

  test('a page that is exactly full has no next page', async () => {
    const account = await world.account();
    await manyInvoices(account, 5);
    const { data } = await world.gql(account.token, '{ invoices(first: 5) { nodes { id } pageInfo { hasNextPage } } }');
    expect(data.invoices.pageInfo.hasNextPage).toBe(false);
  });

  test('first outside 1 to 100 and unreadable cursors are INVALID, on every connection', async () => {
    const account = await subscribed(world);
    const fields = [
      (args: string) => `plans(${args}) { nodes { id } }`,
      (args: string) => `invoices(${args}) { nodes { id } }`,
      (args: string) => `events(${args}) { nodes { id } }`,
      (args: string) => `wallet { transactions(${args}) { nodes { id } } }`,
    ];
    for (const args of ['first: 0', 'first: 101', 'first: -5', 'first: 1, after: "\'"', 'first: 1, after: ""']) {
      for (const field of fields) {
        const { status, data, errors } = await world.gql(account.token, `{ ${field(args)} }`);
        expect({ args, status, data, codes: errors?.map((e) => e.extensions.code) }).toEqual({
          args,
          status: 400,
          data: null,
          codes: ['INVALID'],
        });
      }
    }
    const nullFirst = await world.gql(account.token, '{ invoices(first: null) { nodes { id } } }');
    expect(nullFirst.errors).toBeUndefined();
  });
});

describe('the number of SQL statements', () => {
  // Without a worker: what happens by itself would count as well.
  let quiet: World;
  beforeAll(async () => {
    quiet = await startWorld({ worker: false });
  });
  afterAll(() => quiet.stop());

  test('is the same for 1 row and for 50', async () => {
    const account = await subscribed(quiet);
    await manyInvoices(account, 60, quiet);
    await quiet.gql(
      account.token,
      'mutation { createWebhookEndpoint(input: { idempotencyKey: "w", url: "http://127.0.0.1:9/hook" }) { userErrors { code } } }',
    );
    for (let i = 0; i < 3; i++) {
      await quiet.gql(
        account.token,
        `mutation { topUp(input: { idempotencyKey: "t${i}", amount: { amount: "1", currency: "USD" } }) { userErrors { code } } }`,
      );
    }
    await quiet.settled();
    const queries = [
      'query($first: Int) { invoices(first: $first) { nodes { id lines { id amount { amount } } payments { id method { last4 } } } } }',
      'query($first: Int) { plans(first: $first) { nodes { features { metric { code } } } } }',
      'query($first: Int) { wallet { transactions(first: $first) { nodes { id amount { amount } } } } }',
      'query($first: Int) { events(first: $first) { nodes { id data } } }',
      'query($first: Int) { webhookEndpoints { deliveries(first: $first) { nodes { id event { id } log { error } } } } }',
    ];
    for (const query of queries) {
      const rows: number[] = [];
      const count = (first: number) =>
        countStatements(quiet, async () => {
          const { data, errors } = await quiet.gql(account.token, query, { first });
          expect(errors).toBeUndefined();
          rows.push(JSON.stringify(data).length);
        });
      const [one, fifty] = [await count(1), await count(50)];
      expect({ query, statements: fifty }).toEqual({ query, statements: one });
      expect(fifty).toBeLessThanOrEqual(6);
      expect(rows.at(-1)).toBeGreaterThan(rows[0]!);
    }
  });

  test('does not grow with the number of webhook endpoints', async () => {
    const account = await quiet.account();
    const count = () =>
      countStatements(quiet, () =>
        quiet.gql(account.token, '{ webhookEndpoints { deliveries(first: 10) { nodes { id event { id } } } } }'),
      );
    const add = (i: number) =>
      quiet.gql(
        account.token,
        `mutation { createWebhookEndpoint(input: { idempotencyKey: "w${i}", url: "http://127.0.0.1:9/${i}" }) { userErrors { code } } }`,
      );
    await add(0);
    const one = await count();
    for (let i = 1; i < 6; i++) await add(i);
    expect(await count()).toBe(one);
  });
});

describe('errors', () => {
  test('a repeated key replays the answer; with other input it is IDEMPOTENCY_MISMATCH', async () => {
    const account = await subscribed(world);
    const topUp = (amount: string) =>
      world.gql(
        account.token,
        'mutation($amount: Decimal!) { topUp(input: { idempotencyKey: "same", amount: { amount: $amount, currency: "USD" } }) { payment { id } wallet { balance { amount } } replayed userErrors { code field } } }',
        { amount },
      );
    const first = (await topUp('10.00')).data.topUp;
    const again = (await topUp('10.00')).data.topUp;
    expect(again).toEqual({ ...first, replayed: true });
    expect((await topUp('11.00')).data.topUp.userErrors).toEqual([
      { code: 'IDEMPOTENCY_MISMATCH', field: ['idempotencyKey'] },
    ]);
  });

  test('a declined card comes as userErrors with its decline code, and charges nothing', async () => {
    const { token } = await world.account();
    const { data, status } = await world.gql(
      token,
      `mutation {
      addPaymentMethod(input: { idempotencyKey: "c", token: "tok_chargeDeclinedInsufficientFunds", makeDefault: true }) { userErrors { code } }
      topUp(input: { idempotencyKey: "t", amount: { amount: "9.99", currency: "USD" } }) { wallet { balance { amount } } payment { status } userErrors { code declineCode retryable } }
    }`,
    );
    expect(status).toBe(200);
    expect(data.topUp).toEqual({
      wallet: { balance: { amount: '0.00' } },
      payment: { status: 'FAILED' },
      userErrors: [{ code: 'PAYMENT_DECLINED', declineCode: 'insufficient_funds', retryable: expect.any(Boolean) }],
    });
  });

  test.each([
    ['a misspelt field', '{ viewer { nam } }', {}],
    ['a misspelt argument', '{ plans(frist: 3) { nodes { id } } }', {}],
    ['a misspelt type', 'query($i: SubscribeInputt!) { preview(input: { subscribe: $i }) { token } }', {}],
    ['a misspelt enum value', '{ invoices(status: [PAIT]) { nodes { id } } }', {}],
    [
      'a misspelt enum value in a variable',
      'query($s: [InvoiceStatus!]) { invoices(status: $s) { nodes { id } } }',
      { s: ['PAIT'] },
    ],
    [
      'a misspelt input field in a variable',
      'mutation($i: TopUpInput!) { topUp(input: $i) { replayed } }',
      { i: { idempotencyKee: 'x' } },
    ],
    ['a misspelt input field', 'mutation { topUp(input: { idempotencyKee: "x" }) { replayed } }', {}],
  ])('%s is 400 with a code and without a suggestion or a stack', async (_what, query, variables) => {
    const { token } = await world.account();
    const { status, errors } = await world.gql(token, query, variables);
    expect(status).toBe(400);
    for (const { message, extensions } of errors!) {
      expect(extensions.code).toMatch(/^(INVALID|GRAPHQL_VALIDATION_FAILED)$/);
      expect(Object.keys(extensions)).toEqual(['code']);
      expect(message).not.toMatch(/did you mean|idempotencyKey"\?|"PAID"/i);
    }
  });

  test.each([
    ['no document', ''],
    ['a syntax error', '{ viewer { name '],
    ['an operation that is not there', 'query A { viewer { id } } query B { viewer { id } }'],
    ['a subscription, which needs a socket', 'subscription { usageUpdated { watermark } }'],
    ['a fragment only', 'fragment F on Account { id }'],
    ['exactly-one-of with none', '{ preview(input: {}) { token } }'],
    ['exactly-one-of with null', '{ preview(input: { subscribe: null }) { token } }'],
  ])('%s is 400 with a code', async (_what, query) => {
    const { token } = await world.account();
    const { status, data, errors } = await world.gql(token, query);
    expect({ status, data: data ?? null }).toEqual({ status: 400, data: null });
    expect(errors!.map((e) => typeof e.extensions.code)).toEqual(errors!.map(() => 'string'));
  });

  test('text that PostgreSQL cannot keep is the caller’s mistake, and fails nobody else', async () => {
    const account = await subscribed(world);
    const asks: [string, object][] = [
      [
        'mutation($t: String!) { topUp(input: { idempotencyKey: $t, amount: { amount: 1, currency: "USD" } }) { userErrors { code } } }',
        { t: 'a\u0000b' },
      ],
      [
        'mutation($t: String!) { subscribe(input: { idempotencyKey: "x", planCode: $t }) { userErrors { code } } }',
        { t: 'a\u0000b' },
      ],
      [
        'mutation($t: String!) { addPaymentMethod(input: { idempotencyKey: "x", token: $t }) { userErrors { code } } }',
        { t: 'a\u0000b' },
      ],
      ['query($t: String!) { plans(after: $t) { nodes { id } } }', { t: 'a\u0000b' }],
      [
        'mutation($t: String!) { recordUsage(input: { events: [{ transactionId: $t, metric: $t }] }) { results { status } userErrors { code } } }',
        { t: 'a\u0000b' },
      ],
      [
        'mutation($p: JSON) { recordUsage(input: { events: [{ transactionId: "p", metric: "users", properties: $p }] }) { results { status } userErrors { code } } }',
        { p: { a: '\u0000' } },
      ],
      [
        'mutation($p: JSON) { recordUsage(input: { events: [{ transactionId: "p", metric: "users", properties: $p }] }) { results { status } userErrors { code } } }',
        { p: ['\ud800'] },
      ],
      [
        'mutation { recordUsage(input: { events: [{ transactionId: "\\ud800", metric: "users" }, { transactionId: "\\ud801", metric: "users" }] }) { results { status } userErrors { code } } }',
        {},
      ],
    ];
    for (const [query, variables] of asks) {
      const { data, errors } = await world.gql(account.token, query, variables);
      const said = errors?.[0].extensions.code ?? data.recordUsage?.results[0].status;
      expect({ query, said }).toEqual({
        query,
        said: expect.stringMatching(/^(INVALID|REJECTED|GRAPHQL_PARSE_FAILED)$/),
      });
    }
  });

  test('an unexpected error says nothing but the request’s id', async () => {
    const other = await startWorld({ worker: false, env: { LOG_LEVEL: 'silent' } });
    try {
      const { token } = await other.account();
      await other.ownerRows(sql`drop table invoice_line, invoice cascade`);
      const response = await fetch(`${other.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query: '{ invoices { nodes { id } } }' }),
      });
      const requestId = response.headers.get('x-request-id');
      expect(response.status).toBe(500);
      expect(await response.json()).toEqual({
        data: null,
        errors: [
          {
            message: `Internal server error (request ${requestId})`,
            locations: [{ line: 1, column: 3 }],
            path: ['invoices'],
            extensions: { code: 'INTERNAL', requestId },
          },
        ],
        extensions: { cost: expect.any(Number) },
      });
    } finally {
      await other.stop();
    }
  });

  test.each([
    ['57014', 'UNAVAILABLE'], // statement_timeout
    ['57P01', 'UNAVAILABLE'], // the server stops
    ['53300', 'UNAVAILABLE'], // too many connections
    ['40001', 'UNAVAILABLE'], // serialisation failure, after all retries
    ['40P01', 'UNAVAILABLE'], // deadlock, after all retries
    ['ECONNREFUSED', 'UNAVAILABLE'],
    ['22021', 'INVALID'], // a zero byte in a text
    ['22P05', 'INVALID'], // a zero byte in a jsonb
    ['42P01', 'INTERNAL'],
  ])('SQLSTATE %s is shown as %s', (code, shown) => {
    const fault = Object.assign(new Error('secret detail'), { code });
    const { code: found, message } = billingErrorOf({ originalError: fault }, 'r1');
    expect(found).toBe(shown);
    expect(message).not.toContain('secret detail');
  });

  test('a connection that broke without a SQLSTATE is UNAVAILABLE', () => {
    for (const message of [
      'timeout exceeded when trying to connect',
      'Connection terminated unexpectedly',
      'Connection terminated due to connection timeout',
      'Client has encountered a connection error and is not queryable',
      'Client was closed and is not queryable',
    ]) {
      expect(billingErrorOf(new Error(message), 'r1').code).toBe('UNAVAILABLE');
    }
  });
});

describe('recordUsage', () => {
  test('takes 1,000 events in one request, each counted once', async () => {
    const account = await subscribed(world, { planCode: 'plan_enterprise' });
    const events = Array.from({ length: 1_000 }, (_, i) => ({
      transactionId: `t-${i}`,
      metric: 'voice_minutes',
      value: '1.5',
      properties: { from: '+491701234567', to: '+491707654321' },
    }));
    const record = () =>
      world.gql(
        account.token,
        'mutation($e: [UsageEventInput!]!) { recordUsage(input: { events: $e }) { results { transactionId status } watermark userErrors { code } } }',
        { e: events },
      );
    const first = await record();
    expect(first.errors).toBeUndefined();
    expect(first.data.recordUsage.results).toEqual(
      events.map(({ transactionId }) => ({ transactionId, status: 'ACCEPTED' })),
    );
    const again = await record();
    expect(new Set(again.data.recordUsage.results.map((r: { status: string }) => r.status))).toEqual(
      new Set(['DUPLICATE']),
    );
    const { data } = await world.gql(account.token, '{ usage { items { metric { code } used } } }');
    expect(data.usage.items).toContainEqual({ metric: { code: 'voice_minutes' }, used: '1500' });
  });

  test('more events than a request may have are refused as a whole', async () => {
    const { token } = await world.account();
    const events = Array.from({ length: 5_001 }, (_, i) => ({ transactionId: `${i}`, metric: 'users' }));
    const { data, errors } = await world.gql(
      token,
      'mutation($e: [UsageEventInput!]!) { recordUsage(input: { events: $e }) { results { status } userErrors { code } } }',
      { e: events },
    );
    expect(errors).toBeUndefined();
    expect(data.recordUsage).toEqual({ results: [], userErrors: [{ code: 'INVALID' }] });
  });
});

test('every answer tells its cost', async () => {
  const { token } = await world.account();
  const { extensions } = await world.gql(token, '{ invoices(first: 50) { nodes { id lines { id } } } }');
  expect(extensions.cost).toBeGreaterThan(50);
});

test('the GraphiQL page needs nobody else, and hands its headers to sockets', async () => {
  const response = await fetch(`${world.url}/graphiql?token=bk_abc`);
  const page = await response.text();
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  expect(page).not.toMatch(/<script[^>]* src=|<link[^>]* href="http|@import/);
  const call = page.lastIndexOf('renderWithSocketHeaders(');
  expect(page.indexOf('const renderWithSocketHeaders =')).toBeLessThan(call);
  expect(page.slice(call)).toContain('Bearer bk_abc');
  for (const token of ['</script><script>alert(1)', '"};alert(1);//']) {
    expect(await (await fetch(`${world.url}/graphiql?${new URLSearchParams({ token })}`)).text()).not.toContain(
      'alert(1)',
    );
  }
});
