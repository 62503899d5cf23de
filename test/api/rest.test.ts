import { createKey } from '../../src/account/apiKeys.js';
import { ProviderUnavailable } from '../../src/integrations/payments/provider.js';
import { advanceDueSubscriptions } from '../../src/subscription/renewDue.js';
import { startWorld, type World } from '../support/world.js';

const base = '/api/v1/billing';
const unknownId = '01jd0000000000000000000000';
let world: World;

beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const send: World['rest'] = (...request) => world.rest(...request);

/** An account on the professional plan, paid with a card that works. */
async function customer(options: Parameters<World['account']>[0] = {}) {
  const account = await world.account(options);
  const added = await send(account.token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa_xxx' });
  const made = await send(account.token, 'POST', '/subscriptions', { plan_id: 'plan_professional' });
  expect([added.status, made.status]).toEqual([201, 201]);
  return { ...account, paymentMethodId: String(added.body.id), subscriptionId: String(made.body.id) };
}

const today = (): string => new Date().toISOString().slice(0, 10);

describe('the answers of the integration guide, to the byte', () => {
  test('the plans', async () => {
    const { token } = await world.account();
    const { status, headers, text } = await send(token, 'GET', '/plans');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(text).toBe(
      '{"plans":[' +
        '{"id":"plan_starter","name":"Starter","price":49.00,"currency":"USD","interval":"month","features":{"users":5,"storage_gb":10,"voice_minutes":500}},' +
        '{"id":"plan_professional","name":"Professional","price":149.00,"currency":"USD","interval":"month","features":{"users":50,"storage_gb":100,"voice_minutes":5000}},' +
        '{"id":"plan_enterprise","name":"Enterprise","price":499.00,"currency":"USD","interval":"month","features":{"users":500,"storage_gb":1000,"voice_minutes":50000}}' +
        ']}',
    );
  });

  test('the current usage', async () => {
    const { token, subscriptionId } = await customer();
    const values = { users: 35, storage: 45.7, voice_minutes: 2340 };
    const events = Object.entries(values).map(([metric, value]) => ({ transaction_id: metric, metric, value }));
    await send(token, 'POST', '/usage/events', { events });
    const subscription = await send(token, 'GET', `/subscriptions/${subscriptionId}`);
    const { current_period_start, current_period_end } = subscription.body;
    const { text } = await send(token, 'GET', '/usage');
    expect(text).toBe(
      `{"period_start":"${current_period_start}","period_end":"${current_period_end}",` +
        '"users":{"limit":50,"used":35},"storage":{"limit_gb":100,"used_gb":45.7},"voice_minutes":{"limit":5000,"used":2340}}',
    );
  });

  test('the wallet', async () => {
    const { token } = await customer();
    expect((await send(token, 'GET', '/wallet')).text).toBe(
      '{"balance":0.00,"currency":"USD","auto_recharge":{"enabled":false,"threshold":null,"amount":null}}',
    );
    await send(token, 'POST', '/wallet/top-up', '{"amount": 250.00}');
    const set = await send(
      token,
      'PUT',
      '/wallet/auto-recharge',
      '{"enabled": true, "threshold": 50.00, "amount": "100"}',
    );
    const expected =
      '{"balance":250.00,"currency":"USD","auto_recharge":{"enabled":true,"threshold":50.00,"amount":100.00}}';
    expect(set.text).toBe(expected);
    expect((await send(token, 'GET', '/wallet')).text).toBe(expected);
  });
});

describe('subscriptions', () => {
  test('the body of the guide subscribes, upgrades at once and cancels at the end of the period', async () => {
    const { token } = await world.account();
    const made = await send(token, 'POST', '/subscriptions', {
      plan_id: 'plan_professional',
      payment_method_id: 'pm_card_xxx',
    });
    expect(made.status).toBe(201);
    expect(made.body).toEqual({
      id: expect.stringMatching(/^sub_/),
      plan_id: 'plan_professional',
      status: 'active',
      current_period_start: today(),
      current_period_end: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
      trial_ends_at: null,
      cancel_at: null,
      canceled_at: null,
      pending_plan_id: null,
      quantity: 1,
      pending_quantity: null,
      paused_at: null,
      resume_at: null,
      created_at: expect.any(String),
    });
    const path = `/subscriptions/${made.body.id}`;
    expect((await send(token, 'GET', path)).text).toBe(made.text);
    expect((await send(token, 'GET', '/subscriptions')).text).toBe(`{"subscriptions":[${made.text}]}`);

    const changed = await send(token, 'PATCH', path, { plan_id: 'plan_enterprise' });
    expect([changed.status, changed.body.plan_id]).toEqual([200, 'plan_enterprise']);
    const planned = await send(token, 'PATCH', path, { plan_id: 'plan_starter' });
    expect(planned.body).toMatchObject({ plan_id: 'plan_enterprise', pending_plan_id: 'plan_starter' });
    const atEnd = await send(token, 'DELETE', path);
    expect(atEnd.body).toMatchObject({ status: 'active', cancel_at: expect.any(String), pending_plan_id: null });
    const atOnce = await send(token, 'DELETE', `${path}?timing=immediate`);
    expect([atOnce.status, atOnce.body.status]).toEqual([200, 'canceled']);
  });

  test('a declined card answers 402 and shows the subscription that waits for its payment', async () => {
    const { token } = await world.account();
    const answer = await send(token, 'POST', '/subscriptions', {
      plan_id: 'plan_starter',
      payment_method_id: 'tok_chargeDeclinedInsufficientFunds',
    });
    expect(answer.status).toBe(402);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.body).toMatchObject({
      type: 'urn:semaswift:billing:PAYMENT_DECLINED',
      title: 'Payment declined',
      status: 402,
      code: 'PAYMENT_DECLINED',
      decline_code: 'insufficient_funds',
      errors: [{ pointer: '/payment_method_id', detail: expect.any(String) }],
      subscription: { status: 'incomplete', plan_id: 'plan_starter' },
    });
  });

  test('a card that asks for 3-D Secure answers 402 with what the client needs for it', async () => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'POST', '/subscriptions', {
      plan_id: 'plan_starter',
      payment_method_id: 'tok_threeDSecure2Required',
    });
    expect([status, body.code]).toEqual([402, 'REQUIRES_ACTION']);
    expect(body.client_secret).toEqual(expect.any(String));
  });

  test('a second subscription is a conflict', async () => {
    const { token } = await customer();
    const { status, body } = await send(token, 'POST', '/subscriptions', { plan_id: 'plan_starter' });
    expect([status, body.code]).toEqual([409, 'CONFLICT']);
  });
});

