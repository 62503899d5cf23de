import { isLevel } from './aggregate.js';
import type { Decimal } from './decimal.js';
import type { UsageEvent, UsageWindow } from './usage.js';

export interface UsageRejection {
  status: 'REJECTED';
  code: 'INVALID' | 'LIMIT_EXCEEDED' | 'ILLEGAL_STATE' | 'NOT_FOUND';
  message: string;
  field: string;
}

export const reject = (code: UsageRejection['code'], field: string, message: string): UsageRejection => ({
  status: 'REJECTED',
  code,
  message,
  field,
});

/** Why an event can't count in the window, whatever the use. */
export function refuseEvent({
  window: { metric, aggregation, property },
  most,
  event: { value, uniqueValue },
}: {
  window: UsageWindow;
  most: Decimal;
  event: Pick<UsageEvent, 'value' | 'uniqueValue'>;
}): UsageRejection | undefined {
  if (aggregation === 'UNIQUE' && uniqueValue == null) {
    const message = `'${metric}' counts the values of the property '${property}': expected a text of 1 to 255 characters, a number, true or false`;
    return reject('INVALID', 'properties', message);
  }
  if ((aggregation === 'MAX' || isLevel(aggregation)) && value.lessThan(0)) {
    return reject('INVALID', 'value', `${value.toFixed()} is below 0, which a ${aggregation} metric can't be`);
  }
  // A level that stood but a moment weighs little in this period, and is all of the next one.
  if (aggregation === 'WEIGHTED_SUM' && value.greaterThan(most)) {
    return reject('INVALID', 'value', `${value.toFixed()} is above ${most.toFixed()}, the most that can be counted`);
  }
  return undefined;
}

/** Why the event, or without one a correction, may not take the use from `before` to `used`; `undefined` when it may. */
export function refuseUse({
  window: { metric, limit, overage },
  most,
  before,
  used,
  event,
}: {
  window: UsageWindow;
  most: Decimal;
  before: Decimal;
  used: Decimal;
  event?: UsageEvent;
}): UsageRejection | undefined {
  const what = event ? event.value.toFixed() : 'The correction';
  if (used.lessThan(0)) {
    const message = `${what} would take the use of '${metric}' below 0: it is ${before.toFixed()}`;
    return reject('INVALID', 'value', message);
  }
  if (used.greaterThan(most) && used.greaterThan(before)) {
    const message = `${what} would take the use of '${metric}' to ${used.toFixed()}: at most ${most.toFixed()} can be counted in a period`;
    return reject('INVALID', 'value', message);
  }
  if (overage === 'BLOCK' && limit !== null && used.greaterThan(limit) && used.greaterThan(before)) {
    const would = event ? `the event's value is ${what}` : `corrected it would be ${used.toFixed()}`;
    const message = `'${metric}' is limited to ${limit.toFixed()}: ${before.toFixed()} used, and ${would}`;
    return reject('LIMIT_EXCEEDED', 'value', message);
  }
  return undefined;
}
