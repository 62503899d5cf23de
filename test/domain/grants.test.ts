import fc from 'fast-check';
import { type BurnableGrant, burn, burnsBefore, capture, giveBack, upTo } from '../../src/domain/grants.js';

const spendable = (grants: readonly BurnableGrant[]): bigint =>
  grants.reduce((sum, { freeMinor }) => sum + freeMinor, 0n);

const at = (day: number): Date => new Date(Date.UTC(2026, 3, day));
const now = at(10);
const grant = (id: string, of: Partial<BurnableGrant> = {}): BurnableGrant => ({
  id,
  kind: 'purchased',
  priority: 50,
  expiresAt: null,
  createdAt: at(1),
  freeMinor: 100n,
  ...of,
});
const taken = (grants: readonly BurnableGrant[], amountMinor: bigint) =>
  burn(grants, amountMinor).map(({ grantId, amountMinor }) => `${grantId} ${amountMinor}`);

test.each<[string, BurnableGrant[], string[]]>([
  ['the lower priority number', [grant('b', { priority: 2 }), grant('a', { priority: 1 })], ['a 100', 'b 50']],
  [
    'what expires first, and what never does last',
    [grant('c'), grant('b', { expiresAt: at(30) }), grant('a', { expiresAt: at(20) })],
    ['a 100', 'b 50'],
  ],
  ['given before bought', [grant('b'), grant('a', { kind: 'granted' })], ['a 100', 'b 50']],
  ['the older one', [grant('b', { createdAt: at(2) }), grant('a', { createdAt: at(1) })], ['a 100', 'b 50']],
  [
    'priority weighs more than expiry, expiry more than kind, kind more than age',
    [
      grant('e', { kind: 'purchased', createdAt: at(1) }),
      grant('d', { kind: 'granted', createdAt: at(3), freeMinor: 10n }),
      grant('c', { kind: 'purchased', expiresAt: at(20), freeMinor: 20n }),
      grant('b', { kind: 'granted', expiresAt: at(20), createdAt: at(9), freeMinor: 40n }),
      grant('a', { priority: 0, createdAt: at(9), freeMinor: 30n }),
    ],
    ['a 30', 'b 40', 'c 20', 'd 10', 'e 50'],
  ],
  ['nothing of what is all held', [grant('b'), grant('a', { freeMinor: 0n, priority: 0 })], ['b 100']],
])('is spent first: %s', (_name, grants, expected) => {
  expect(taken(grants, 150n)).toEqual(expected);
});

const grants = fc
  .array(
    fc.record({
      kind: fc.constantFrom('purchased', 'granted'),
      priority: fc.integer({ min: 0, max: 3 }),
      expiresAt: fc.option(fc.integer({ min: 5, max: 15 }).map(at)),
      createdAt: fc.integer({ min: 1, max: 3 }).map(at),
      freeMinor: fc.bigInt(0n, 1_000n),
    }),
  )
  .map((list) => list.map((of, i) => grant(`g${i}`, of as Partial<BurnableGrant>)));
const amount = fc.bigInt(0n, 3_000n);
const sum = (parts: readonly { amountMinor: bigint }[]): bigint =>
  parts.reduce((total, { amountMinor }) => total + amountMinor, 0n);

test('the parts sum to the amount or to all that is there, and no grant gives more than it has', () => {
  fc.assert(
    fc.property(grants, amount, (list, amountMinor) => {
      const parts = burn(list, amountMinor);
      const there = spendable(list);
      expect(sum(parts)).toBe(amountMinor < there ? amountMinor : there);
      for (const part of parts) {
        const of = list.find(({ id }) => id === part.grantId)!;
        expect(part.amountMinor > 0n && part.amountMinor <= of.freeMinor).toBe(true);
      }
      expect(new Set(parts.map(({ grantId }) => grantId)).size).toBe(parts.length);
    }),
  );
});

test('whatever comes first in the order is used up before the next is touched', () => {
  fc.assert(
    fc.property(grants, amount, (list, amountMinor) => {
      const parts = burn(list, amountMinor);
      const used = parts.map(({ grantId }) => list.find(({ id }) => id === grantId)!);
      expect(used).toEqual(used.toSorted(burnsBefore));
      for (const [i, part] of parts.slice(0, -1).entries()) expect(part.amountMinor).toBe(used[i]!.freeMinor);
      const untouched = list.filter((one) => one.freeMinor > 0n && !used.includes(one));
      for (const one of untouched) if (used.length > 0) expect(burnsBefore(used.at(-1)!, one)).toBeLessThan(0);
    }),
  );
});

test('two draws take the same as one over both amounts', () => {
  fc.assert(
    fc.property(grants, amount, amount, (list, a, b) => {
      const first = burn(list, a);
      const left = list.map((one) => ({
        ...one,
        freeMinor: one.freeMinor - (first.find(({ grantId }) => grantId === one.id)?.amountMinor ?? 0n),
      }));
      const total = new Map<string, bigint>();
      for (const { grantId, amountMinor } of [...first, ...burn(left, b)])
        total.set(grantId, (total.get(grantId) ?? 0n) + amountMinor);
      expect([...total]).toEqual(burn(list, a + b).map(({ grantId, amountMinor }) => [grantId, amountMinor]));
    }),
  );
});

describe('what comes back', () => {
  const out = [
    { grantId: 'a', amountMinor: 30n, expiresAt: at(9), leftMs: 5 * 86_400_000 },
    { grantId: 'b', amountMinor: 20n, expiresAt: null, leftMs: 0 },
  ];

  test('was taken last', () => {
    expect(giveBack(out, { amountMinor: 25n, now: at(5) })).toEqual([
      { grantId: 'b', amountMinor: 20n, livesUntil: null },
      { grantId: 'a', amountMinor: 5n, livesUntil: null },
    ]);
  });

  test('lives again for as long as it had left when it was taken', () => {
    expect(giveBack(out, { amountMinor: 50n, now: at(20) })).toEqual([
      { grantId: 'b', amountMinor: 20n, livesUntil: null },
      { grantId: 'a', amountMinor: 30n, livesUntil: at(25) },
    ]);
  });

  test('is never more than was taken', () => {
    fc.assert(
      fc.property(amount, (amountMinor) => {
        expect(sum(giveBack(out, { amountMinor, now }))).toBe(amountMinor < 50n ? amountMinor : 50n);
      }),
    );
  });
});

test('a capture takes the first parts of a hold', () => {
  const held = [
    { grantId: 'a', amountMinor: 30n },
    { grantId: 'b', amountMinor: 20n },
    { grantId: 'c', amountMinor: 10n },
  ];
  expect(capture(held, 35n).map(({ capturedMinor }) => capturedMinor)).toEqual([30n, 5n, 0n]);
  expect(upTo(held, 0n)).toEqual([]);
});