describe('payment methods', () => {
  test('are added, shown, made the default and removed', async () => {
    const { token } = await world.account();
    const visa = await send(token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa_xxx' });
    expect(visa.status).toBe(201);
    expect(visa.text).toMatch(
      /^\{"id":"pm_\w+","type":"card","brand":"visa","last4":"4242","exp_month":\d+,"exp_year":\d{4},"is_default":true\}$/,
    );
    const amex = await send(token, 'POST', '/payment-methods', { type: 'card', token: 'tok_amex' });
    const promoted = await send(token, 'POST', `/payment-methods/${amex.body.id}/default`);
    expect([promoted.status, promoted.body.is_default]).toEqual([200, true]);
    const shown = await send(token, 'GET', `/payment-methods/${amex.body.id}`);
    expect(shown.text).toBe(promoted.text);

    const refused = await send(token, 'DELETE', `/payment-methods/${amex.body.id}`);
    expect([refused.status, refused.body.code]).toEqual([409, 'ILLEGAL_STATE']);
    const removed = await send(token, 'DELETE', `/payment-methods/${visa.body.id}`);
    expect([removed.status, removed.text]).toEqual([204, '']);
    expect((await send(token, 'GET', `/payment-methods/${visa.body.id}`)).status).toBe(404);
    expect((await send(token, 'GET', '/payment-methods')).text).toBe(`{"payment_methods":[${promoted.text}]}`);
  });

  test('an unknown token is 422 at /token', async () => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'POST', '/payment-methods', { type: 'card', token: 'tok_nonsense' });
    expect([status, body.errors]).toEqual([422, [{ pointer: '/token', detail: expect.any(String) }]]);
  });
});

