import { type Aggregation, type Opening, placeReading, type Reading, weightedUse } from './aggregate.js';
import { type Decimal, zero } from './decimal.js';
import type { Period } from './period.js';
import { type ChargeModel, maxQuantity, mostQuantity, type OveragePolicy } from './rating.js';
import { refuseEvent, refuseUse, reject, type UsageRejection } from './refuseUsage.js';
import { crossThresholds } from './thresholds.js';

/** A metric's counter over one subscription period, with all that deciding on an event needs. */
export interface UsageWindow {
  id: string;
  metric: string;
  aggregation: Aggregation;
  /** Whose events count: the subscription's period, or what of it had passed when its plan lost the metric. */
  period: Period;
  /** The end of the period that it is billed with; `null` while it waits for that after its metric left the plan. */
  billedAt: Date | null;
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
  /** UNIQUE: the event property whose distinct values count. */
  property: string | null;
  /** UNIQUE: of the batch's values, those that count here already. */
  knownValues: ReadonlySet<string>;
  /** LATEST and WEIGHTED_SUM: what the period began with. */
  opening: Opening | null;
  /** WEIGHTED_SUM: the level as of `latestAt`, and level × milliseconds from the period's start until then. */
  level: Decimal | null;
  accrued: Decimal | null;
  /**
   * WEIGHTED_SUM: by time the readings that the batch's go between, and the last one; `null` until somebody asks for them
   * (`lacking`). A batch in order of time needs none.
   */
  readings: readonly Reading[] | null;
  /** When its usage was billed; a closed window takes no more events, unless its invoice still waits for them. */
  closedAt: Date | null;
  /** The invoice that waits as a draft for its late events. */
  draftInvoiceId: string | null;
}

export interface UsageEvent {
  transactionId: string;
  metric: string;
  value: Decimal;
  timestamp: Date;
  /** Of a UNIQUE metric: the value of its property, as text, where the event has one. */
  uniqueValue?: string | null;
}

export type UsageDecision =
  | { status: 'ACCEPTED'; windowId: string; late: boolean }
  | { status: 'DUPLICATE' }
  | UsageRejection;

/** What a batch made of a window that got at least one event: the new values, and the thresholds to tell about. */
export interface WindowChange {
  windowId: string;
  used: Decimal;
  eventCount: number;
  latestAt: Date | null;
  level: Decimal | null;
  accrued: Decimal | null;
  crossed: number[];
  cleared: number[];
  fired: number[];
}

/** A window's running state within a batch. Times are epoch milliseconds, as the hot path compares little else. */
interface Counter {
  readonly window: UsageWindow;
  readonly startMs: number;
  readonly endMs: number;
  readonly billedMs: number;
  readonly mostUsed: Decimal;
  used: Decimal;
  eventCount: number;
  latestMs: number;
  /** UNIQUE: values of the batch that count. */
  readonly values: Set<string>;
  /** WEIGHTED_SUM: by time, and what they have accrued until the last of them. */
  readonly readings: Reading[];
  accrued: Decimal;
}

/** How long after its end a window may still be named by an event. */
export const lateMs = 24 * 3_600_000;
export const aheadMs = 5 * 60_000;
const namedMetrics = 20;

const startCounting = (window: UsageWindow): Counter => ({
  window,
  startMs: window.period.start.getTime(),
  endMs: window.period.end.getTime(),
  billedMs: (window.billedAt ?? window.period.end).getTime(),
  mostUsed: mostUsed(window),
  used: window.used,
  eventCount: window.eventCount,
  latestMs: window.latestAt?.getTime() ?? Number.NEGATIVE_INFINITY,
  values: new Set(window.knownValues),
  readings: [...(window.readings ?? [lastReading(window)])],
  accrued: window.accrued ?? zero,
});

