import { transact } from '../../src/platform/db.js';
import { claimKey } from '../../src/platform/idempotency.js';
import { sql } from '../../src/platform/sql.js';
import { startWorld, type TestAccount, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const claim = (
  { id }: Pick<TestAccount, 'id'>,
  key: string | undefined,
  input: unknown,
  answer: object,
  operation = 'op',
) => transact(world.deps, id, (tx) => claimKey(tx, { operation, key, input, answer }));

test('the first claim keeps its answer, a repeat gets that one back', async () => {
  const account = await world.account();
  expect(await claim(account, 'k', { a: 1 }, { id: 'first' })).toEqual({ replayed: false, answer: { id: 'first' } });
  expect(await claim(account, 'k', { a: 1 }, { id: 'second' })).toEqual({ replayed: true, answer: { id: 'first' } });
});

test.each<[string, unknown, unknown]>([
  ['the order of keys', { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }],
  ['an absent and an undefined field', { a: 1 }, { a: 1, b: undefined }],
  ['equal bigints', { a: 10n }, { a: 10n }],
  ['nothing at all', undefined, undefined],
])('%s make the same input', async (_what, first, second) => {
  const account = await world.account();
  await claim(account, 'k', first, {});
  expect((await claim(account, 'k', second, {})).replayed).toBe(true);
});

test.each<[string, unknown, unknown]>([
  ['another value', { a: 1 }, { a: 2 }],
  ['a number and its text', { a: 1 }, { a: '1' }],
  ['a number and the bigint', { a: 1 }, { a: 1n }],
  ['null and absence', { a: null }, {}],
  ['the order of a list', { a: [1, 2] }, { a: [2, 1] }],
  ['a list and an object', { a: ['x'] }, { a: { 0: 'x' } }],
])('%s make another input: IDEMPOTENCY_MISMATCH', async (_what, first, second) => {
  const account = await world.account();
  await claim(account, 'k', first, {});
  await expect(claim(account, 'k', second, {})).rejects.toMatchObject({
    code: 'IDEMPOTENCY_MISMATCH',
    details: { field: ['idempotencyKey'] },
  });
});

test('a key belongs to one account and one operation', async () => {
  const [a, b] = [await world.account(), await world.account()];
  await claim(a, 'k', 1, {});
  expect((await claim(b, 'k', 2, {})).replayed).toBe(false);
  expect((await claim(a, 'k', 2, {}, 'other')).replayed).toBe(false);
});

test.each(['', 'x'.repeat(256)])('a key of no or more than 255 characters is INVALID', async (key) => {
  await expect(claim(await world.account(), key, 1, {})).rejects.toMatchObject({ code: 'INVALID' });
});

test('without a key nothing is claimed', async () => {
  const account = await world.account();
  expect((await claim(account, undefined, 1, { id: 1 })).replayed).toBe(false);
  expect(await world.rows(sql`select 1 from idempotency_key where account_id = ${account.id}`)).toEqual([]);
});

test('of twenty at a time one wins, and all hear its answer', async () => {
  const account = await world.account();
  const claims = await Promise.all(Array.from({ length: 20 }, (_, n) => claim(account, 'k', 'same', { n })));
  expect(claims.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(claims.map(({ answer }) => JSON.stringify(answer))).size).toBe(1);
});

test('a claim goes with its transaction: after a rollback the key is free, with any input', async () => {
  const account = await world.account();
  await expect(
    transact(world.deps, account.id, async (tx) => {
      await claimKey(tx, { operation: 'op', key: 'k', input: 1, answer: {} });
      throw new Error('rolled back');
    }),
  ).rejects.toThrow('rolled back');
  expect((await claim(account, 'k', 2, {})).replayed).toBe(false);
});