describe('invoices', () => {
  test('are listed, shown and downloaded as PDF', async () => {
    const { token } = await customer({ name: 'Acme' });
    const { body } = await send(token, 'GET', '/invoices');
    const [invoice] = body.invoices as Record<string, string>[];
    expect(Object.keys(body)).toEqual(['invoices']);
    const shown = await send(token, 'GET', `/invoices/${invoice!.id}`);
    expect(shown.text).toContain('"total":149.00');
    expect(shown.body).toEqual(invoice);

    const pdf = await fetch(`${world.url}${invoice!.pdf_url}`, { headers: { authorization: `Bearer ${token}` } });
    expect([pdf.status, pdf.headers.get('content-type')]).toEqual([200, 'application/pdf']);
    expect(pdf.headers.get('content-disposition')).toBe(`inline; filename="${invoice!.number}.pdf"`);
    expect(Buffer.from(await pdf.arrayBuffer()).subarray(0, 5)).toEqual(Buffer.from('%PDF-'));
  });

  test('an open one is paid with the default method, and only once', async () => {
    const { token } = await world.account();
    await send(token, 'POST', '/subscriptions', {
      plan_id: 'plan_starter',
      payment_method_id: 'tok_chargeDeclined',
    });
    const list = await send(token, 'GET', '/invoices?status=open');
    const [open] = list.body.invoices as { id: string }[];
    const declined = await send(token, 'POST', `/invoices/${open!.id}/pay`);
    expect([declined.status, declined.body.invoice]).toEqual([402, expect.objectContaining({ status: 'open' })]);
    expect(declined.body.errors).toBeUndefined(); // it has no body a pointer could point into

    const visa = await send(token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
    await send(token, 'POST', `/payment-methods/${visa.body.id}/default`);
    const paid = await send(token, 'POST', `/invoices/${open!.id}/pay`);
    expect([paid.status, paid.body.status]).toEqual([200, 'paid']);
    const again = await send(token, 'POST', `/invoices/${open!.id}/pay`);
    expect([again.status, again.body.code]).toEqual([409, 'ILLEGAL_STATE']);
  });

  test('come in pages linked to each other, newest first', async () => {
    const { token, subscriptionId } = await customer();
    await send(token, 'PATCH', `/subscriptions/${subscriptionId}`, { plan_id: 'plan_enterprise' });
    const all = (await send(token, 'GET', '/invoices')).body.invoices as { id: string }[];
    expect(all).toHaveLength(2);
    const first = await send(token, 'GET', '/invoices?limit=1&status=paid,open');
    expect(first.body.invoices).toEqual([all[0]]);
    const link = /^<(.*)>; rel="next"$/.exec(first.headers.get('link')!)![1]!;
    const last = await send(token, 'GET', link.replace(base, ''));
    expect(last.body.invoices).toEqual([all[1]]);
    expect(last.headers.get('link')).toBeNull();
  });
});

describe('usage', () => {
  test('each event gets its own answer', async () => {
    const { token } = await customer();
    const timestamp = new Date().toISOString();
    const events = [
      { transaction_id: 'a', metric: 'voice_minutes', value: '1.5', timestamp, properties: { call: 7 } },
      { transaction_id: 'a', metric: 'voice_minutes' },
      { transaction_id: 'b', metric: 'nonsense' },
      { transaction_id: 'c', metric: 'users', value: 'many' },
      { transaction_id: 'd', metric: 'users', timestamp: 'yesterday' },
      { transaction_id: 'e', metric: 'users', account_id: `acct_${unknownId}` },
      { transaction_id: 'f', metric: 'voice_minutes', value: 1e-7 },
    ];
    const { status, body } = await send(token, 'POST', '/usage/events', { events });
    const error = (code: string, field: string) => ({ code, field, message: expect.any(String) });
    expect(status).toBe(200);
    expect(body).toEqual({
      results: [
        { transaction_id: 'a', status: 'accepted' },
        { transaction_id: 'a', status: 'duplicate' },
        { transaction_id: 'b', status: 'rejected', error: error('NOT_FOUND', 'metric') },
        { transaction_id: 'c', status: 'rejected', error: error('INVALID', 'value') },
        { transaction_id: 'd', status: 'rejected', error: error('INVALID', 'timestamp') },
        { transaction_id: 'e', status: 'rejected', error: error('NOT_FOUND', 'account_id') },
        { transaction_id: 'f', status: 'accepted' },
      ],
      watermark: expect.stringMatching(/^\d+$/),
    });
    expect((await send(token, 'GET', '/usage')).text).toContain('"voice_minutes":{"limit":5000,"used":1.5000001}');
  });

  test.each([
    [{ transaction_id: '', metric: 'users' }, 'transaction_id'],
    [{ transaction_id: 'a', metric: 'users', value: 'many' }, 'value'],
    [{ transaction_id: 'a', metric: 'users', timestamp: '2026-11-22' }, 'timestamp'],
  ])('%j alone is rejected, too', async (event, field) => {
    const { token } = await customer();
    const { status, body } = await send(token, 'POST', '/usage/events', event);
    expect([status, body.results]).toEqual([
      200,
      [expect.objectContaining({ status: 'rejected', error: { code: 'INVALID', field, message: expect.any(String) } })],
    ]);
  });

  test('a single event, a list and ndjson are taken too', async () => {
    const { token } = await customer();
    const event = (id: string) => ({ transaction_id: id, metric: 'voice_minutes', value: 0.1 });
    await send(token, 'POST', '/usage/events', event('one'));
    await send(token, 'POST', '/usage/events', [event('two')]);
    const lines = `${JSON.stringify(event('three'))}\n\n${JSON.stringify(event('four'))}\n`;
    const answer = await send(token, 'POST', '/usage/events', lines, { 'content-type': 'application/x-ndjson' });
    expect(answer.body.results).toHaveLength(2);
    expect((await send(token, 'GET', '/usage')).text).toContain('"used":0.4}');
  });

  test('a request that is no list of events says where', async () => {
    const { token } = await customer();
    const good = { transaction_id: 'a', metric: 'users' };
    const nested = await send(token, 'POST', '/usage/events', { events: [good, { metric: 'users', properties: 7 }] });
    expect([nested.status, nested.body.errors]).toEqual([
      422,
      [
        { pointer: '/events/1/transaction_id', detail: 'expected a text, found nothing' },
        { pointer: '/events/1/properties', detail: 'expected an object, found 7' },
      ],
    ]);
    const single = await send(token, 'POST', '/usage/events', { transaction_id: 'a' });
    expect(single.body.errors).toEqual([{ pointer: '/metric', detail: 'expected a text, found nothing' }]);
    const none = await send(token, 'POST', '/usage/events', { events: [] });
    expect([none.status, none.body.errors]).toEqual([422, [{ pointer: '/events', detail: expect.any(String) }]]);
    const broken = await send(token, 'POST', '/usage/events', `${JSON.stringify(good)}\n{"a`, {
      'content-type': 'application/x-ndjson',
    });
    expect([broken.status, broken.body.detail]).toEqual([400, expect.stringContaining('Line 2')]);
  });

  test('the history has a period for each subscription period, the current one first', async () => {
    const { token } = await customer();
    const current = await send(token, 'GET', '/usage');
    const history = await send(token, 'GET', '/usage/history?period=6m');
    expect(history.text).toBe(`{"history":[${current.text}]}`);
    expect((await send(token, 'GET', '/usage/history')).text).toBe(history.text);
  });

  test('a month later the history has the month before, and `period` cuts it', async () => {
    const later = await startWorld({ worker: false });
    try {
      const { token } = await later.account();
      await later.rest(token, 'POST', '/subscriptions', { plan_id: 'plan_starter', payment_method_id: 'pm_card_visa' });
      const before = await later.rest(token, 'GET', '/usage');
      later.clock.advanceMs(32 * 86_400_000);
      await advanceDueSubscriptions(later.deps);
      const now = await later.rest(token, 'GET', '/usage');
      expect(now.body.period_start > before.body.period_end).toBe(true);
      const both = await later.rest(token, 'GET', '/usage/history?period=2m');
      expect(both.text).toBe(`{"history":[${now.text},${before.text}]}`);
      expect((await later.rest(token, 'GET', '/usage/history?period=1m')).text).toBe(`{"history":[${now.text}]}`);
    } finally {
      await later.stop();
    }
  });

  test.each(['0m', '25m', '6', '1y', '-1m', '6m&period=7m'])('a history of %s is 422', async (period) => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'GET', `/usage/history?period=${period}`);
    expect([status, body.errors]).toEqual([422, [{ parameter: 'period', detail: expect.any(String) }]]);
  });

  test('a megabyte of events is taken, more is 413', async () => {
    const { token } = await customer();
    const padded = (bytes: number) => {
      const event = { transaction_id: `t${bytes}`, metric: 'users', properties: { note: '' } };
      event.properties.note = 'x'.repeat(bytes - JSON.stringify(event).length);
      return JSON.stringify(event);
    };
    expect((await send(token, 'POST', '/usage/events', padded(1_000_000))).status).toBe(200);
    const { status, body } = await send(token, 'POST', '/usage/events', padded(1_000_001));
    expect([status, body.code]).toEqual([413, 'TOO_LARGE']);
  });
});

