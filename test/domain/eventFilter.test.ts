import { parseEventFilter, wantsEvent } from '../../src/domain/eventFilter.js';
import { eventTypes } from '../../src/domain/events.js';

test.each([
  ['nothing wants everything', [], eventTypes.length],
  ['a type wants itself', ['invoice.paid'], 1],
  [
    'a kind wants all that begin with it',
    ['invoice.*'],
    eventTypes.filter((type) => type.startsWith('invoice.')).length,
  ],
  ['several want what any of them does', ['wallet.low', 'coupon.*'], 3],
])('%s', (_what, filter, wanted) => {
  expect(eventTypes.filter((type) => wantsEvent(parseEventFilter(filter), type))).toHaveLength(wanted);
});

test('a kind is not the beginning of another', () => {
  expect(wantsEvent(['usage.*'], 'usage.threshold')).toBe(true);
  expect(wantsEvent(['payment.*'], 'payment_method.added')).toBe(false);
});

test('each is kept once, in order', () => {
  expect(parseEventFilter(['wallet.*', 'invoice.paid', 'wallet.*'])).toEqual(['wallet.*', 'invoice.paid']);
});

test.each([
  'nope',
  '*',
  'invoice.',
  'invoice.p*',
  'nope.*',
  'payment.*',
  '',
  'Invoice.*',
])('%j is refused with its place and what was expected', (wrong) => {
  expect(() => parseEventFilter(['invoice.paid', wrong])).toThrow(
    expect.objectContaining({
      code: 'INVALID',
      details: { field: ['events', 1] },
      message: expect.stringMatching(/expected one of subscription\.created.*invoice\.\*/),
    }),
  );
});
