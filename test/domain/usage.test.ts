import { Decimal } from '../../src/domain/decimal.js';
import { decideUsage, lateMs, type UsageEvent, type UsageWindow, type WindowChange } from '../../src/domain/usage.js';
import { april, hourMs, may, now, statuses, unitCharge, usageEvent, usageWindow } from './usageBuilders.js';

const decide = (
  events: UsageEvent[],
  windows: UsageWindow[] = [usageWindow()],
  given: { seen?: Set<string>; knownMetrics?: Set<string>; now?: Date } = {},
) =>
  decideUsage({ events, windows, seen: new Set(), knownMetrics: new Set(['voice_minutes', 'users']), now, ...given });

const usedOf = (change: WindowChange | undefined) => change?.used.toFixed();

describe('an aggregation turns events into use', () => {
  const at = (hour: number) => ({ timestamp: new Date(april.start.getTime() + hour * hourMs) });
  test.each<[UsageWindow['aggregation'], [string, number][], string]>([
    [
      'COUNT',
      [
        ['1', 1],
        ['5', 2],
        ['-3', 3],
      ],
      '3',
    ],
    [
      'SUM',
      [
        ['1.5', 1],
        ['5', 2],
        ['-3', 3],
      ],
      '3.5',
    ],
    [
      'MAX',
      [
        ['4', 1],
        ['9.5', 2],
        ['7', 3],
      ],
      '9.5',
    ],
    [
      'LATEST',
      [
        ['4', 1],
        ['9', 3],
        ['7', 2],
      ],
      '9',
    ],
    [
      'LATEST',
      [
        ['9', 3],
        ['2', 3],
      ],
      '2',
    ],
  ])('%s of %j is %s', (aggregation, values, used) => {
    const events = values.map(([value, hour], i) => usageEvent(`t${i}`, value, at(hour)));
    const { decisions, changes } = decide(events, [usageWindow({ aggregation })]);
    expect(new Set(statuses(decisions))).toEqual(new Set(['ACCEPTED']));
    expect(changes).toHaveLength(1);
    expect(usedOf(changes[0])).toBe(used);
    expect(changes[0]).toMatchObject({ windowId: 'april', eventCount: events.length });
    const latest = Math.max(...values.map(([, hour]) => hour));
    expect(changes[0]!.latestAt).toEqual(at(latest).timestamp);
  });

  test('LATEST keeps what a window already has against an older event', () => {
    const latestAt = new Date('2026-04-14T00:00:00Z');
    const window = usageWindow({ aggregation: 'LATEST', used: '7', eventCount: 1, latestAt });
    const { decisions, changes } = decide(
      [usageEvent('t1', '3', { timestamp: new Date('2026-04-13T00:00:00Z') })],
      [window],
    );
    expect(statuses(decisions)).toEqual(['ACCEPTED']);
    expect(changes[0]).toMatchObject({ eventCount: 2, latestAt });
    expect(usedOf(changes[0])).toBe('7');
  });

  test('LATEST refuses a negative value even where an older event has no effect', () => {
    const window = usageWindow({ aggregation: 'LATEST', used: '7', eventCount: 1, latestAt: now });
    const { decisions } = decide([usageEvent('t1', '-3', { timestamp: new Date('2026-04-13T00:00:00Z') })], [window]);
    expect(decisions).toMatchObject([{ code: 'INVALID', field: 'value' }]);
  });

  test('UNIQUE counts each value once, of those that the window knows none, and needs one', () => {
    const window = usageWindow({ aggregation: 'UNIQUE', property: 'user', used: '1', knownValues: new Set(['a']) });
    const events = ['a', 'b', 'b', 'c'].map((uniqueValue, i) => usageEvent(`t${i}`, '7', { uniqueValue }));
    const { decisions, changes } = decide([...events, usageEvent('t9', '1')], [window]);
    expect(statuses(decisions)).toEqual(['ACCEPTED', 'ACCEPTED', 'ACCEPTED', 'ACCEPTED', 'INVALID']);
    expect(decisions[4]).toMatchObject({ field: 'properties', message: expect.stringContaining("'user'") });
    expect(changes[0]).toMatchObject({ eventCount: 4 });
    expect(usedOf(changes[0])).toBe('3');
  });

  test('a value that a blocking limit refused is not known', () => {
    const window = usageWindow({ aggregation: 'UNIQUE', property: 'user', limit: '1', overage: 'BLOCK' });
    const events = ['a', 'b', 'b', 'a'].map((uniqueValue, i) => usageEvent(`t${i}`, '1', { uniqueValue }));
    expect(statuses(decide(events, [window]).decisions)).toEqual([
      'ACCEPTED',
      'LIMIT_EXCEEDED',
      'LIMIT_EXCEEDED',
      'ACCEPTED',
    ]);
  });

  test('WEIGHTED_SUM asks for the readings around one older than the latest, and for none otherwise', () => {
    const latestAt = new Date('2026-04-11T00:00:00Z');
    const window = usageWindow({
      aggregation: 'WEIGHTED_SUM',
      latestAt,
      level: new Decimal(30),
      accrued: new Decimal(0),
    });
    const newer = usageEvent('t1', '60', { timestamp: new Date('2026-04-12T00:00:00Z') });
    const between = usageEvent('t2', '45', { timestamp: new Date('2026-04-11T12:00:00Z') });
    const older = usageEvent('t3', '15', { timestamp: new Date('2026-04-10T00:00:00Z') });
    expect(decide([newer, between], [window]).lacking).toEqual([]);
    expect(decide([newer, older], [window]).lacking).toEqual(['april']);
    const readings = [{ atMs: latestAt.getTime(), value: new Decimal(30) }];
    const { lacking, changes } = decide([older], [{ ...window, readings }]);
    // Nothing for 9 days, 15 for one, then 30 for 20 of 30 days.
    expect([lacking, usedOf(changes[0])]).toEqual([[], '20.5']);
  });

  test('WEIGHTED_SUM compares with the limit what the level comes to by the end of the period', () => {
    const window = usageWindow({ aggregation: 'WEIGHTED_SUM', overage: 'BLOCK', limit: '10' });
    const half = new Date('2026-04-16T00:00:00Z');
    const at = { timestamp: half };
    const decided = decide([usageEvent('t1', '20.5', at), usageEvent('t2', '20', at)], [window], { now: half });
    expect(statuses(decided.decisions)).toEqual(['LIMIT_EXCEEDED', 'ACCEPTED']);
    expect(usedOf(decided.changes[0])).toBe('10');
  });

  test.each([
    ['SUM', '5', '-5', 'ACCEPTED'],
    ['SUM', '5', '-5.01', 'INVALID'],
    ['COUNT', '0', '-1', 'ACCEPTED'],
    ['MAX', '5', '-1', 'INVALID'],
    ['LATEST', '5', '-1', 'INVALID'],
  ] as const)('%s at %s answers %s with %s', (aggregation, used, value, status) => {
    const { decisions } = decide([usageEvent('t1', value)], [usageWindow({ aggregation, used })]);
    expect(statuses(decisions)).toEqual([status]);
    if (status === 'INVALID') expect(decisions[0]).toMatchObject({ field: 'value' });
  });
});