describe('the wallet', () => {
  test.each([
    ['{"amount": 100.00}', '100.00'],
    ['{"amount": 19.99}', '19.99'],
    ['{"amount": 0.1}', '0.10'],
    ['{"amount": "12.50", "currency": "USD"}', '12.50'],
    ['{"amount": 1e2, "payment_method_id": "pm_card_xxx"}', '100.00'],
    ['{"amount": 20.000, "unknown": {"member": true}}', '20.00'],
  ])('%s adds exactly %s', async (body, amount) => {
    const { token } = await customer();
    const { status, text } = await send(token, 'POST', '/wallet/top-up', body);
    expect(status).toBe(201);
    expect(text).toMatch(
      new RegExp(
        `^\\{"id":"pay_\\w+","amount":${amount},"currency":"USD","status":"succeeded","balance":${amount},"created_at":"[^"]+"\\}$`,
      ),
    );
    expect((await send(token, 'GET', '/wallet')).text).toContain(`{"balance":${amount},`);
  });

  test('amounts have the decimals of their currency', async () => {
    const yen = await world.account({ currency: 'JPY' });
    const body = { amount: 1500, payment_method_id: 'pm_card_visa' };
    expect((await send(yen.token, 'POST', '/wallet/top-up', body)).text).toContain('"amount":1500,"currency":"JPY"');
    const dinar = await world.account({ currency: 'KWD' });
    expect((await send(dinar.token, 'POST', '/wallet/top-up', { ...body, amount: 1.25 })).text).toContain(
      '"amount":1.250,"currency":"KWD"',
    );
  });

  test.each([
    ['{"amount": 0.001}', '/amount'],
    ['{"amount": 0}', '/amount'],
    ['{"amount": -5}', '/amount'],
    ['{"amount": 1e20}', '/amount'],
    ['{"amount": 1e999}', '/amount'],
    ['{"amount": "ten"}', '/amount'],
    ['{"amount": true}', '/amount'],
    ['{"amount": {"rawJSON": "5"}}', '/amount'],
    ['{}', '/amount'],
    ['{"amount": 5, "currency": "EUR"}', '/currency'],
    ['{"amount": 5, "currency": "XYZ1"}', '/currency'],
    ['{"amount": 5, "payment_method_id": 7}', '/payment_method_id'],
    ['[]', ''],
    ['"amount"', ''],
  ])('a top-up of %s is 422 at "%s" and moves nothing', async (body, pointer) => {
    const { token } = await customer();
    const answer = await send(token, 'POST', '/wallet/top-up', body);
    expect([answer.status, answer.body.errors]).toEqual([422, [{ pointer, detail: expect.any(String) }]]);
    expect((await send(token, 'GET', '/wallet')).text).toContain('{"balance":0.00,');
  });

  test('a declined top-up is 402 and leaves the balance', async () => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'POST', '/wallet/top-up', {
      amount: 5,
      payment_method_id: 'tok_chargeDeclined',
    });
    expect(status).toBe(402);
    expect(body).toMatchObject({ decline_code: 'card_declined', payment_id: expect.stringMatching(/^pay_/) });
    expect((await send(token, 'GET', '/wallet')).text).toContain('{"balance":0.00,');
  });

  test('auto-recharge says which setting it lacks', async () => {
    const { token } = await customer();
    const lacking = await send(token, 'PUT', '/wallet/auto-recharge', { enabled: true, threshold: 5 });
    expect([lacking.status, lacking.body.errors]).toEqual([422, [{ pointer: '/amount', detail: expect.any(String) }]]);
    const fine = await send(
      token,
      'PUT',
      '/wallet/auto-recharge',
      '{"enabled": true, "threshold": 5.001, "amount": 1}',
    );
    expect([fine.status, fine.body.errors]).toEqual([422, [{ pointer: '/threshold', detail: expect.any(String) }]]);
  });

  test('pays an invoice before the card does', async () => {
    const { token, subscriptionId } = await customer();
    await send(token, 'POST', '/wallet/top-up', { amount: 10 });
    const changed = await send(token, 'PATCH', `/subscriptions/${subscriptionId}`, { plan_id: 'plan_enterprise' });
    expect([changed.status, changed.body.plan_id]).toEqual([200, 'plan_enterprise']);
    expect((await send(token, 'GET', '/invoices?limit=1')).text).toContain('"wallet_applied":10.00,');
    const { text } = await send(token, 'GET', '/wallet/transactions?limit=1');
    expect(text).toContain('"type":"wallet_payment","amount":-10.00,"currency":"USD","balance_after":0.00,');
  });

  test('its movements come newest first, with the balance after each', async () => {
    const { token } = await customer();
    await send(token, 'POST', '/wallet/top-up', { amount: 10 });
    await send(token, 'POST', '/wallet/top-up', { amount: 5 });
    const { text } = await send(token, 'GET', '/wallet/transactions?limit=1');
    expect(text).toMatch(
      /^\{"transactions":\[\{"id":"wtx_\w+","type":"top_up","amount":5.00,"currency":"USD","balance_after":15.00,"created_at":"[^"]+"\}\]\}$/,
    );
  });
});

