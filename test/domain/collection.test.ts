import { classifyDecline, lastPaymentAttemptAt, nextPaymentAttemptAt } from '../../src/domain/collection.js';

const retryAfterDays = [1, 3, 5, 7];
const firstAttemptAt = new Date('2026-04-01T10:00:00Z');

test.each([
  [1, '2026-04-02T10:00:00.000Z'],
  [2, '2026-04-04T10:00:00.000Z'],
  [3, '2026-04-06T10:00:00.000Z'],
  [4, '2026-04-08T10:00:00.000Z'],
])('after %p soft declines the next attempt is at %s', (attempts, at) => {
  expect(nextPaymentAttemptAt({ attempts, firstAttemptAt, declineCode: 'insufficient_funds', retryAfterDays })).toEqual(
    {
      at: new Date(at),
    },
  );
});

test('after the last retry the schedule is exhausted, whatever the decline', () => {
  const attempts = retryAfterDays.length + 1;
  for (const declineCode of ['insufficient_funds', 'stolen_card']) {
    expect(nextPaymentAttemptAt({ attempts, firstAttemptAt, declineCode, retryAfterDays })).toEqual({
      exhausted: true,
    });
  }
});

test.each([
  'lost_card',
  'stolen_card',
  'expired_card',
  'pickup_card',
  'invalid_account',
  'no_payment_method',
])('%s waits for a new payment method', (declineCode) => {
  expect(classifyDecline(declineCode)).toBe('hard');
  expect(nextPaymentAttemptAt({ attempts: 1, firstAttemptAt, declineCode, retryAfterDays })).toEqual({
    waitFor: 'payment_method',
  });
});

test.each([
  'card_declined',
  'generic_decline',
  'do_not_honor',
  'insufficient_funds',
  'processing_error',
  'never_heard_of',
  '',
])('%p may pass another time', (declineCode) => {
  expect(classifyDecline(declineCode)).toBe('soft');
});

test('without a retry the first failure is the last, whatever the decline', () => {
  for (const declineCode of ['insufficient_funds', 'stolen_card'])
    expect(nextPaymentAttemptAt({ attempts: 1, firstAttemptAt, declineCode, retryAfterDays: [] })).toEqual({
      exhausted: true,
    });
  expect(lastPaymentAttemptAt(firstAttemptAt, [])).toEqual(firstAttemptAt);
  expect(lastPaymentAttemptAt(firstAttemptAt, [2, 10])).toEqual(new Date('2026-04-11T10:00:00Z'));
});
