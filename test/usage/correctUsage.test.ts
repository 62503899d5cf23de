import { createKey } from '../../src/account/apiKeys.js';
import { Decimal } from '../../src/domain/decimal.js';
import { sql } from '../../src/platform/sql.js';
import { correctUsage } from '../../src/usage/correctUsage.js';
import type { CorrectionInput } from '../../src/usage/parseCorrection.js';
import { allAtOnce, eventsOf, freshKey, invoicesOf, linesOf, runDue, subscribed } from '../support/billing.js';
import { countStatements } from '../support/graphql.js';
import {
  countsOf,
  expectCountersEqualEvents,
  meteringCatalogYaml,
  record as recordIn,
  usageOf,
} from '../support/metering.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: meteringCatalogYaml, worker: false });
});
afterAll(() => world.stop());
beforeEach(() => world.clock.set('2024-04-01T00:00:00Z'));

type Given = Parameters<typeof usageOf>[2] & object;
/** Records one event and returns its transactionId. */
async function one(account: TestAccount, metric: string, value?: string, more: Given = {}): Promise<string> {
  const event = usageOf(metric, value, more);
  expect(await recordIn(world, account, event)).toEqual(['ACCEPTED']);
  return event.transactionId;
}
const correct = (account: TestAccount, corrections: CorrectionInput[], idempotencyKey = freshKey()) =>
  correctUsage(world.deps, account.actor, { idempotencyKey, corrections });
const voided = (transactionId: string): CorrectionInput => ({ transactionId, action: 'VOID' });
const replaced = (transactionId: string, value: string): CorrectionInput => ({
  transactionId,
  action: 'REPLACE',
  value,
});
const used = async (account: TestAccount, metric: string) => (await countsOf(world, account, metric)).at(-1);
const thresholds = async (account: TestAccount) =>
  (await eventsOf(world, account, 'usage.threshold', 'usage.threshold_cleared')).map(
    ({ type, data }) => `${type === 'usage.threshold' ? '' : 'not '}${data.metric} ${data.threshold_percent}`,
  );

describe('a correction counts the window anew', () => {
  test.each([
    ['minutes', '60', '55', '40'],
    ['requests', '3', '3', '2'],
    ['peak', '30', '30', '30'],
    ['users', '3', '3', '3'],
  ])('%s', async (metric, before, afterReplace, afterVoid) => {
    const { account } = await subscribed(world);
    const values = { minutes: ['10', '20', '30'], peak: ['10', '20', '30'] }[metric] ?? ['1', '2', '3'];
    const events = values.map((value) => usageOf(metric, value));
    await recordIn(world, account, ...events);
    expect(await used(account, metric)).toBe(before);
    const second = events[1]!.transactionId;
    await correct(account, [replaced(second, '15')]);
    expect(await used(account, metric)).toBe(afterReplace);
    await correct(account, [voided(second)]);
    expect(await used(account, metric)).toBe(afterVoid);
    await expectCountersEqualEvents(world, account);
  });

  test('MAX falls back to the highest that is left', async () => {
    const { account } = await subscribed(world);
    const events = ['10', '30', '20'].map((value) => usageOf('peak', value));
    await recordIn(world, account, ...events);
    await correct(account, [voided(events[1]!.transactionId)]);
    expect(await used(account, 'peak')).toBe('20');
    await correct(account, [replaced(events[2]!.transactionId, '5')]);
    expect(await used(account, 'peak')).toBe('10');
  });

  test('LATEST falls back to the reading before, and to the level the period began with', async () => {
    const { account } = await subscribed(world);
    const first = await one(account, 'users', '4');
    const last = await one(account, 'users', '2');
    await correct(account, [voided(last)]);
    expect(await used(account, 'users')).toBe('4');
    await correct(account, [voided(first)]);
    expect(await used(account, 'users')).toBe('0');
  });

  test('UNIQUE counts a value as long as any event has it', async () => {
    const { account } = await subscribed(world);
    const [a, again, b] = [
      await one(account, 'devices', '1', { properties: { device: 'a' } }),
      await one(account, 'devices', '1', { properties: { device: 'a' } }),
      await one(account, 'devices', '1', { properties: { device: 'b' } }),
    ];
    await correct(account, [voided(a)]);
    expect(await used(account, 'devices')).toBe('2');
    await correct(account, [{ transactionId: again, action: 'REPLACE', properties: { device: 'b' } }]);
    expect(await used(account, 'devices')).toBe('1');
    await correct(account, [voided(b)]);
    await one(account, 'devices', '1', { properties: { device: 'a' } }); // voided, so not known
    expect(await used(account, 'devices')).toBe('2');
    await expect(correct(account, [{ transactionId: again, action: 'REPLACE', properties: {} }])).rejects.toMatchObject(
      { code: 'INVALID', details: { field: ['corrections', 0, 'properties'] } },
    );
    await expectCountersEqualEvents(world, account);
  });

  test('a reading of a level moves in time, and goes on being counted from', async () => {
    const { account } = await subscribed(world);
    world.clock.set('2024-04-21T00:00:00Z');
    const start = { timestamp: new Date('2024-04-01T01:00:00Z') };
    await one(account, 'seats', '10', start);
    const reading = await one(account, 'seats', '40', { timestamp: new Date('2024-04-11T00:00:00Z') });
    const to = new Date('2024-04-16T00:00:00Z');
    await correct(account, [{ transactionId: reading, action: 'REPLACE', timestamp: to, value: '70' }]);
    expect(new Decimal((await used(account, 'seats'))!).toDecimalPlaces(1).toFixed()).toBe('40');
    await expectCountersEqualEvents(world, account);
    await one(account, 'seats', '0', { timestamp: new Date('2024-04-18T00:00:00Z') });
    await expectCountersEqualEvents(world, account);
  });
});