describe('webhooks and events', () => {
  test('an endpoint is made, listed without its secret, and deleted', async () => {
    const { token } = await world.account();
    const url = 'http://127.0.0.1:9/hooks';
    const made = await send(token, 'POST', '/webhooks', { url, events: ['invoice.paid'] });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ url, events: ['invoice.paid'], secret: expect.stringMatching(/^whsec_/) });
    const list = await send(token, 'GET', '/webhooks');
    expect(list.body.webhooks).toEqual([expect.objectContaining({ id: made.body.id, enabled: true })]);
    expect(list.text).not.toContain('whsec_');
    expect((await send(token, 'GET', `/webhooks/${made.body.id}/deliveries`)).text).toBe('{"deliveries":[]}');
    expect((await send(token, 'DELETE', `/webhooks/${made.body.id}`)).status).toBe(204);
    expect((await send(token, 'GET', '/webhooks')).text).toBe('{"webhooks":[]}');
    expect((await send(token, 'DELETE', `/webhooks/${made.body.id}`)).status).toBe(404);
  });

  test('mistakes in an endpoint point at the member and its item', async () => {
    const { token } = await world.account();
    const type = await send(token, 'POST', '/webhooks', { url: 'http://127.0.0.1', events: ['invoice.paid', 'no'] });
    expect([type.status, type.body.errors]).toEqual([422, [{ pointer: '/events/1', detail: expect.any(String) }]]);
    const url = await send(token, 'POST', '/webhooks', { url: 'http://10.0.0.1' });
    expect([url.status, url.body.errors]).toEqual([422, [{ pointer: '/url', detail: expect.any(String) }]]);
  });

  test('a delivery names its event', async () => {
    const { token } = await world.account();
    const made = await send(token, 'POST', '/webhooks', { url: 'http://127.0.0.1:9/hooks' });
    await send(token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
    const { body: log } = await send(token, 'GET', '/events');
    const [event] = log.events as Record<string, unknown>[];
    await world.settled();
    const { body } = await send(token, 'GET', `/webhooks/${made.body.id}/deliveries`);
    const [{ duration_ms, ...delivery }, ...others] = body.deliveries;
    expect([typeof duration_ms === 'number' || duration_ms === null, others]).toEqual([true, []]);
    expect(delivery).toEqual({
      id: expect.stringMatching(/^whd_/),
      event_id: event!.id,
      event_type: 'payment_method.added',
      test: false,
      status: expect.stringMatching(/^(pending|failed)$/),
      attempts: expect.any(Number),
      next_attempt_at: expect.any(String),
      response_status: null,
      created_at: expect.any(String),
    });
  });

  test('the event log continues behind a sequence', async () => {
    const { token } = await customer();
    const { body } = await send(token, 'GET', '/events');
    const events = body.events as { sequence: number; type: string; data: { sequence: number } }[];
    expect(events.map((event) => event.sequence)).toEqual(events.map((_, index) => index + 1));
    expect(events.map((event) => event.data.sequence)).toEqual(events.map((event) => event.sequence));
    expect(events.map((event) => event.type)).toContain('subscription.created');
    expect(Object.keys(events[0]!)).toEqual(['id', 'type', 'sequence', 'timestamp', 'data']);

    const first = await send(token, 'GET', '/events?limit=2');
    expect(first.headers.get('link')).toBe(`<${base}/events?limit=2&after=2>; rel="next"`);
    const rest = await send(token, 'GET', '/events?after=2');
    expect(rest.body.events).toEqual(events.slice(2));
    expect(rest.headers.get('link')).toBeNull();
    expect((await send(token, 'GET', '/events?after=x')).status).toBe(422);
  });
});

