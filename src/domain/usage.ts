import type { Decimal } from './decimal.js';
import type { Period } from './period.js';
import { type ChargeModel, maxQuantity, mostQuantity, type OveragePolicy } from './rating.js';
import { crossThresholds } from './thresholds.js';

export type Aggregation = 'COUNT' | 'SUM' | 'MAX' | 'LATEST' | 'UNIQUE' | 'WEIGHTED_SUM';

/** A metric's counter over one subscription period, with all that deciding on an event needs. */
export interface UsageWindow {
  id: string;
  metric: string;
  aggregation: Aggregation;
  period: Period;
  /** `null` is unlimited. */
  limit: Decimal | null;
  overage: OveragePolicy;
  /** How use over the limit is priced; `null` when nothing is charged. */
  charge: ChargeModel | null;
  currency: string;
  used: Decimal;
  eventCount: number;
  /** Latest timestamp of the events counted so far. */
  latestAt: Date | null;
  percents: readonly number[];
  fired: readonly number[];
  /** When its usage was billed; a closed window takes no more events. */
  closedAt: Date | null;
}

export interface UsageEvent {
  transactionId: string;
  metric: string;
  value: Decimal;
  timestamp: Date;
}

export type UsageDecision =
  | { status: 'ACCEPTED'; windowId: string; late: boolean }
  | { status: 'DUPLICATE' }
  | UsageRejection;

interface UsageRejection {
  status: 'REJECTED';
  code: 'INVALID' | 'LIMIT_EXCEEDED' | 'ILLEGAL_STATE' | 'NOT_FOUND';
  message: string;
  field: string;
}

/** What a batch made of a window that got at least one event: the new values, and the thresholds to tell about. */
export interface WindowChange {
  windowId: string;
  used: Decimal;
  eventCount: number;
  latestAt: Date | null;
  crossed: number[];
  cleared: number[];
  fired: number[];
}

/** A window's running state within a batch. Times are epoch milliseconds, as the hot path compares little else. */
interface Counter {
  readonly window: UsageWindow;
  readonly startMs: number;
  readonly endMs: number;
  readonly mostUsed: Decimal;
  used: Decimal;
  eventCount: number;
  latestMs: number;
}

/** How long after its end a window may still be named by an event. */
export const lateMs = 24 * 3_600_000;
const aheadMs = 5 * 60_000;
const namedMetrics = 20;

const reject = (code: UsageRejection['code'], field: string, message: string): UsageRejection => ({
  status: 'REJECTED',
  code,
  message,
  field,
});

const startCounting = (window: UsageWindow): Counter => ({
  window,
  startMs: window.period.start.getTime(),
  endMs: window.period.end.getTime(),
  mostUsed: mostUsed(window),
  used: window.used,
  eventCount: window.eventCount,
  latestMs: window.latestAt?.getTime() ?? Number.NEGATIVE_INFINITY,
});

/** Where use is charged, what it costs must stay an amount that an invoice can hold. */
const mostUsed = ({ overage, charge, currency }: UsageWindow): Decimal =>
  overage === 'CHARGE' && charge !== null ? mostQuantity(charge, currency) : maxQuantity;

/**
 * Decides on a batch of events of one account, in order, against all its windows for their metrics that may still take
 * events: the open ones, and those closed whose period ended less than 24 h ago. Splitting a batch changes no counter.
 *
 * - A transactionId in `seen`, or accepted earlier in the batch, is a DUPLICATE whatever its content; one that was
 *   rejected may be sent again.
 * - The timestamp chooses the window. Up to 24 h after the end of one already closed, its events count in the metric's
 *   next open window, marked late. More than 5 minutes ahead of `now` is refused.
 * - COUNT counts events whatever their value. SUM also takes negative values (reversals) down to a total of 0. MAX and
 *   LATEST take no negative value; for LATEST an event older than the latest is accepted without effect, and of two at
 *   the same instant the later in order holds.
 * - No event may raise the use above 1e15, or, where overage is CHARGE, above what costs `maxChargeMinor` (9e15 minor
 *   units) at the window's price: use × price is then bounded whatever the limit is.
 * - Overage BLOCK refuses an event that would raise the use above the limit.
 * - Thresholds compare the use before and after the whole batch: what it crosses on the way and leaves again is silent.
 *
 * Throws an `Error` for UNIQUE and WEIGHTED_SUM, which no published metric has.
 */