describe('what is refused', () => {
  test('one bad correction, and none is made', async () => {
    const { account } = await subscribed(world);
    const [a, b] = [await one(account, 'minutes', '5'), await one(account, 'minutes', '7')];
    await correct(account, [voided(b)]);
    const fails = async (corrections: CorrectionInput[], code: string, field: (string | number)[]) =>
      expect(correct(account, corrections)).rejects.toMatchObject({ code, details: { field } });
    await fails([voided(a), voided('nope')], 'NOT_FOUND', ['corrections', 1, 'transactionId']);
    await fails([voided(a), voided(b)], 'ILLEGAL_STATE', ['corrections', 1, 'transactionId']);
    await fails([voided(a), voided(a)], 'INVALID', ['corrections', 1, 'transactionId']);
    await fails([replaced(a, 'x')], 'INVALID', ['corrections', 0, 'value']);
    await fails([replaced(a, '-1')], 'INVALID', ['corrections', 0, 'value']);
    await fails([{ transactionId: a, action: 'REPLACE' }], 'INVALID', ['corrections', 0, 'value']);
    await fails([{ ...voided(a), value: '1' }], 'INVALID', ['corrections', 0, 'action']);
    const outside = { ...replaced(a, '1'), timestamp: new Date('2024-03-01T00:00:00Z') };
    await fails([outside], 'INVALID', ['corrections', 0, 'timestamp']);
    await fails([{ ...voided(a), reason: 'x'.repeat(501) }], 'INVALID', ['corrections', 0, 'reason']);
    await fails([], 'INVALID', ['corrections']);
    await fails(
      Array.from({ length: 101 }, (_, i) => voided(`t${i}`)),
      'INVALID',
      ['corrections'],
    );
    expect(await used(account, 'minutes')).toBe('5');
    expect(await eventsOf(world, account, 'usage.corrected')).toHaveLength(1);
  });

  test('a transactionId stays taken, and is nobody else’s', async () => {
    const { account } = await subscribed(world);
    const { account: other } = await subscribed(world);
    const id = await one(account, 'minutes', '5');
    await correct(account, [voided(id)]);
    expect(await recordIn(world, account, usageOf('minutes', '5', { transactionId: id }))).toEqual(['DUPLICATE']);
    await expect(correct(other, [voided(id)])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await used(account, 'minutes')).toBe('0');
  });

  test('a replacement keeps to a blocking limit, unless it lowers the use', async () => {
    const { account } = await subscribed(world);
    const id = await one(account, 'users', '5');
    await expect(correct(account, [replaced(id, '6')])).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await correct(account, [replaced(id, '4')]);
    expect(await used(account, 'users')).toBe('4');
  });

  test('who may only record takes nothing back; who may correct does, and reads, and records nothing', async () => {
    const { account } = await subscribed(world);
    const id = await one(account, 'minutes', '9');
    const keyOf = async (scope: string) =>
      (await createKey(world.deps, { accountId: account.id, scopes: [scope] })).token;
    const body = { corrections: [{ transaction_id: id, action: 'void' }] };
    const event = { transaction_id: freshKey(), metric: 'minutes', value: 1 };
    for (const scope of ['usage:read', 'usage:write', '*:write']) {
      const { status, text } = await world.rest(await keyOf(scope), 'POST', '/usage/corrections', body);
      expect([scope, status, text.includes("lacks the scope 'usage:correct'")]).toEqual([scope, 403, true]);
    }
    expect(await used(account, 'minutes')).toBe('9');
    const corrects = await keyOf('usage:correct');
    expect((await world.rest(corrects, 'POST', '/usage/events', event)).status).toBe(403);
    expect((await world.rest(corrects, 'POST', '/usage/corrections', body)).status).toBe(200);
    expect((await world.rest(corrects, 'GET', '/usage')).body).toMatchObject({ minutes: { used: 0 } });
    for (const scope of ['usage:*', '*:*']) {
      const { status } = await world.rest(await keyOf(scope), 'POST', '/usage/corrections', body);
      expect([scope, status]).toEqual([scope, 409]); // it is voided by now
    }
    await expect(createKey(world.deps, { accountId: account.id, scopes: ['invoices:correct'] })).rejects.toMatchObject({
      code: 'INVALID',
    });
  });
});

