import { proposeBooking } from '../../src/domain/proposal.js';

test.each([
  [
    'a line without coupons: the whole difference',
    { amountMinor: 22_000n, discountMinor: 0n, creditedMinor: 0n },
    1500n,
  ],
  [
    '25 % off: their share stays with the coupon',
    { amountMinor: 22_000n, discountMinor: 5_500n, creditedMinor: 0n },
    1125n,
  ],
  ['some of it credited before', { amountMinor: 22_000n, discountMinor: 5_500n, creditedMinor: 15_500n }, 1000n],
  [
    'all of it credited before: nothing',
    { amountMinor: 22_000n, discountMinor: 5_500n, creditedMinor: 16_500n },
    undefined,
  ],
  [
    'a line that coupons paid whole: nothing',
    { amountMinor: 22_000n, discountMinor: 22_000n, creditedMinor: 0n },
    undefined,
  ],
  ['no line: nothing was charged', undefined, undefined],
] as const)('cheaper by 15.00, %s', (_what, line, expected) => {
  const proposed = proposeBooking({ previousMinor: 22_000n, correctedMinor: 20_500n, line });
  expect(proposed).toEqual(expected === undefined ? undefined : { kind: 'CREDIT_NOTE', amountMinor: expected });
});

test('dearer: one more line, whatever the line before was', () => {
  const line = { amountMinor: 353n, discountMinor: 100n, creditedMinor: 253n };
  const proposed = proposeBooking({ previousMinor: 353n, correctedMinor: 600n, line });
  expect(proposed).toEqual({ kind: 'EXTRA_LINE', amountMinor: 247n });
  expect(proposeBooking({ previousMinor: 0n, correctedMinor: 5n, line: undefined })).toMatchObject({ amountMinor: 5n });
});

test('no other price, nothing to book', () => {
  const line = { amountMinor: 353n, discountMinor: 0n, creditedMinor: 0n };
  expect(proposeBooking({ previousMinor: 353n, correctedMinor: 353n, line })).toBeUndefined();
});