export function decideUsage({
  events,
  windows,
  seen,
  knownMetrics,
  now,
}: {
  events: readonly UsageEvent[];
  windows: readonly UsageWindow[];
  seen: ReadonlySet<string>;
  knownMetrics: ReadonlySet<string>;
  now: Date;
}): { decisions: UsageDecision[]; changes: WindowChange[] } {
  const nowMs = now.getTime();
  const counters = windows.map(startCounting);
  const countersByMetric = Map.groupBy(
    counters.toSorted((a, b) => a.startMs - b.startMs),
    ({ window }) => window.metric,
  );
  const accepted = new Set<string>();

  const decide = (event: UsageEvent): UsageDecision => {
    if (seen.has(event.transactionId) || accepted.has(event.transactionId)) return { status: 'DUPLICATE' };
    if (!knownMetrics.has(event.metric))
      return reject('NOT_FOUND', 'metric', unknownMetric(event.metric, knownMetrics));
    const timestampMs = event.timestamp.getTime();
    if (timestampMs > nowMs + aheadMs) {
      const message = `${event.timestamp.toISOString()} is more than 5 minutes ahead of ${now.toISOString()}`;
      return reject('INVALID', 'timestamp', message);
    }

    const place = chooseCounter(countersByMetric.get(event.metric) ?? [], timestampMs, nowMs);
    if (!place) {
      const message =
        `No subscription period with metric '${event.metric}' covers ${event.timestamp.toISOString()}, or the one that ` +
        'does is closed and no open one takes its late events (up to 24 h after its end)';
      return reject('ILLEGAL_STATE', 'timestamp', message);
    }
    const { counter, late } = place;
    const used = usedAfter(counter, event, timestampMs);
    const refusal = refuseUse(counter, event, used);
    if (refusal) return refusal;

    counter.used = used;
    counter.eventCount += 1;
    counter.latestMs = Math.max(counter.latestMs, timestampMs);
    accepted.add(event.transactionId);
    return { status: 'ACCEPTED', windowId: counter.window.id, late };
  };

  const decisions = events.map(decide);
  const changes = counters.filter(({ window, eventCount }) => eventCount > window.eventCount).map(changeOf);
  return { decisions, changes };
}

/** `counters` ascend by start. Where two periods overlap, the one that began last covers the timestamp. */
function chooseCounter(
  counters: readonly Counter[],
  timestampMs: number,
  nowMs: number,
): { counter: Counter; late: boolean } | undefined {
  const covering = counters.findLast(({ startMs, endMs }) => startMs <= timestampMs && timestampMs < endMs);
  if (!covering) return undefined;
  if (covering.window.closedAt === null) return { counter: covering, late: false };
  if (nowMs >= covering.endMs + lateMs) return undefined;
  const next = counters.find(({ window, startMs }) => window.closedAt === null && startMs > covering.startMs);
  return next && { counter: next, late: true };
}

function usedAfter({ window, used, latestMs }: Counter, { value }: UsageEvent, timestampMs: number): Decimal {
  switch (window.aggregation) {
    case 'COUNT':
      return used.plus(1);
    case 'SUM':
      return used.plus(value);
    case 'MAX':
      return value.greaterThan(used) ? value : used;
    case 'LATEST':
      return timestampMs >= latestMs ? value : used;
    case 'UNIQUE':
    case 'WEIGHTED_SUM':
      throw new Error(`aggregation ${window.aggregation} is not supported yet`);
  }
}

/** Why the event may not take the window's use from what it is to `used`; `undefined` when it may. */
function refuseUse(
  { window, used: before, mostUsed: most }: Counter,
  { value }: UsageEvent,
  used: Decimal,
): UsageRejection | undefined {
  const { metric, aggregation, limit, overage } = window;
  if ((aggregation === 'MAX' || aggregation === 'LATEST') && value.lessThan(0)) {
    return reject('INVALID', 'value', `${value.toFixed()} is below 0, which a ${aggregation} metric can't be`);
  }
  if (used.lessThan(0)) {
    const message = `${value.toFixed()} would take the use of '${metric}' below 0: it is ${before.toFixed()}`;
    return reject('INVALID', 'value', message);
  }
  if (used.greaterThan(most) && used.greaterThan(before)) {
    const message = `${value.toFixed()} would take the use of '${metric}' to ${used.toFixed()}: at most ${most.toFixed()} can be counted in a period`;
    return reject('INVALID', 'value', message);
  }
  if (overage === 'BLOCK' && limit !== null && used.greaterThan(limit) && used.greaterThan(before)) {
    const message = `'${metric}' is limited to ${limit.toFixed()}: ${before.toFixed()} used, and the event's value is ${value.toFixed()}`;
    return reject('LIMIT_EXCEEDED', 'value', message);
  }
  return undefined;
}

function unknownMetric(metric: string, knownMetrics: ReadonlySet<string>): string {
  const known = [...knownMetrics].sort();
  const more = known.length > namedMetrics ? ` and ${known.length - namedMetrics} more` : '';
  const names = known.length > 0 ? known.slice(0, namedMetrics).join(', ') + more : 'none';
  return `No metric '${metric.slice(0, 80)}': known metrics are ${names}`;
}

const changeOf = ({ window, used, eventCount, latestMs }: Counter): WindowChange => ({
  windowId: window.id,
  used,
  eventCount,
  latestAt: new Date(latestMs),
  ...crossThresholds({ used, limit: window.limit, percents: window.percents, fired: window.fired }),
});
