import fc from 'fast-check';
import { assertBalanced, type LedgerAccountKind, movements, type Posting } from '../../src/domain/ledger.js';

const balances = (postings: readonly Posting[]): Partial<Record<LedgerAccountKind, bigint>> => {
  const sums: Partial<Record<LedgerAccountKind, bigint>> = {};
  for (const { account, amountMinor } of postings) sums[account] = (sums[account] ?? 0n) + amountMinor;
  return sums;
};

test.each<[string, Posting[], Partial<Record<LedgerAccountKind, bigint>>]>([
  ['a top-up', movements.topUp(500n), { wallet: 500n, provider_clearing: -500n }],
  ['a granted credit', movements.grantCredit(500n), { wallet: 500n, granted_credit: -500n }],
  [
    'a granted credit that gives tax back',
    movements.grantCredit(1190n, 190n),
    { wallet: 1190n, granted_credit: -1000n, tax: -190n },
  ],
  [
    'a granted credit that gives more tax back than it comes to: the rest paid for what was sold',
    movements.grantCredit(80n, 380n),
    { wallet: 80n, revenue: 300n, tax: -380n },
  ],
  [
    'a granted credit beside which tax is charged',
    movements.grantCredit(80n, -20n),
    { wallet: 80n, granted_credit: -100n, tax: 20n },
  ],
  [
    'an invoice that credits more tax than it charges',
    movements.issueInvoice({ totalMinor: 620n, taxMinor: -380n }),
    { receivable: -620n, revenue: 1000n, tax: -380n },
  ],
  [
    'an invoice whose credits are untaxed',
    movements.issueInvoice({ totalMinor: 261n, taxMinor: 361n }),
    { receivable: -261n, revenue: -100n, tax: 361n },
  ],
  [
    'an invoice with nothing to pay but tax to book',
    movements.issueInvoice({ totalMinor: 0n, taxMinor: -380n }),
    { revenue: 380n, tax: -380n },
  ],
  [
    'an invoice with tax',
    movements.issueInvoice({ totalMinor: 1190n, taxMinor: 190n }),
    { receivable: -1190n, revenue: 1000n, tax: 190n },
  ],
  [
    'an invoice without tax',
    movements.issueInvoice({ totalMinor: 1000n, taxMinor: 0n }),
    { receivable: -1000n, revenue: 1000n },
  ],
  [
    'a canceled invoice',
    movements.cancelInvoice({ totalMinor: 1190n, taxMinor: 190n }),
    { receivable: 1190n, revenue: -1000n, tax: -190n },
  ],
  ['a payment by card', movements.payByProvider(1000n), { receivable: 1000n, provider_clearing: -1000n }],
  ['a payment by wallet', movements.payByWallet(1000n), { receivable: 1000n, wallet: -1000n }],
  [
    'a credit note of every part',
    movements.issueCreditNote({
      totalMinor: 1190n,
      taxMinor: 190n,
      appliedToInvoiceMinor: 90n,
      refundedMinor: 500n,
      returnedToWalletMinor: 400n,
      balanceMinor: 200n,
    }),
    { revenue: -1000n, tax: -190n, receivable: 90n, refunds_payable: 500n, wallet: 400n, customer_credit: 200n },
  ],
  [
    'a voided credit note',
    movements.cancelCreditNote({ totalMinor: 1190n, taxMinor: 190n }),
    { revenue: 1000n, tax: 190n, customer_credit: -1190n },
  ],
  ['a payment by credit', movements.payByCredit(300n), { receivable: 300n, customer_credit: -300n }],
  ['credit of a void invoice', movements.returnCredit(300n), { receivable: -300n, customer_credit: 300n }],
  ['a refund', movements.refund(500n), { provider_clearing: 500n, refunds_payable: -500n }],
  ['a refund that failed', movements.failRefund(500n), { customer_credit: 500n, refunds_payable: -500n }],
  [
    'a late refund whose credit was spent in part',
    movements.refundLate({ fromCreditMinor: 300n, givenMinor: 200n }),
    { provider_clearing: 500n, customer_credit: -300n, granted_credit: -200n },
  ],
  [
    'a refund that the bank sent back',
    movements.returnRefund({ fromCreditMinor: 500n, givenMinor: 0n }),
    { provider_clearing: -500n, customer_credit: 500n },
  ],
])('%s moves what it says and is balanced', (_name, postings, expected) => {
  assertBalanced(postings, 'USD');
  expect(balances(postings)).toEqual(expected);
});

test('every movement of any amount is balanced', () => {
  const amount = fc.bigInt(1n, 10n ** 15n);
  fc.assert(
    fc.property(amount, amount, (a, b) => {
      const invoice = { totalMinor: a + b, taxMinor: b };
      const { topUp, grantCredit, payByProvider, payByWallet, issueInvoice, cancelInvoice } = movements;
      for (const move of [topUp, grantCredit, payByProvider, payByWallet]) assertBalanced(move(a), 'USD');
      for (const move of [issueInvoice, cancelInvoice]) assertBalanced(move(invoice), 'USD');
      const undone = Object.values(balances([...issueInvoice(invoice), ...cancelInvoice(invoice)]));
      expect(undone.every((sum) => sum === 0n)).toBe(true);
      const paid = balances([...issueInvoice(invoice), ...payByWallet(a), ...payByProvider(b)]);
      expect(paid.receivable).toBe(0n);
    }),
  );
});

test('an invoice over nothing moves nothing', () => {
  expect(movements.issueInvoice({ totalMinor: 0n, taxMinor: 0n })).toEqual([]);
});

test('an amount that is not positive is no movement', () => {
  for (const move of [movements.topUp, movements.grantCredit, movements.payByProvider, movements.payByWallet]) {
    expect(() => move(0n)).toThrow('positive amount, found 0');
    expect(() => move(-1n)).toThrow('positive amount, found -1');
  }
  const parts = { appliedToInvoiceMinor: 100n, refundedMinor: 0n, returnedToWalletMinor: 0n, balanceMinor: 0n };
  for (const taxMinor of [101n, -1n])
    expect(() => movements.issueCreditNote({ totalMinor: 100n, taxMinor, ...parts })).toThrow(`tax of ${taxMinor}`);
});

test.each<[string, Posting[], string]>([
  ['no posting', [], 'two postings'],
  ['a single posting', [{ account: 'wallet', amountMinor: 1n }], 'two postings'],
  [
    'a sum other than zero',
    [
      { account: 'wallet', amountMinor: 100n },
      { account: 'receivable', amountMinor: -99n },
    ],
    'sums to 1, expected 0: [wallet 100, receivable -99]',
  ],
  [
    'a posting of zero',
    [
      { account: 'wallet', amountMinor: 100n },
      { account: 'receivable', amountMinor: -100n },
      { account: 'tax', amountMinor: 0n },
    ],
    'posting of zero',
  ],
])('%s is a broken invariant', (_name, postings, message) => {
  expect(() => assertBalanced(postings, 'USD')).toThrow(message);
});