describe('a transaction id counts once', () => {
  test('a repeat is a DUPLICATE whatever its content', () => {
    const { decisions, changes } = decide(
      [
        usageEvent('seen', '1'),
        usageEvent('t1', '2'),
        usageEvent('t1', '3', { metric: 'unheard_of', timestamp: new Date('2030-01-01') }),
      ],
      undefined,
      { seen: new Set(['seen']) },
    );
    expect(decisions).toEqual([
      { status: 'DUPLICATE' },
      { status: 'ACCEPTED', windowId: 'april', late: false },
      { status: 'DUPLICATE' },
    ]);
    expect(usedOf(changes[0])).toBe('2');
  });

  test('a rejected one may be sent again', () => {
    const { decisions } = decide([usageEvent('t1', '1', { metric: 'minutes' }), usageEvent('t1', '1')]);
    expect(statuses(decisions)).toEqual(['NOT_FOUND', 'ACCEPTED']);
  });

  test('a batch of nothing but repeats changes no window', () => {
    expect(decide([usageEvent('t1', '1')], undefined, { seen: new Set(['t1']) }).changes).toEqual([]);
  });
});

test('an unknown metric is answered with the known ones', () => {
  const { decisions } = decide([usageEvent('t1', '1', { metric: 'minutes' })]);
  expect(decisions).toEqual([
    {
      status: 'REJECTED',
      code: 'NOT_FOUND',
      field: 'metric',
      message: "No metric 'minutes': known metrics are users, voice_minutes",
    },
  ]);
});

test('the answer to an unknown metric stays short among many', () => {
  const knownMetrics = new Set(Array.from({ length: 500 }, (_, i) => `metric_${i}`));
  const { decisions } = decide([usageEvent('t1', '1', { metric: 'x'.repeat(5000) })], [], { knownMetrics });
  const [decision] = decisions;
  expect(decision).toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('and 480 more') });
  expect(JSON.stringify(decision).length).toBeLessThan(600);
});

