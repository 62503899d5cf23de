import { updateBillingSettings } from '../../src/account/updateBillingSettings.js';
import { Decimal } from '../../src/domain/decimal.js';
import { sql } from '../../src/platform/sql.js';
import { freshKey, operatorOf } from '../support/billing.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const shown = '{ gracePeriodHours retryAfterDays dunningEnd taxExempt taxRates { name percent inclusive } }';
const mutation = (input: string) =>
  `mutation { updateBillingSettings(input: { idempotencyKey: "${freshKey()}", ${input} }) { billingSettings ${shown} replayed userErrors { code field message } } }`;

test('an operator sets what he names; the rest stays as it is', async () => {
  const account = await world.account();
  const ask = await operatorOf(world, account);
  const standard = {
    gracePeriodHours: 0,
    retryAfterDays: [1, 3, 5, 7],
    dunningEnd: 'CANCEL',
    taxExempt: false,
    taxRates: [],
  };
  expect((await ask(`{ viewer { billingSettings ${shown} } }`)).viewer.billingSettings).toEqual(standard);
  const first = await ask(
    mutation(
      'gracePeriodHours: 24, dunningEnd: PAST_DUE, taxRates: [{ name: "VAT", percent: "19" }, { name: "Levy", percent: "0.5", inclusive: true }]',
    ),
  );
  const taxRates = [
    { name: 'VAT', percent: '19', inclusive: false },
    { name: 'Levy', percent: '0.5', inclusive: true },
  ];
  const set = { ...standard, gracePeriodHours: 24, dunningEnd: 'PAST_DUE', taxRates };
  expect(first.updateBillingSettings).toEqual({ billingSettings: set, replayed: false, userErrors: [] });
  const second = await ask(mutation('retryAfterDays: [], taxExempt: true, taxRates: [{ name: "VAT", percent: "20" }]'));
  expect(second.updateBillingSettings.billingSettings).toEqual({
    ...set,
    retryAfterDays: [],
    taxExempt: true,
    taxRates: [{ name: 'VAT', percent: '20', inclusive: false }],
  });
  const rates = await world.rows(
    sql`select name, archived_at is null as live from tax_rate where account_id = ${account.id} order by id`,
  );
  expect(rates).toEqual([
    { name: 'VAT', live: false },
    { name: 'Levy', live: false },
    { name: 'VAT', live: true },
  ]);
});

test('the same key sets once', async () => {
  const { actor } = await world.account();
  const input = {
    idempotencyKey: 'k',
    gracePeriodHours: 5,
    taxRates: [{ name: 'VAT', percent: new Decimal(7), inclusive: false }],
  };
  expect(await updateBillingSettings(world.deps, actor, input)).toEqual({ replayed: false });
  expect(await updateBillingSettings(world.deps, actor, input)).toEqual({ replayed: true });
  await expect(updateBillingSettings(world.deps, actor, { ...input, gracePeriodHours: 6 })).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISMATCH',
  });
});

test.each([
  ['gracePeriodHours: 73', ['gracePeriodHours']],
  ['gracePeriodHours: -1', ['gracePeriodHours']],
  ['retryAfterDays: [0, 3]', ['retryAfterDays']],
  ['retryAfterDays: [3, 3]', ['retryAfterDays']],
  ['retryAfterDays: [5, 3]', ['retryAfterDays']],
  ['retryAfterDays: [1, 61]', ['retryAfterDays']],
  ['retryAfterDays: [1,2,3,4,5,6,7,8,9,10,11]', ['retryAfterDays']],
  ['taxRates: [{ name: "VAT", percent: "100.01" }]', ['taxRates', '0', 'percent']],
  ['taxRates: [{ name: "VAT", percent: "-1" }]', ['taxRates', '0', 'percent']],
  ['taxRates: [{ name: " ", percent: "1" }]', ['taxRates', '0', 'name']],
  [`taxRates: [${'{ name: "T", percent: "1" },'.repeat(11)}]`, ['taxRates']],
])('%s is refused', async (input, field) => {
  const ask = await operatorOf(world, await world.account());
  expect((await ask(mutation(input))).updateBillingSettings.userErrors).toMatchObject([{ code: 'INVALID', field }]);
});

test('a customer can read them, but not set them', async () => {
  const account = await world.account();
  const { data } = await world.gql(account.token, `{ viewer { billingSettings ${shown} } }`);
  expect(data.viewer.billingSettings.gracePeriodHours).toBe(0);
  const { errors } = await world.gql(account.token, mutation('taxExempt: true'));
  expect(errors?.[0].extensions.code).toBe('FORBIDDEN');
});