test('thresholds clear, and fire once more', async () => {
  const { account } = await subscribed(world);
  const id = await one(account, 'minutes', '95');
  await correct(account, [replaced(id, '85')]);
  await correct(account, [replaced(id, '10')]);
  await one(account, 'minutes', '70');
  expect(await thresholds(account)).toEqual([
    'minutes 80',
    'minutes 90',
    'not minutes 90',
    'not minutes 80',
    'minutes 80',
  ]);
});

test('the event tells all of it, and the correction is kept', async () => {
  const { account } = await subscribed(world);
  const id = await one(account, 'minutes', '9.50', { properties: { call: 7 } });
  await correct(account, [
    { ...replaced(id, '1'), reason: 'counted twice' },
    voided(await one(account, 'minutes', '3')),
  ]);
  const [first, second] = await eventsOf(world, account, 'usage.corrected');
  expect(first!.data).toMatchObject({
    transaction_id: id,
    metric: 'minutes',
    action: 'replace',
    reason: 'counted twice',
    before: { value: 9.5, properties: { call: 7 } },
    after: { value: 1, properties: { call: 7 } },
    used: 1,
    period_start: '2024-04-01',
    period_end: '2024-04-30',
  });
  expect(second!.data).toMatchObject({ action: 'void', before: { value: 3 }, after: null });
});

test('the same key and input answer once, also at once; with another input it is a mismatch', async () => {
  const { account } = await subscribed(world);
  const id = await one(account, 'minutes', '9');
  const { done, codes } = await allAtOnce(4, () => correct(account, [voided(id)], 'once'));
  expect(codes).toEqual([]);
  expect(done.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(done.map(({ correctionIds }) => correctionIds.join())).size).toBe(1);
  await expect(correct(account, [replaced(id, '1')], 'once')).rejects.toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' });
});

