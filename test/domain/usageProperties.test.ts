import fc from 'fast-check';
import { Decimal } from '../../src/domain/decimal.js';
import { maxChargeMinor, rateUsage } from '../../src/domain/rating.js';
import { decideUsage, type UsageDecision, type UsageEvent, type UsageWindow } from '../../src/domain/usage.js';
import { april, hourMs, statuses, unitCharge, usageWindow } from './usageBuilders.js';

const startMs = april.start.getTime() - 12 * hourMs;
const metrics = { sum: 'SUM', count: 'COUNT', max: 'MAX', latest: 'LATEST' } as const;
const eventArbitrary = fc.record({
  transactionId: fc.integer({ min: 0, max: 30 }).map((n) => `t${n}`),
  metric: fc.constantFrom('sum', 'count', 'max', 'latest', 'unknown'),
  value: fc.integer({ min: -300, max: 600 }).map((n) => new Decimal(n).div(10)),
  timestamp: fc.integer({ min: 0, max: 120 }).map((n) => new Date(startMs + n * hourMs)),
});
const policies = fc.record({
  overage: fc.constantFrom('BLOCK' as const, 'CHARGE' as const, 'ALLOW' as const),
  limit: fc.option(fc.integer({ min: 0, max: 120 }).map(String)),
});
/** Four metrics, each with a closed window of two days, an open one of two days and nothing after that. */
const windowsFor = (policy: { overage: UsageWindow['overage']; limit: string | null }): UsageWindow[] =>
  Object.entries(metrics).flatMap(([metric, aggregation]) => {
    const days = (from: number, to: number) => ({
      start: new Date(april.start.getTime() + from * 24 * hourMs),
      end: new Date(april.start.getTime() + to * 24 * hourMs),
    });
    const shared = { ...policy, metric, aggregation };
    return [
      usageWindow({
        ...shared,
        id: `${metric}1`,
        period: days(0, 2),
        closedAt: new Date(april.start.getTime() + 48 * hourMs),
      }),
      usageWindow({ ...shared, id: `${metric}2`, period: days(2, 4) }),
    ];
  });
const batchNow = new Date(april.start.getTime() + 60 * hourMs);

/** Decides batch after batch, feeding the changes back the way the database does. */
function decideBatches(batches: UsageEvent[][], first: UsageWindow[]) {
  let windows = first;
  const seen = new Set<string>();
  const decisions: UsageDecision[] = [];
  for (const events of batches) {
    const decided = decideUsage({ events, windows, seen, knownMetrics: new Set(Object.keys(metrics)), now: batchNow });
    decided.decisions.forEach((decision, i) => {
      if (decision.status === 'ACCEPTED') seen.add(events[i]!.transactionId);
    });
    decisions.push(...decided.decisions);
    windows = windows.map((window) => {
      const change = decided.changes.find(({ windowId }) => windowId === window.id);
      if (!change) return window;
      const { used, eventCount, latestAt, fired } = change;
      return { ...window, used, eventCount, latestAt, fired };
    });
  }
  const counters = windows.map(({ id, used, eventCount, latestAt, fired }) => ({
    id,
    used: used.toFixed(),
    eventCount,
    latestAt,
    fired,
  }));
  return { decisions, counters };
}

describe('for any events', () => {
  const events = fc.array(eventArbitrary, { maxLength: 40 });

  test('one batch decides what several do', () => {
    fc.assert(
      fc.property(events, policies, fc.array(fc.nat(40)), (all, policy, cuts) => {
        const bounds = [0, ...cuts.filter((cut) => cut <= all.length).sort((a, b) => a - b), all.length];
        const batches = bounds.slice(1).map((end, i) => all.slice(bounds[i], end));
        expect(decideBatches(batches, windowsFor(policy))).toEqual(decideBatches([all], windowsFor(policy)));
      }),
      { numRuns: 300 },
    );
  });

  test('sending all of it again changes no counter', () => {
    fc.assert(
      fc.property(events, policies, (all, policy) => {
        const once = decideBatches([all], windowsFor(policy));
        const acceptedIds = new Set(
          all.filter((_, i) => once.decisions[i]!.status === 'ACCEPTED').map((e) => e.transactionId),
        );
        const again = all.filter((e) => acceptedIds.has(e.transactionId));
        const twice = decideBatches([all, again], windowsFor(policy));
        expect(twice.counters).toEqual(once.counters);
        expect(statuses(twice.decisions.slice(all.length)).every((status) => status === 'DUPLICATE')).toBe(true);
      }),
    );
  });

  test('what is accepted is counted, and no counter goes below zero or past a blocking limit', () => {
    fc.assert(
      fc.property(events, policies, (all, policy) => {
        const { decisions, counters } = decideBatches([all], windowsFor(policy));
        for (const counter of counters) {
          const accepted = decisions.filter((d) => d.status === 'ACCEPTED' && d.windowId === counter.id);
          expect(counter.eventCount).toBe(accepted.length);
          expect(new Decimal(counter.used).isNegative()).toBe(false);
          if (policy.overage === 'BLOCK' && policy.limit !== null) {
            expect(new Decimal(counter.used).lessThanOrEqualTo(policy.limit)).toBe(true);
          }
        }
        expect(counters.filter(({ id, eventCount }) => id.endsWith('1') && eventCount > 0)).toEqual([]);
      }),
    );
  });
});

test('whatever values and prices: what is counted fits, and so does what it costs', () => {
  const digits = fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 20n - 1n }), fc.nat(999_999));
  const decimal = digits.map(([whole, part]) => `${whole}.${String(part).padStart(6, '0')}`);
  const scaled = fc.tuple(decimal, fc.integer({ min: 0, max: 20 })).map(([text, cut]) => text.slice(cut) || '0');
  const value = scaled.map((text) => new Decimal(`0${text}`));
  const price = scaled.map((text) => new Decimal(`0${text}`).toFixed());
  fc.assert(
    fc.property(
      fc.array(value, { maxLength: 20 }),
      price,
      fc.constantFrom('USD', 'JPY', 'KWD', 'CLF'),
      (values, unitPrice, currency) => {
        const window = usageWindow({ overage: 'CHARGE', limit: '0', charge: unitCharge(unitPrice), currency });
        const events = values.map((of, i) => ({
          transactionId: `t${i}`,
          metric: window.metric,
          value: of,
          timestamp: april.start,
        }));
        const { changes } = decideUsage({
          events,
          windows: [window],
          seen: new Set(),
          knownMetrics: new Set([window.metric]),
          now: april.start,
        });
        for (const { used } of changes) {
          expect(used.lessThanOrEqualTo('1e15')).toBe(true);
          const { amountMinor, explanation } = rateUsage({ ...window, used });
          expect(amountMinor).toBeLessThanOrEqual(maxChargeMinor);
          expect(explanation.some(({ label }) => label === 'At most')).toBe(false);
        }
      },
    ),
    { numRuns: 300 },
  );
});
