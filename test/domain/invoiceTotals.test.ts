import fc from 'fast-check';
import { invoiceTotals } from '../../src/domain/invoiceTotals.js';

const totals = (amounts: bigint[], walletAvailableMinor: bigint) =>
  invoiceTotals({ lines: amounts.map((amountMinor) => ({ amountMinor })), walletAvailableMinor });

test.each([
  [
    'no lines',
    [],
    500n,
    { subtotalMinor: 0n, totalMinor: 0n, creditToWalletMinor: 0n, walletAppliedMinor: 0n, amountDueMinor: 0n },
  ],
  [
    'an empty wallet',
    [4900n, 105n],
    0n,
    { subtotalMinor: 5005n, totalMinor: 5005n, walletAppliedMinor: 0n, amountDueMinor: 5005n },
  ],
  [
    'a wallet that covers a part',
    [-2000n, 4000n],
    300n,
    { totalMinor: 2000n, walletAppliedMinor: 300n, amountDueMinor: 1700n },
  ],
  ['a wallet that covers it all', [2000n], 9999n, { totalMinor: 2000n, walletAppliedMinor: 2000n, amountDueMinor: 0n }],
  ['a wallet below zero', [2000n], -50n, { totalMinor: 2000n, walletAppliedMinor: 0n, amountDueMinor: 2000n }],
  [
    'lines below zero',
    [-4000n, 1500n],
    700n,
    { subtotalMinor: -2500n, totalMinor: 0n, creditToWalletMinor: 2500n, walletAppliedMinor: 0n, amountDueMinor: 0n },
  ],
])('%s', (_name, amounts, available, expected) => {
  expect(totals(amounts, available)).toMatchObject(expected);
});

test('an invoice is the sum of its lines, and never negative', () => {
  const amount = fc.bigInt(-(10n ** 12n), 10n ** 12n);
  fc.assert(
    fc.property(fc.array(amount), amount, (amounts, available) => {
      const t = totals(amounts, available);
      expect(t.subtotalMinor).toBe(amounts.reduce((a, b) => a + b, 0n));
      expect(t.totalMinor - t.creditToWalletMinor).toBe(t.subtotalMinor - t.discountMinor + t.taxMinor);
      expect(t.walletAppliedMinor + t.amountDueMinor).toBe(t.totalMinor);
      expect(t.walletAppliedMinor === 0n || t.walletAppliedMinor <= available).toBe(true);
      for (const minor of [t.totalMinor, t.creditToWalletMinor, t.walletAppliedMinor, t.amountDueMinor]) {
        expect(minor).toBeGreaterThanOrEqual(0n);
      }
      expect(t.totalMinor === 0n || t.creditToWalletMinor === 0n).toBe(true);
    }),
  );
});