describe('the timestamp chooses the window', () => {
  const open = usageWindow({ id: 'may', period: may });
  const closed = usageWindow({ closedAt: new Date('2026-05-01T00:00:05Z'), used: '40' });
  const inApril = { timestamp: new Date('2026-04-30T23:59:59.999Z') };
  const one = (windows: UsageWindow[], timestamp: Date, at: Date) =>
    decide([usageEvent('t1', '1', { timestamp })], windows, { now: at }).decisions[0];

  test.each([
    ['5 minutes ahead', 5 * 60_000, 'ACCEPTED'],
    ['more than 5 minutes ahead', 5 * 60_000 + 1, 'INVALID'],
  ])('%s', (_name, aheadMs, status) => {
    const { decisions } = decide([usageEvent('t1', '1', { timestamp: new Date(now.getTime() + aheadMs) })]);
    expect(statuses(decisions)).toEqual([status]);
    if (status === 'INVALID') expect(decisions[0]).toMatchObject({ field: 'timestamp' });
  });

  test('periods are half-open', () => {
    const windows = [usageWindow(), open];
    const at = new Date('2026-05-01T00:01:00Z');
    expect(one(windows, april.start, at)).toMatchObject({ windowId: 'april' });
    expect(one(windows, inApril.timestamp, at)).toMatchObject({ windowId: 'april', late: false });
    expect(one(windows, april.end, at)).toMatchObject({ windowId: 'may', late: false });
    expect(one([usageWindow()], april.end, at)).toMatchObject({ code: 'ILLEGAL_STATE' });
    expect(one(windows, new Date(april.start.getTime() - 1), at)).toMatchObject({
      code: 'ILLEGAL_STATE',
      field: 'timestamp',
      message: expect.stringContaining("'voice_minutes' covers 2026-03-31T23:59:59.999Z"),
    });
  });

  test('an open window whose period is over still counts its own events', () => {
    expect(one([usageWindow()], inApril.timestamp, new Date('2026-05-01T00:00:02Z'))).toMatchObject({
      windowId: 'april',
      late: false,
    });
  });

  test('a closed window hands late events to the next open one for 24 h', () => {
    const { decisions, changes } = decide([usageEvent('t1', '1', inApril)], [open, closed], {
      now: new Date('2026-05-01T23:59:59.999Z'),
    });
    expect(decisions).toEqual([{ status: 'ACCEPTED', windowId: 'may', late: true }]);
    expect(changes.map(({ windowId }) => windowId)).toEqual(['may']);
    expect(one([open, closed], inApril.timestamp, new Date('2026-05-02T00:00:00Z'))).toMatchObject({
      code: 'ILLEGAL_STATE',
    });
  });

  test('a closed window whose invoice waits as a draft takes its own events for 24 h, not marked late', () => {
    const draft = usageWindow({ closedAt: april.end, draftInvoiceId: 'draft' });
    const windows = [draft, usageWindow({ id: 'may', period: may })];
    const inApril = usageEvent('t1', '1', { timestamp: new Date('2026-04-30T22:00:00Z') });
    const at = (ms: number) => ({ now: new Date(april.end.getTime() + ms) });
    const { decisions, changes } = decide([inApril], windows, at(lateMs - 1));
    expect(decisions).toEqual([{ status: 'ACCEPTED', windowId: 'april', late: false }]);
    expect(changes).toMatchObject([{ windowId: 'april', eventCount: 1 }]);
    expect(decide([inApril], windows, at(lateMs)).decisions).toMatchObject([{ code: 'ILLEGAL_STATE' }]);
  });

  test('late events of a period before the one that waits as a draft count there, marked late', () => {
    const change = new Date('2026-04-30T18:00:00Z');
    const end = new Date('2026-05-01T12:00:00Z');
    const before = usageWindow({ id: 'before', period: { start: april.start, end: change }, closedAt: change });
    const last = usageWindow({ id: 'last', period: { start: change, end }, closedAt: end, draftInvoiceId: 'draft' });
    const event = [usageEvent('t1', '1', { timestamp: new Date('2026-04-30T17:00:00Z') })];
    const at = { now: new Date('2026-05-01T13:00:00Z') };
    const { decisions } = decide(event, [before, last], at);
    expect(decisions).toEqual([{ status: 'ACCEPTED', windowId: 'last', late: true }]);
    const final = { ...last, draftInvoiceId: null };
    expect(decide(event, [before, final], at).decisions).toMatchObject([{ code: 'ILLEGAL_STATE' }]);
  });

  test('late events that no later window bills are refused as such: after the end, and while nothing is granted', () => {
    const at = new Date('2026-05-01T12:00:00Z');
    const message = expect.stringContaining('ended at 2026-05-01T00:00:00.000Z and its invoice is final');
    const refusal = { code: 'ILLEGAL_STATE', field: 'timestamp', message };
    expect(one([closed], inApril.timestamp, at)).toMatchObject(refusal);
    const pause = usageWindow({ id: 'pause', period: may, limit: '0', overage: 'BLOCK' });
    expect(one([closed, pause], inApril.timestamp, at)).toMatchObject(refusal);
    expect(one([closed, pause], at, at)).toMatchObject({ code: 'LIMIT_EXCEEDED' }); // its own
    const full = usageWindow({ id: 'may', period: may, limit: '1', used: '1', overage: 'BLOCK' });
    expect(one([closed, full], inApril.timestamp, at)).toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('late events go to the earliest of several open windows after it', () => {
    const june = usageWindow({ id: 'june', period: { start: may.end, end: new Date('2026-07-01') } });
    const march = usageWindow({ id: 'march', period: { start: new Date('2026-03-01'), end: april.start } });
    const at = new Date('2026-05-01T12:00:00Z');
    expect(one([june, closed, open, march], inApril.timestamp, at)).toMatchObject({ windowId: 'may', late: true });
    expect(one([closed, march], inApril.timestamp, at)).toMatchObject({ code: 'ILLEGAL_STATE' });
    const closedMay = { ...open, closedAt: at };
    expect(one([closed, closedMay, june], inApril.timestamp, at)).toMatchObject({ windowId: 'june', late: true });
  });

  test('of overlapping periods the one that began last counts', () => {
    const restarted = usageWindow({
      id: 'restarted',
      period: { start: new Date('2026-04-11'), end: new Date('2027-04-11') },
    });
    expect(one([restarted, usageWindow()], now, now)).toMatchObject({ windowId: 'restarted' });
    expect(one([restarted, usageWindow()], new Date('2026-04-10'), now)).toMatchObject({ windowId: 'april' });
  });

  test('a window of another metric takes nothing', () => {
    expect(one([usageWindow({ metric: 'users' })], now, now)).toMatchObject({ code: 'ILLEGAL_STATE' });
  });
});

describe('overage BLOCK', () => {
  test.each([
    ['SUM', '95', '5', 'ACCEPTED'],
    ['SUM', '95', '5.1', 'LIMIT_EXCEEDED'],
    ['SUM', '120', '-5', 'ACCEPTED'],
    ['SUM', '120', '0', 'ACCEPTED'],
    ['COUNT', '99', '7', 'ACCEPTED'],
    ['COUNT', '100', '1', 'LIMIT_EXCEEDED'],
    ['MAX', '50', '101', 'LIMIT_EXCEEDED'],
    ['MAX', '120', '110', 'ACCEPTED'],
    ['LATEST', '50', '100', 'ACCEPTED'],
    ['LATEST', '50', '101', 'LIMIT_EXCEEDED'],
    ['LATEST', '120', '110', 'ACCEPTED'],
  ] as const)('%s at %s of 100 answers %s with %s', (aggregation, used, value, status) => {
    const { decisions } = decide([usageEvent('t1', value)], [usageWindow({ aggregation, used, overage: 'BLOCK' })]);
    expect(statuses(decisions)).toEqual([status]);
  });

  test('says what is used, the limit and the value, and lets a smaller event through', () => {
    const { decisions, changes } = decide(
      [usageEvent('t1', '6'), usageEvent('t2', '4.5')],
      [usageWindow({ used: '95', overage: 'BLOCK', fired: [80, 90] })],
    );
    expect(decisions).toEqual([
      {
        status: 'REJECTED',
        code: 'LIMIT_EXCEEDED',
        field: 'value',
        message: "'voice_minutes' is limited to 100: 95 used, and the event's value is 6",
      },
      { status: 'ACCEPTED', windowId: 'april', late: false },
    ]);
    expect(changes[0]).toMatchObject({ eventCount: 1, crossed: [] });
    expect(usedOf(changes[0])).toBe('99.5');
  });

  test.each(['CHARGE', 'ALLOW'] as const)('%s lets an event over the limit', (overage) => {
    expect(statuses(decide([usageEvent('t1', '500')], [usageWindow({ overage })]).decisions)).toEqual(['ACCEPTED']);
  });

  test('without a limit nothing is over it', () => {
    const { decisions, changes } = decide([usageEvent('t1', '500')], [usageWindow({ limit: null, overage: 'BLOCK' })]);
    expect(statuses(decisions)).toEqual(['ACCEPTED']);
    expect(changes[0]).toMatchObject({ crossed: [], fired: [] });
  });

  test('a limit of 0 lets nothing through', () => {
    const { decisions } = decide([usageEvent('t1', '0.001')], [usageWindow({ limit: '0', overage: 'BLOCK' })]);
    expect(statuses(decisions)).toEqual(['LIMIT_EXCEEDED']);
  });
});

describe('thresholds', () => {
  test('one batch that crosses several fires each, once', () => {
    const { changes } = decide(['30', '30', '35'].map((value, i) => usageEvent(`t${i}`, value)));
    expect(changes[0]).toMatchObject({ crossed: [80, 90], cleared: [], fired: [80, 90] });
  });

  test('what a batch crosses and leaves again is silent', () => {
    expect(decide([usageEvent('t1', '95'), usageEvent('t2', '-90')]).changes[0]).toMatchObject({
      crossed: [],
      cleared: [],
      fired: [],
    });
  });

  test('a drop clears', () => {
    const { changes } = decide([usageEvent('t1', '-10')], [usageWindow({ used: '95', fired: [80, 90] })]);
    expect(changes[0]).toMatchObject({ crossed: [], cleared: [90], fired: [80] });
  });
});

describe('how much can be counted', () => {
  const most = '1000000000000000';
  const charged = { overage: 'CHARGE', limit: '0' } as const;
  test.each<[string, Partial<Parameters<typeof usageWindow>[0]>, string, string[]]>([
    ['at most 1e15', {}, most, ['ACCEPTED']],
    ['no bit more', {}, `${most}.000000000001`, ['INVALID']],
    ['nothing on top of it', { used: most }, '0.5', ['INVALID']],
    ['but less again', { used: most }, '-0.5', ['ACCEPTED']],
    ['MAX', { aggregation: 'MAX' }, '99999999999999999999', ['INVALID']],
    ['LATEST', { aggregation: 'LATEST' }, '99999999999999999999', ['INVALID']],
    ['COUNT has no value', { aggregation: 'COUNT' }, '99999999999999999999', ['ACCEPTED']],
    ['charged, up to 9e15 minor units', { ...charged, charge: unitCharge('100') }, '900000000000', ['ACCEPTED']],
    ['charged, no more', { ...charged, charge: unitCharge('100') }, '900000000000.01', ['INVALID']],
    [
      'charged in a currency without decimals',
      { ...charged, charge: unitCharge('100'), currency: 'JPY' },
      '90000000000000',
      ['ACCEPTED'],
    ],
    ['for nothing', { ...charged, charge: unitCharge('0') }, most, ['ACCEPTED']],
  ])('%s', (_name, given, value, expected) => {
    const { decisions } = decide([usageEvent('t1', value)], [usageWindow({ limit: null, ...given })]);
    expect(statuses(decisions)).toEqual(expected);
    if (expected[0] === 'INVALID') expect(decisions[0]).toMatchObject({ field: 'value' });
  });
});

test('a metric that left the plan takes events of before until a day after it is billed, and none of later', () => {
  const left = new Date('2026-04-10T00:00:00Z');
  const window = usageWindow({
    overage: 'CHARGE',
    charge: unitCharge('1'),
    period: { start: april.start, end: left },
    billedAt: null,
  });
  const before = usageEvent('before', '5', { timestamp: new Date(left.getTime() - 1) });
  const { decisions, changes } = decide([before, usageEvent('at', '5', { timestamp: left })], [window]);
  expect(decisions).toMatchObject([
    { status: 'ACCEPTED', windowId: window.id, late: false },
    { status: 'REJECTED', code: 'LIMIT_EXCEEDED', field: 'timestamp' },
  ]);
  expect(usedOf(changes[0])).toBe('5');
  const closed = { ...window, billedAt: april.end, closedAt: april.end, draftInvoiceId: 'draft' };
  const lastly = new Date(april.end.getTime() + lateMs - 1);
  expect(statuses(decide([before], [closed], { now: lastly }).decisions)).toEqual(['ACCEPTED']);
  const tooLate = new Date(april.end.getTime() + lateMs);
  expect(statuses(decide([before], [closed], { now: tooLate }).decisions)).toEqual(['ILLEGAL_STATE']);
});