const lastReading = ({ latestAt, level }: UsageWindow): Reading => ({
  atMs: latestAt?.getTime() ?? Number.NEGATIVE_INFINITY,
  value: level ?? zero,
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
 * - The timestamp chooses the window. Up to 24 h after the end of one already closed, its events count in it while its
 *   invoice waits for them as a draft, and otherwise in the metric's next window that is open or waits so, marked late.
 *   Where there is none, as after a subscription's end, nothing could bill them: ILLEGAL_STATE. More than 5 minutes ahead of
 *   `now` is refused.
 *   A metric that a change of plan took away takes no event from then on, and those of before until it is billed.
 * - COUNT counts events whatever their value, UNIQUE distinct values of a property, which every event must have. SUM also
 *   takes negative values (reversals) down to a total of 0. MAX, LATEST and WEIGHTED_SUM take no negative value. For LATEST
 *   an event older than the latest is accepted without effect; for it and WEIGHTED_SUM, of two at the same instant the
 *   later in order holds.
 * - WEIGHTED_SUM weighs each level with the time it stood, the last one until the period's end (see `weightedUse`).
 * - No event may raise the use above 1e15, or, where overage is CHARGE, above what costs `maxChargeMinor` (9e15 minor
 *   units) at the window's price: use × price is then bounded whatever the limit is.
 * - Overage BLOCK refuses an event that would raise the use above the limit.
 * - Thresholds compare the use before and after the whole batch: what it crosses on the way and leaves again is silent.
 *
 * `lacking` are the WEIGHTED_SUM windows that got a reading older than their latest and no `readings` to place it among:
 * unless it is empty, the rest of the answer is worth nothing, and the batch is to be decided again with them.
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
}): { decisions: UsageDecision[]; changes: WindowChange[]; lacking: string[] } {
  const nowMs = now.getTime();
  const counters = windows.map(startCounting);
  const countersByMetric = Map.groupBy(
    counters.toSorted((a, b) => a.startMs - b.startMs),
    ({ window }) => window.metric,
  );
  const accepted = new Set<string>();
  const lacking = new Set<string>();

  const decide = (event: UsageEvent): UsageDecision => {
    if (seen.has(event.transactionId) || accepted.has(event.transactionId)) return { status: 'DUPLICATE' };
    if (!knownMetrics.has(event.metric))
      return reject('NOT_FOUND', 'metric', unknownMetric(event.metric, knownMetrics));
    const timestampMs = event.timestamp.getTime();
    if (timestampMs > nowMs + aheadMs) {
      const message = `${event.timestamp.toISOString()} is more than 5 minutes ahead of ${now.toISOString()}`;
      return reject('INVALID', 'timestamp', message);
    }

    const own = countersByMetric.get(event.metric) ?? [];
    const place = chooseCounter(own, timestampMs, nowMs);
    if (!place.counter) {
      const withdrawn = own.find((counter) => isAfterWithdrawal(counter, timestampMs));
      if (withdrawn) {
        const since = withdrawn.window.period.end.toISOString();
        const message = `The plan grants no '${event.metric}' since ${since}, expected a timestamp before that`;
        return reject('LIMIT_EXCEEDED', 'timestamp', message);
      }
      return reject('ILLEGAL_STATE', 'timestamp', noPlace(event, place.over));
    }
    const { counter, late } = place;
    if (counter.window.readings === null && isOlder(counter, timestampMs)) lacking.add(counter.window.id);
    const after = countIn(counter, event, timestampMs);
    const { window, used: before, mostUsed: most } = counter;
    const refusal =
      refuseEvent({ window, most, event }) ?? refuseUse({ window, most, before, used: after.used, event });
    if (refusal) {
      const nowhere = late !== undefined && refusal.code === 'LIMIT_EXCEEDED' && grantsNothing(window);
      return nowhere ? reject('ILLEGAL_STATE', 'timestamp', noPlace(event, late)) : refusal;
    }

    after.keep?.();
    counter.used = after.used;
    counter.eventCount += 1;
    counter.latestMs = Math.max(counter.latestMs, timestampMs);
    accepted.add(event.transactionId);
    return { status: 'ACCEPTED', windowId: counter.window.id, late: late !== undefined };
  };

  const decisions = events.map(decide);
  const changes = counters.filter(({ window, eventCount }) => eventCount > window.eventCount).map(changeOf);
  return { decisions, changes, lacking: [...lacking] };
}

/** Where an event counts: `late` is its own period, where that is over. Or nowhere: `over` is its period, as far as it has one. */
type Place = { counter: Counter; late?: Counter | undefined } | { counter?: undefined; over?: Counter | undefined };

/** `counters` ascend by start. Where two periods overlap, the one that began last covers the timestamp. */
function chooseCounter(counters: readonly Counter[], timestampMs: number, nowMs: number): Place {
  const covering = counters.findLast(({ startMs, endMs }) => startMs <= timestampMs && timestampMs < endMs);
  if (covering?.window.closedAt === null) return { counter: covering };
  if (!covering || nowMs >= covering.billedMs + lateMs) return {};
  if (covering.window.draftInvoiceId !== null) return { counter: covering };
  const next = counters.find(({ window, startMs }) => isBillable(window) && startMs > covering.startMs);
  return next ? { counter: next, late: covering } : { over: covering };
}

