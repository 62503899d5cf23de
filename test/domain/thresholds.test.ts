import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { crossThresholds, defaultThresholdPercents, usedPercent } from '../../src/domain/thresholds.js';

const decimal = (text: string | null) => (text === null ? null : new Decimal(text));

test.each([
  ['0', '10', '0'],
  ['45.7', '100', '45.7'],
  ['12', '10', '120'],
  ['5', null, undefined],
  ['0', '0', '0'],
  ['0.001', '0', '100'],
])('%s of %s is %s %%', (used, limit, percent) => {
  expect(usedPercent({ used: new Decimal(used), limit: decimal(limit) })?.toFixed()).toBe(percent);
});

interface Crossing {
  used: string;
  limit: string | null;
  percents?: readonly number[];
  fired?: number[];
  crossed?: number[];
  cleared?: number[];
  now: number[];
}

test.each<[string, Crossing]>([
  ['below the first nothing fires', { used: '79.999', limit: '100', now: [] }],
  ['reaching is crossing', { used: '80', limit: '100', crossed: [80], now: [80] }],
  [
    'one commit that crosses several fires each',
    { used: '150', limit: '100', crossed: [80, 90, 100], now: [80, 90, 100] },
  ],
  ['what has fired stays quiet', { used: '95', limit: '100', fired: [80], crossed: [90], now: [80, 90] }],
  [
    'a higher limit re-arms what is no longer reached',
    { used: '90', limit: '110', fired: [80, 90], cleared: [90], now: [80] },
  ],
  ['a drop re-arms too', { used: '0', limit: '100', fired: [80, 90, 100], cleared: [80, 90, 100], now: [] }],
  ['no limit, no threshold', { used: '1000', limit: null, fired: [80], cleared: [80], now: [] }],
  [
    'of a limit of 0 anything is all',
    { used: '0.1', limit: '0', percents: [80, 100, 150], crossed: [80, 100], now: [80, 100] },
  ],
  ['of a limit of 0 nothing is nothing', { used: '0', limit: '0', now: [] }],
  [
    'order and repeats in the list do not matter',
    { used: '95', limit: '100', percents: [90, 80, 90], crossed: [80, 90], now: [80, 90] },
  ],
  [
    'a removed threshold is remembered while reached',
    { used: '95', limit: '100', percents: [90], fired: [50], crossed: [90], now: [50, 90] },
  ],
  ['a third of three is exactly reached', { used: '1', limit: '3', percents: [33.3], crossed: [33.3], now: [33.3] }],
])('%s', (_name, { used, limit, percents = defaultThresholdPercents, fired = [], crossed = [], cleared = [], now }) => {
  expect(crossThresholds({ used: new Decimal(used), limit: decimal(limit), percents, fired })).toEqual({
    crossed,
    cleared,
    fired: now,
  });
});

test('a second look at the same use fires and clears nothing', () => {
  const percents = fc.uniqueArray(fc.integer({ min: 1, max: 200 }), { maxLength: 6 });
  fc.assert(
    fc.property(fc.nat(500), fc.option(fc.nat(300)), percents, percents, (used, limit, list, before) => {
      const state = { used: new Decimal(used), limit: limit === null ? null : new Decimal(limit), percents: list };
      const first = crossThresholds({ ...state, fired: before });
      expect(crossThresholds({ ...state, fired: first.fired })).toEqual({
        crossed: [],
        cleared: [],
        fired: first.fired,
      });
      const expected = [...new Set([...before, ...first.crossed])].filter((p) => !first.cleared.includes(p));
      expect(first.fired).toEqual(expected.sort((a, b) => a - b));
    }),
  );
});