describe('many at once', () => {
  test('of two that void the same event one succeeds', async () => {
    const { account } = await subscribed(world);
    const id = await one(account, 'minutes', '9');
    const { done, codes } = await allAtOnce(2, () => correct(account, [voided(id)]));
    expect([done.length, codes]).toEqual([1, ['ILLEGAL_STATE']]);
  });

  test('corrections between recordings: every counter equals its events', async () => {
    const { account } = await subscribed(world, { planCode: 'premium' });
    world.clock.set('2024-04-20T00:00:00Z');
    const metrics = ['minutes', 'requests', 'peak', 'users', 'seats', 'devices'];
    const event = (metric: string, i: number) =>
      usageOf(metric, String(i % 9), {
        timestamp: new Date(Date.parse('2024-04-02T00:00:00Z') + ((i * 37) % 101) * 3_600_000),
        properties: { device: `d${i % 5}` },
      });
    const first = metrics.flatMap((metric) => Array.from({ length: 12 }, (_, i) => event(metric, i)));
    await recordIn(world, account, ...first);
    const { codes } = await allAtOnce(24, async (i) => {
      if (i % 2 === 0) return recordIn(world, account, ...metrics.map((metric) => event(metric, i + 20)));
      const mine = first.filter((_, n) => n % 24 === i);
      return correct(
        account,
        mine.map(({ transactionId }, n) =>
          n % 2 === 0 ? voided(transactionId) : replaced(transactionId, String(n + 3)),
        ),
      );
    });
    expect(codes).toEqual([]);
    await expectCountersEqualEvents(world, account);
  });
});