/** The plan lost the metric, whose use isn't billed yet. */
const isAfterWithdrawal = ({ window, endMs }: Counter, timestampMs: number): boolean =>
  window.billedAt === null && endMs <= timestampMs;

/** Its usage will be on an invoice, or is on one that waits. */
const isBillable = ({ closedAt, draftInvoiceId }: UsageWindow): boolean => closedAt === null || draftInvoiceId !== null;

/** Why an event counts nowhere: it has no period, or that is over and billed, and no other bills what comes late. */
function noPlace({ metric, timestamp }: UsageEvent, over: Counter | undefined): string {
  const at = timestamp.toISOString();
  return over
    ? `The subscription period that covers ${at} ended at ${over.window.period.end.toISOString()} and its invoice is final: no current period bills '${metric}', so nothing could bill what comes late`
    : `No subscription period with metric '${metric}' covers ${at}, or it ended more than 24 h ago`;
}

/** A pause, and a plan without the metric, take no usage at all. */
const grantsNothing = ({ overage, limit }: UsageWindow): boolean => overage === 'BLOCK' && limit?.isZero() === true;

const isOlder = ({ window, readings }: Counter, timestampMs: number): boolean =>
  window.aggregation === 'WEIGHTED_SUM' && timestampMs < readings[0]!.atMs;

/** The use with the event; `keep` notes what it leaves beside the use, once the event is accepted. */
function countIn(counter: Counter, event: UsageEvent, timestampMs: number): { used: Decimal; keep?: () => void } {
  const { window, used, latestMs, values, readings } = counter;
  const { value, uniqueValue } = event;
  switch (window.aggregation) {
    case 'COUNT':
      return { used: used.plus(1) };
    case 'SUM':
      return { used: used.plus(value) };
    case 'MAX':
      return { used: value.greaterThan(used) ? value : used };
    case 'LATEST':
      return { used: timestampMs >= latestMs ? value : used };
    case 'UNIQUE':
      if (uniqueValue == null || values.has(uniqueValue)) return { used };
      return { used: used.plus(1), keep: () => values.add(uniqueValue) };
    case 'WEIGHTED_SUM': {
      const reading = { atMs: timestampMs, value };
      const placed = placeReading(readings, reading, window.period);
      const accrued = counter.accrued.plus(placed.accrued);
      const last = placed.index === readings.length ? reading : readings.at(-1)!;
      return {
        used: weightedUse({ accrued, last, period: window.period }),
        keep: () => {
          readings.splice(placed.index, 0, reading);
          counter.accrued = accrued;
        },
      };
    }
  }
}

function unknownMetric(metric: string, knownMetrics: ReadonlySet<string>): string {
  const known = [...knownMetrics].sort();
  const more = known.length > namedMetrics ? ` and ${known.length - namedMetrics} more` : '';
  const names = known.length > 0 ? known.slice(0, namedMetrics).join(', ') + more : 'none';
  return `No metric '${metric.slice(0, 80)}': known metrics are ${names}`;
}

const changeOf = ({ window, used, eventCount, latestMs, readings, accrued }: Counter): WindowChange => ({
  windowId: window.id,
  used,
  eventCount,
  latestAt: new Date(latestMs),
  ...(window.aggregation === 'WEIGHTED_SUM'
    ? { level: readings.at(-1)!.value, accrued }
    : { level: null, accrued: null }),
  ...crossThresholds({ used, limit: window.limit, percents: window.percents, fired: window.fired }),
});

/** Why a correction may not make an event so; `undefined` when it may. */
export const refuseReplacement = (
  window: UsageWindow,
  event: Pick<UsageEvent, 'value' | 'uniqueValue'>,
): UsageRejection | undefined => refuseEvent({ window, most: mostUsed(window), event });

/**
 * Why corrections may not take a window's use to `used`; `undefined` when they may. Only where one is a replacement are they
 * held to the limit of overage BLOCK: an event that is taken back is nobody's new use.
 */
export function refuseCorrected(
  window: UsageWindow,
  { used, replaced }: { used: Decimal; replaced: boolean },
): UsageRejection | undefined {
  const refusal = refuseUse({ window, most: mostUsed(window), before: window.used, used });
  return refusal?.code === 'LIMIT_EXCEEDED' && !replaced ? undefined : refusal;
}
