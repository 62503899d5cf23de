import { dataSchemaOf, differencesFromCatalogue, eventCatalogue } from '../../src/domain/eventCatalogue.js';
import { exampleDelivery, exampleOf } from '../../src/domain/eventExamples.js';
import { type EventType, eventTypes } from '../../src/domain/events.js';
import { rawNumber } from '../../src/domain/rawNumber.js';

const withData = (type: EventType, more: object) =>
  differencesFromCatalogue({ type, data: { ...exampleOf(type), ...more } });

test.each(eventTypes)('the example of %s has the shape of its data, emitted and delivered', (type) => {
  expect(differencesFromCatalogue({ type, data: exampleOf(type) })).toEqual([]);
  expect(differencesFromCatalogue(exampleDelivery(type))).toEqual([]);
});

test('every type says when it happens in one sentence that no other has', () => {
  const said = eventTypes.map((type) => eventCatalogue[type].when);
  expect(new Set(said).size).toBe(eventTypes.length);
  expect(said.filter((when) => !/^[A-Z][^|\n]{8,120}[^.]$/.test(when))).toEqual([]);
});

test('an example is printed with the digits of its currency', () => {
  expect(JSON.stringify(exampleOf('wallet.topped_up'))).toBe(
    '{"balance":250.00,"currency":"USD","auto_recharge":{"enabled":true,"threshold":50.00,"amount":100.00},"payment_id":"pay_01kavw85g6fa8akpbeg9233cvb"}',
  );
});

test.each([
  ['a member that the catalogue does not know', { shoe_size: 44 }, 'wallet.low: data: Unrecognized key: "shoe_size"'],
  ['a member of a member', { auto_recharge: { enabled: true, threshold: null, amount: null, cap: null } }, /cap/],
  ['a member that is missing', { held: undefined }, 'wallet.low: held: expected a number as we write it'],
  ['a float for an amount', { held: 25 }, 'wallet.low: held: expected a number as we write it'],
  [
    'an amount without its last digit',
    { held: rawNumber('25.5') },
    'wallet.low: held: expected a number as we write it',
  ],
  ['a currency that is none', { currency: 'Dollar' }, /^wallet\.low: currency: /],
])('the check finds %s', (_what, more, difference) => {
  expect(withData('wallet.low', more)).toEqual([
    typeof difference === 'string' ? difference : expect.stringMatching(difference),
  ]);
});

test('the check finds an id of another kind, a state that is none, a time without milliseconds', () => {
  expect(withData('subscription.created', { id: 'inv_01kavw84g2e6gte34831ms3am5' })).toHaveLength(1);
  expect(withData('subscription.created', { status: 'ACTIVE' })).toHaveLength(1);
  expect(withData('subscription.created', { created_at: '2026-10-25T09:00:00Z' })).toHaveLength(1);
});

test('the schema of data asks for what is always there, and bears members that a later version adds', () => {
  const schema = dataSchemaOf('wallet.credited') as { properties: object; required: string[] };
  expect(schema).toMatchObject({ type: 'object', properties: { balance: { $ref: '#/$defs/Amount' } } });
  expect(schema).toMatchObject({ $defs: { Amount: { type: 'number' } } });
  expect(schema.required).toEqual(['balance', 'currency', 'auto_recharge', 'sequence']);
  expect(JSON.stringify(eventTypes.map(dataSchemaOf))).not.toContain('"additionalProperties":false');
});

test('a webhook about a document may come without its lines', () => {
  const schema = dataSchemaOf('invoice.paid') as { properties: object; required: string[] };
  expect(schema.required).not.toContain('lines');
  expect(schema.properties).toMatchObject({ lines: { type: 'array' }, lines_omitted: { type: 'boolean' } });
  expect(
    differencesFromCatalogue({ type: 'invoice.paid', data: { ...exampleOf('invoice.paid'), lines: undefined } }),
  ).toHaveLength(1);
});