describe('when the period was invoiced', () => {
  async function invoiced(): Promise<{
    account: TestAccount;
    ids: Record<'minutes' | 'more' | 'users' | 'seats', string>;
  }> {
    const { account } = await subscribed(world);
    const ids = {
      minutes: await one(account, 'minutes', '150.5'),
      more: await one(account, 'minutes', '20'),
      users: await one(account, 'users', '4'),
      seats: await one(account, 'seats', '4'),
    };
    world.clock.set('2024-05-01T00:01:00Z');
    await runDue(world);
    return { account, ids };
  }

  test('a credit note is proposed to the cent, and nothing is booked', async () => {
    const { account, ids } = await invoiced();
    const before = await invoicesOf(world, account);
    // 170.5 → 120 minutes, 100 of them free, at 0.05.
    const { proposals } = await correct(account, [replaced(ids.minutes, '100')]);
    expect(proposals).toMatchObject([
      { kind: 'CREDIT_NOTE', metric: 'minutes', previousMinor: '353', correctedMinor: '100', invoiceId: before[1]!.id },
    ]);
    expect((await invoicesOf(world, account)).map(({ totalMinor }) => totalMinor)).toEqual([3000n, 3353n]);
    expect(await countsOf(world, account, 'minutes')).toEqual(['120', '0']);
    expect(await thresholds(account)).toEqual(expect.not.arrayContaining([expect.stringContaining('not')]));
    // The next one is measured from there.
    expect((await correct(account, [voided(ids.minutes)])).proposals).toMatchObject([
      { kind: 'CREDIT_NOTE', previousMinor: '100', correctedMinor: '0' },
    ]);
    expect((await correct(account, [voided(ids.more)])).proposals).toEqual([]);
  });

  test('dearer is an extra line, also where nothing was billed; a level goes on into the next period', async () => {
    const { account, ids } = await invoiced();
    const { proposals } = await correct(account, [
      replaced(ids.minutes, '200'),
      replaced(ids.users, '3'),
      replaced(ids.seats, '0'),
    ]);
    expect(proposals).toMatchObject([{ kind: 'EXTRA_LINE', previousMinor: '353', correctedMinor: '600' }]);
    expect(await countsOf(world, account, 'users')).toEqual(['3', '3']);
    expect((await countsOf(world, account, 'seats')).at(-1)).toBe('0');
    const { proposals: unbilled } = await correct(account, [replaced(ids.seats, '7')]);
    expect(unbilled).toMatchObject([{ kind: 'EXTRA_LINE', metric: 'seats', invoiceId: null, previousMinor: '0' }]);
    expect((await countsOf(world, account, 'seats')).at(-1)).toBe('7');
    expect(await thresholds(account)).toContain('seats 100');
    await expectCountersEqualEvents(world, account);
  });

  test('an invoice that is void is owed by nobody', async () => {
    const { account, ids } = await invoiced();
    await world.rows(sql`update invoice set status = 'VOID' where account_id = ${account.id}`);
    expect((await correct(account, [voided(ids.minutes)])).proposals).toEqual([]);
  });

  test('a draft is drawn anew instead', async () => {
    const { account, ids } = await invoiced();
    const draft = (await invoicesOf(world, account))[1]!;
    await world.rows(sql`update invoice set status = 'DRAFT' where account_id = ${account.id} and id = ${draft.id}`);
    await world.rows(
      sql`update usage_window set draft_invoice_id = ${draft.id} where account_id = ${account.id} and closed_at is not null`,
    );
    expect((await correct(account, [replaced(ids.minutes, '100')])).proposals).toEqual([]);
    expect(await linesOf(world, draft)).toEqual(['Minutes over the limit of 100 100', 'Basic 3000']);
    await correct(account, [voided(ids.minutes)]);
    expect(await linesOf(world, draft)).toEqual(['Basic 3000']);
    expect((await invoicesOf(world, account))[1]!.totalMinor).toBe(3000n);
  });

  test('through GraphQL: the proposal with its line, and from the line down to its events', async () => {
    const { account, ids } = await invoiced();
    const late = usageOf('minutes', '130', { timestamp: new Date('2024-04-30T20:00:00Z') });
    await recordIn(world, account, late, usageOf('minutes', '1'));
    const correcting = `mutation($id: String!, $key: String!) {
      correctUsage(input: { idempotencyKey: $key, corrections: [{ transactionId: $id, action: REPLACE, value: "100", reason: "typo" }] }) {
        usage { items { metric { code } used } } corrections { transactionId action before after reason createdAt }
        proposals { kind metric { code } previousAmount { amount } correctedAmount { amount } difference { amount currency } amount { amount }
          invoice { id number } invoiceLine { id description amount { amount } } }
        userErrors { code field } replayed } }`;
    const { data, errors } = await world.gql(account.token, correcting, { id: ids.minutes, key: 'g' });
    expect(errors).toBeUndefined();
    expect(data.correctUsage).toMatchObject({
      corrections: [
        {
          transactionId: ids.minutes,
          action: 'REPLACE',
          before: { value: '150.5' },
          after: { value: '100' },
          reason: 'typo',
        },
      ],
      proposals: [
        {
          kind: 'CREDIT_NOTE',
          metric: { code: 'minutes' },
          previousAmount: { amount: '3.53' },
          correctedAmount: { amount: '1.00' },
          difference: { amount: '-2.53', currency: 'USD' },
          amount: { amount: '2.53' },
          invoiceLine: { description: 'Minutes over the limit of 100', amount: { amount: '3.53' } },
        },
      ],
      userErrors: [],
      replayed: false,
    });
    const again = await world.gql(account.token, correcting, { id: ids.minutes, key: 'g' });
    expect(again.data.correctUsage).toMatchObject({ ...data.correctUsage, replayed: true });
    const unknown = await world.gql(account.token, correcting, { id: 'nope', key: 'h' });
    expect(unknown.data.correctUsage).toMatchObject({
      corrections: [],
      proposals: [],
      userErrors: [{ code: 'NOT_FOUND', field: ['corrections', '0', 'transactionId'] }],
    });

    const reading = `query($id: ID!, $first: Int, $after: String) { invoice(id: $id) { lines { description explanation { result }
      events(first: $first, after: $after) { pageInfo { hasNextPage endCursor }
        nodes { transactionId metric { code } value timestamp recordedAt late properties voidedAt corrections { action reason } } } } } }`;
    const linesFor = async (id: string, more: object = {}) =>
      (await world.gql(account.token, reading, { id, ...more })).data.invoice.lines;
    const [usage, fee] = await linesFor(data.correctUsage.proposals[0].invoice.id);
    expect(fee.events).toBeNull();
    expect(usage.events.nodes).toMatchObject([
      {
        transactionId: ids.more,
        metric: { code: 'minutes' },
        value: '20',
        late: false,
        voidedAt: null,
        corrections: [],
      },
      { transactionId: ids.minutes, value: '100', corrections: [{ action: 'REPLACE', reason: 'typo' }] },
    ]);

    // The next invoice: late and voided events among those behind its line.
    const gone = await one(account, 'minutes', '40');
    await correct(account, [voided(gone)]);
    world.clock.set('2024-06-01T00:01:00Z');
    await runDue(world);
    const { data: list } = await world.gql(account.token, '{ invoices(first: 1) { nodes { id } } }');
    const { id } = list.invoices.nodes[0];
    const [line] = await linesFor(id);
    const counted = line.events.nodes.filter((event: { voidedAt: string | null }) => event.voidedAt === null);
    const sum = counted.reduce((total: Decimal, event: { value: string }) => total.plus(event.value), new Decimal(0));
    expect(line.explanation[0].result).toBe(sum.toFixed());
    expect(line.events.nodes).toHaveLength(3);
    expect(line.events.nodes.at(-1)).toMatchObject({ transactionId: late.transactionId, late: true });

    const pages: string[] = [];
    for (let after: string | undefined, more = true; more; ) {
      const [{ events }] = await linesFor(id, { first: 1, after });
      pages.push(...events.nodes.map((event: { transactionId: string }) => event.transactionId));
      ({ hasNextPage: more, endCursor: after } = events.pageInfo);
    }
    expect(pages).toEqual(line.events.nodes.map((event: { transactionId: string }) => event.transactionId));
    const counts = (first: number) =>
      countStatements(world, () =>
        world.gql(
          account.token,
          'query($first: Int) { invoices(first: $first) { nodes { lines { events(first: 1) { nodes { value } } } } } }',
          { first },
        ),
      );
    expect(await counts(10)).toBe(await counts(1));
    const bad = await world.gql(account.token, reading, { id, after: '2024-99-99T00:00:00.000Z x' });
    expect(bad.errors).toMatchObject([{ extensions: { code: 'INVALID' } }]);

    const { token } = await createKey(world.deps, { accountId: account.id, scopes: ['invoices:read'] });
    const blind = await world.gql(token, reading, { id });
    expect(blind.errors!.map(({ extensions }) => extensions.code)).toContain('FORBIDDEN');
    expect(blind.data.invoice.lines[0].events).toBeNull();
  });

  test('through REST', async () => {
    const { account, ids } = await invoiced();
    const body = { corrections: [{ transaction_id: ids.minutes, action: 'void' }] };
    const answer = await world.rest(account.token, 'POST', '/usage/corrections', body, { 'idempotency-key': 'r' });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      usage: { minutes: { limit: 100, used: 0 } },
      corrections: [
        { transaction_id: ids.minutes, action: 'void', before: { value: 150.5 }, after: null, reason: null },
      ],
      proposals: [
        { kind: 'credit_note', metric: 'minutes', currency: 'USD', previous_amount: 3.53, corrected_amount: 0 },
      ],
    });
    expect(answer.text).toContain('"difference":-3.53');
    const again = await world.rest(account.token, 'POST', '/usage/corrections', body, { 'idempotency-key': 'r' });
    expect([again.status, again.body]).toEqual([200, answer.body]);
    const bad = { corrections: [{ transaction_id: 'x', action: 'undo' }] };
    const refused = await world.rest(account.token, 'POST', '/usage/corrections', bad);
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, '/corrections/0/action']);
    const unknown = await world.rest(account.token, 'POST', '/usage/corrections', {
      corrections: [{ transaction_id: 'x', action: 'replace', value: 1 }],
    });
    expect([unknown.status, unknown.body.errors[0].pointer]).toEqual([404, '/corrections/0']);
  });
});
