import { decideCorrection, type RecordedEvent } from '../../src/domain/correction.js';
import { Decimal } from '../../src/domain/decimal.js';
import { refuseCorrected, type UsageWindow } from '../../src/domain/usage.js';
import { now, unitCharge, usageWindow } from './usageBuilders.js';

const event: RecordedEvent = {
  transactionId: 't1',
  value: new Decimal(5),
  timestamp: new Date('2026-04-10T00:00:00Z'),
  properties: '{"user":"a"}',
  uniqueValue: 'a',
  voidedAt: null,
};
const same = { value: undefined, timestamp: undefined, properties: undefined, uniqueValue: undefined };
const replace = (given: Partial<RecordedEvent>, window: UsageWindow = usageWindow(), of = event) =>
  decideCorrection({ event: of, correction: { action: 'REPLACE', ...same, ...given }, window, now });

test('a void leaves nothing, a replacement what it does not say', () => {
  expect(decideCorrection({ event, correction: { action: 'VOID' }, window: usageWindow(), now })).toEqual({
    status: 'ACCEPTED',
    after: null,
  });
  const { value: _, ...rest } = event;
  expect(replace({ value: new Decimal(7) })).toMatchObject({
    status: 'ACCEPTED',
    after: { value: new Decimal(7), timestamp: rest.timestamp, properties: rest.properties, uniqueValue: 'a' },
  });
});

test.each(['VOID', 'REPLACE'] as const)('%s of a voided event is refused', (action) => {
  const voided = { ...event, voidedAt: now };
  expect(
    decideCorrection({ event: voided, correction: { action, ...same }, window: usageWindow(), now }),
  ).toMatchObject({ code: 'ILLEGAL_STATE', field: 'transactionId' });
});

test.each([
  ['2026-04-01T00:00:00Z', 'ACCEPTED'],
  ['2026-03-31T23:59:59Z', 'REJECTED'],
  ['2026-04-15T12:04:00Z', 'ACCEPTED'],
  ['2026-04-15T12:06:00Z', 'REJECTED'],
  ['2026-05-01T00:00:00Z', 'REJECTED'],
])('moved to %s it is %s', (at, status) => {
  expect(replace({ timestamp: new Date(at) }).status).toBe(status);
});

test('a late event, which is older than the window it counts in, keeps its time', () => {
  const late = { ...event, timestamp: new Date('2026-03-31T22:00:00Z') };
  expect(replace({ value: new Decimal(1) }, usageWindow(), late).status).toBe('ACCEPTED');
});

test.each([
  ['SUM', '-1', 'ACCEPTED'],
  ['COUNT', '-1', 'ACCEPTED'],
  ['MAX', '-1', 'REJECTED'],
  ['LATEST', '-1', 'REJECTED'],
  ['WEIGHTED_SUM', '-1', 'REJECTED'],
  ['WEIGHTED_SUM', '1e15', 'ACCEPTED'],
  ['WEIGHTED_SUM', '1000000000000001', 'REJECTED'],
] as const)('%s replaced by %s is %s', (aggregation, value, status) => {
  expect(replace({ value: new Decimal(value) }, usageWindow({ aggregation })).status).toBe(status);
});

test('UNIQUE needs its property in new properties', () => {
  const window = usageWindow({ aggregation: 'UNIQUE', property: 'user' });
  expect(replace({ properties: '{}', uniqueValue: null }, window)).toMatchObject({ field: 'properties' });
  expect(replace({ properties: '{"user":"b"}', uniqueValue: 'b' }, window)).toMatchObject({
    after: { uniqueValue: 'b' },
  });
  expect(replace({ value: new Decimal(2) }, window)).toMatchObject({ after: { uniqueValue: 'a' } });
});

test.each<[string, Parameters<typeof usageWindow>[0], string, boolean, string | undefined]>([
  ['below zero', { used: '5' }, '-1', false, 'INVALID'],
  ['above all that is counted', { used: '5' }, '1000000000000001', true, 'INVALID'],
  ['a replacement above a blocking limit', { used: '99', overage: 'BLOCK' }, '101', true, 'LIMIT_EXCEEDED'],
  ['a void that lifts it there', { used: '99', overage: 'BLOCK' }, '101', false, undefined],
  ['lower, though still above', { used: '120', overage: 'BLOCK' }, '110', true, undefined],
  ['above a limit that is charged', { used: '99', overage: 'CHARGE', charge: unitCharge('1') }, '101', true, undefined],
])('the use %s', (_name, given, used, replaced, code) => {
  expect(refuseCorrected(usageWindow(given), { used: new Decimal(used), replaced })?.code).toBe(code);
});