describe('idempotency', () => {
  const key = { 'idempotency-key': 'order-1' };

  test.each([
    ['POST', '/wallet/top-up', { amount: 5 }],
    ['POST', '/payment-methods', { type: 'card', token: 'tok_visa' }],
    ['POST', '/webhooks', { url: 'http://127.0.0.1:9' }],
    ['PUT', '/wallet/auto-recharge', { enabled: false, amount: 5 }],
  ])('%s %s with one key happens once', async (method, path, body) => {
    const { token } = await customer();
    const first = await send(token, method, path, body, key);
    const again = await send(token, method, path, body, key);
    expect(first.status).toBeLessThan(300);
    expect([again.status, again.text]).toEqual([first.status, first.text]);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('a repeated subscription, its cancellation and a removal answer as the first time', async () => {
    const { token } = await world.account();
    const body = { plan_id: 'plan_starter', payment_method_id: 'pm_card_xxx' };
    const made = await send(token, 'POST', '/subscriptions', body, key);
    const again = await send(token, 'POST', '/subscriptions', body, key);
    expect([again.status, again.text, again.headers.get('idempotent-replayed')]).toEqual([201, made.text, 'true']);
    const list = await send(token, 'GET', '/payment-methods');
    for (const [path, status] of [
      [`/subscriptions/${made.body.id}?timing=immediate`, 200],
      [`/payment-methods/${list.body.payment_methods[0].id}`, 204],
    ] as const) {
      const first = await send(token, 'DELETE', path, undefined, key);
      const repeat = await send(token, 'DELETE', path, undefined, key);
      expect([first.status, repeat.status, repeat.text]).toEqual([status, status, first.text]);
      expect(repeat.headers.get('idempotent-replayed')).toBe('true');
    }
  });

  test('a declined payment is declined again without a second charge', async () => {
    const { token } = await world.account();
    const body = { amount: 5, payment_method_id: 'tok_chargeDeclined' };
    const first = await send(token, 'POST', '/wallet/top-up', body, key);
    const again = await send(token, 'POST', '/wallet/top-up', body, key);
    expect([again.status, again.body.payment_id]).toEqual([402, first.body.payment_id]);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('a key used with another input is 422', async () => {
    const { token } = await customer();
    await send(token, 'POST', '/wallet/top-up', { amount: 5 }, key);
    const { status, body } = await send(token, 'POST', '/wallet/top-up', { amount: 6 }, key);
    expect([status, body.code]).toEqual([422, 'IDEMPOTENCY_MISMATCH']);
    expect(body.errors).toEqual([{ header: 'Idempotency-Key', detail: expect.any(String) }]);
    expect((await send(token, 'GET', '/wallet')).text).toContain('{"balance":5.00,');
  });

  test('of two requests at once one answers and the other is in flight or replayed', async () => {
    const { token } = await customer();
    const both = await Promise.all([0, 1].map(() => send(token, 'POST', '/wallet/top-up', { amount: 5 }, key)));
    expect(both.some(({ status }) => status === 201)).toBe(true);
    for (const { status, headers, body } of both) {
      if (status === 201) continue;
      expect([status, body.code, headers.get('retry-after')]).toEqual([409, 'IDEMPOTENCY_IN_FLIGHT', '1']);
    }
    expect((await send(token, 'GET', '/wallet')).text).toContain('{"balance":5.00,');
  });

  test('a key that is too long is refused before anything happens', async () => {
    const { token } = await customer();
    const long = { 'idempotency-key': 'x'.repeat(256) };
    const { status, body } = await send(token, 'POST', '/wallet/top-up', { amount: 5 }, long);
    expect([status, body.errors]).toEqual([422, [{ header: 'Idempotency-Key', detail: expect.any(String) }]]);
  });
});

describe('errors', () => {
  /** Every path with every method it takes. */
  const paths: [string, string[]][] = [
    ['/plans', ['GET']],
    ['/subscriptions', ['POST', 'GET']],
    ['/subscriptions/ID', ['GET', 'PATCH', 'DELETE']],
    ['/payment-methods', ['POST', 'GET']],
    ['/payment-methods/ID', ['GET', 'DELETE']],
    ['/payment-methods/ID/default', ['POST']],
    ['/invoices', ['GET']],
    ['/invoices/ID', ['GET']],
    ['/invoices/ID/pdf', ['GET']],
    ['/invoices/ID/pay', ['POST']],
    ['/usage', ['GET']],
    ['/usage/history', ['GET']],
    ['/usage/events', ['POST']],
    ['/usage/corrections', ['POST']],
    ['/wallet', ['GET']],
    ['/wallet/top-up', ['POST']],
    ['/wallet/auto-recharge', ['PUT']],
    ['/wallet/transactions', ['GET']],
    ['/webhooks', ['POST', 'GET']],
    ['/webhooks/ID', ['PATCH', 'DELETE']],
    ['/webhooks/ID/rotate-secret', ['POST']],
    ['/webhooks/ID/test', ['POST']],
    ['/webhooks/ID/redeliver', ['POST']],
    ['/webhooks/ID/deliveries', ['GET']],
    ['/webhooks/ID/deliveries/whd_1', ['GET']],
    ['/webhooks/ID/deliveries/whd_1/redeliver', ['POST']],
    ['/events', ['GET']],
  ];
  const operations = paths.flatMap(([path, methods]) => methods.map((method) => [method, path] as const));

  test.each(operations)('%s %s without a token, or with a wrong one, is 401', async (method, path) => {
    for (const token of [undefined, 'bk_wrong']) {
      const { status, headers, body } = await send(token, method, path, method === 'GET' ? undefined : {});
      expect([status, headers.get('www-authenticate'), body.code]).toEqual([401, 'Bearer', 'UNAUTHENTICATED']);
    }
  });

  test.each(
    operations.filter(([, path]) => path !== '/plans'),
  )('%s %s without its scope is 403', async (method, path) => {
    const { token } = await world.account({ scopes: [] });
    const { status, body } = await send(token, method, path, method === 'GET' ? undefined : {});
    expect([status, body.code, body.detail]).toEqual([403, 'FORBIDDEN', expect.stringContaining('lacks the scope')]);
  });

  test('the plans need a token, but no scope', async () => {
    const { token } = await world.account({ scopes: [] });
    expect((await send(token, 'GET', '/plans')).status).toBe(200);
  });

  test('what belongs to another account is as unknown as what never was', async () => {
    const theirs = await customer();
    const mine = await customer();
    const hook = await send(theirs.token, 'POST', '/webhooks', { url: 'http://127.0.0.1:9' });
    const list = await send(theirs.token, 'GET', '/invoices');
    const ids: Record<string, string> = {
      '/subscriptions/ID': theirs.subscriptionId,
      '/payment-methods/ID': theirs.paymentMethodId,
      '/payment-methods/ID/default': theirs.paymentMethodId,
      '/invoices/ID': String((list.body.invoices as { id: string }[])[0]!.id),
      '/webhooks/ID': String(hook.body.id),
    };
    ids['/invoices/ID/pdf'] = ids['/invoices/ID/pay'] = ids['/invoices/ID']!;
    for (const below of ['deliveries', 'rotate-secret', 'test', 'redeliver'])
      ids[`/webhooks/ID/${below}`] = ids['/webhooks/ID']!;
    const onOne = operations.filter(([, path]) => path.includes('ID') && !path.includes('whd_1'));
    expect(new Set(onOne.map(([, path]) => path))).toEqual(new Set(Object.keys(ids)));
    for (const [method, path] of onOne) {
      const bodies: Record<string, object> = {
        'PATCH /subscriptions/ID': { plan_id: 'plan_starter' },
        'PATCH /webhooks/ID': { enabled: true },
        'POST /webhooks/ID/test': {},
        'POST /webhooks/ID/redeliver': { from: '2026-01-01T00:00:00Z' },
      };
      const body = bodies[`${method} ${path}`];
      const id = ids[path]!;
      const never = id.replace(/_.*/, `_${unknownId}`);
      const seen = [];
      for (const each of [id, never, 'nonsense', '%00']) {
        const answer = await send(mine.token, method, path.replace('ID', each), body);
        seen.push([
          answer.status,
          answer.text.replaceAll(decodeURIComponent(each), 'ID').replace(/"request_id":"[^"]*"/, ''),
        ]);
      }
      expect(seen[0]![0]).toBe(404);
      expect(seen[1]).toEqual(seen[0]);
      expect(seen[2]).toEqual(seen[0]);
      expect(seen[3]![0]).toBe(404);
    }
    for (const payment_method_id of [theirs.paymentMethodId, `pm_${unknownId}`]) {
      const { status, body } = await send(mine.token, 'POST', '/wallet/top-up', { amount: 5, payment_method_id });
      expect([status, body.errors]).toEqual([
        404,
        [{ pointer: '/payment_method_id', detail: `No payment method with id '${payment_method_id}'` }],
      ]);
    }
  });

  test.each(paths)('a method %s does not take is 405, with those it takes', async (path, methods) => {
    const { token } = await world.account();
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      if (methods.includes(method)) continue;
      const { status, headers, body } = await send(token, method, path, method === 'PUT' ? '{broken' : undefined);
      expect([method, status, headers.get('allow'), body.code]).toEqual([method, 405, allow, 'METHOD_NOT_ALLOWED']);
    }
  });

  test.each([
    ['GET', ''],
    ['GET', '/'],
    ['GET', '/plans/'],
    ['POST', '/nothing'],
    ['GET', `/invoices/${'x'.repeat(300)}`],
    ['GET', '/subscriptions/a/b'],
  ])('%s %s is 404', async (method, path) => {
    const { token } = await world.account();
    const { status, headers, body } = await send(token, method, path, method === 'POST' ? '<xml/>' : undefined);
    expect([status, body.code, body.status]).toEqual([404, 'NOT_FOUND', 404]);
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  });

  test('what is not of billing, below /api, is 404 in the same form', async () => {
    const response = await fetch(`${world.url}/api/v2/nothing`);
    expect([response.status, await response.json()]).toEqual([404, expect.objectContaining({ code: 'NOT_FOUND' })]);
  });

  test('a broken escape in the path is 400', async () => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'GET', '/invoices/%zz');
    expect([status, body.code]).toEqual([400, 'MALFORMED']);
  });

  test.each([
    ['{"amount": 5'],
    ['amount=5'],
    ['{"amount": 05}'],
    [''],
    ['  '],
    ['{"currency": "a\\u0000b"}'],
    ['{"\\ud800": 1}'],
    [`{"amount": ${'9'.repeat(200)}}`],
    [`${'['.repeat(40_000)}${']'.repeat(40_000)}`],
    [`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`],
  ])('the body %.40s is 400', async (body) => {
    const { token } = await customer();
    const answer = await send(token, 'POST', '/wallet/top-up', body);
    expect([answer.status, answer.body.code]).toEqual([400, 'MALFORMED']);
  });

  test('a body that is not UTF-8 is 400', async () => {
    const { token } = await world.account();
    const response = await fetch(`${world.url}${base}/wallet/top-up`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: Uint8Array.from([0x22, 0xff, 0x22]),
    });
    expect([response.status, ((await response.json()) as { detail: string }).detail]).toEqual([
      400,
      'The body is not UTF-8',
    ]);
  });

  test('a body of more than 100 kB is 413', async () => {
    const { token } = await customer();
    const padded = (bytes: number) => `{"amount": 5, "note": "${'x'.repeat(bytes - 25)}"}`;
    expect((await send(token, 'POST', '/wallet/top-up', padded(100_000))).status).toBe(201);
    const { status, body } = await send(token, 'POST', '/wallet/top-up', padded(100_001));
    expect([status, body.code]).toEqual([413, 'TOO_LARGE']);
  });

  test.each([
    [{ 'content-type': 'application/x-www-form-urlencoded' }],
    [{ 'content-type': 'text/plain' }],
    [{ 'content-type': 'application/x-ndjson' }],
    [{ 'content-type': 'nonsense' }],
    [{ 'content-encoding': 'gzip' }],
  ])('a body with %j is 415', async (headers) => {
    const { token } = await customer();
    const { status, body } = await send(token, 'POST', '/wallet/top-up', '{"amount": 5}', headers);
    expect([status, body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  test('every mistake in a body is named at once', async () => {
    const { token } = await world.account();
    const body = { payment_method_id: '', plan_id: 7 };
    const { body: problem } = await send(token, 'POST', '/subscriptions', body);
    expect(problem.errors).toEqual([
      { pointer: '/plan_id', detail: 'expected a text of 1 to 255 characters, found 7' },
      { pointer: '/payment_method_id', detail: "expected a text of 1 to 255 characters, found ''" },
    ]);
  });

  test('what a use case refuses points at the member of the body, by its name here', async () => {
    const { token, subscriptionId } = await customer();
    const unknown = await send(token, 'PATCH', `/subscriptions/${subscriptionId}`, { plan_id: 'plan_none' });
    expect([unknown.status, unknown.body.errors]).toEqual([404, [{ pointer: '/plan_id', detail: expect.any(String) }]]);
    const timing = await send(token, 'PATCH', `/subscriptions/${subscriptionId}`, {
      plan_id: 'plan_starter',
      timing: 'now',
    });
    expect(timing.body.errors).toEqual([
      { pointer: '/timing', detail: "expected one of auto, immediate, period_end, found 'now'" },
    ]);
  });

  test.each([
    ['/invoices?limit=0', 'limit'],
    ['/invoices?limit=101', 'limit'],
    ['/invoices?limit=ten', 'limit'],
    ['/invoices?limit=1&limit=2', 'limit'],
    ['/invoices?after=nonsense', 'after'],
    ['/invoices?after=pm_01jd0000000000000000000000', 'after'],
    ['/invoices?status=late', 'status'],
    ['/wallet/transactions?after=1', 'after'],
    ['/events?limit=-1', 'limit'],
  ])('GET %s is 422 at the parameter', async (path, parameter) => {
    const { token } = await world.account();
    const { status, body } = await send(token, 'GET', path);
    expect([status, body.errors]).toEqual([422, [{ parameter, detail: expect.any(String) }]]);
  });

  test('every answer has the id of its request, and is not to be stored', async () => {
    const { token } = await world.account();
    for (const [bearer, path] of [
      [token, '/plans'],
      [token, '/nothing'],
      [undefined, '/plans'],
    ] as const) {
      const { headers, body } = await send(bearer, 'GET', path);
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-request-id')).toMatch(/\w+/);
      if (body?.request_id) expect(body.request_id).toBe(headers.get('x-request-id'));
    }
  });

  test('HEAD answers as GET, without the body', async () => {
    const { token } = await world.account();
    const response = await fetch(`${world.url}${base}/plans`, {
      method: 'HEAD',
      headers: { authorization: `Bearer ${token}` },
    });
    expect([response.status, await response.text()]).toEqual([200, '']);
  });

  test('an operator names the account; the log and usage of many need none', async () => {
    const { publicId, token } = await customer();
    const operator = await createKey(world.deps, { accountId: undefined, scopes: ['*'] });
    const of = { 'billing-account': publicId };
    expect((await send(operator.token, 'GET', '/wallet', undefined, of)).text).toBe(
      (await send(token, 'GET', '/wallet')).text,
    );
    const unnamed = await send(operator.token, 'GET', '/wallet');
    expect([unnamed.status, unnamed.body.errors]).toEqual([
      422,
      [{ header: 'Billing-Account', detail: expect.any(String) }],
    ]);
    const unknown = await send(operator.token, 'GET', '/wallet', undefined, { 'billing-account': `acct_${unknownId}` });
    expect([unknown.status, unknown.body.errors]).toEqual([
      404,
      [{ header: 'Billing-Account', detail: expect.any(String) }],
    ]);
    expect((await send(operator.token, 'GET', '/plans')).status).toBe(200);
    const event = { transaction_id: 'of-operator', metric: 'users', value: 3, account_id: publicId };
    const { body } = await send(operator.token, 'POST', '/usage/events', event);
    expect(body.results).toEqual([{ transaction_id: 'of-operator', status: 'accepted' }]);
  });
});

test('a payment the provider has not answered is 202, not an invitation to pay again; it is settled later', async () => {
  const account = await world.account();
  await world.rest(account.token, 'POST', '/payment-methods', { type: 'card', token: 'tok_visa' });
  const { payments } = world.deps;
  const charge = payments.charge.bind(payments);
  payments.charge = async (input) => {
    await charge(input);
    throw new ProviderUnavailable('the answer was lost');
  };
  const topUp = () =>
    world.rest(account.token, 'POST', '/wallet/top-up', { amount: 10 }, { 'idempotency-key': 'lost' });
  const lost = await topUp();
  payments.charge = charge;
  expect(lost).toMatchObject({ status: 202, body: { status: 'pending', amount: 10, balance: 0 } });
  expect(await topUp()).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_IN_FLIGHT' } });

  world.clock.advanceMs(31_000);
  await world.sweeps.runOnce();
  world.clock.advanceMs(-31_000);
  expect(await topUp()).toMatchObject({ status: 201, body: { id: lost.body.id, status: 'succeeded', balance: 10 } });
});
