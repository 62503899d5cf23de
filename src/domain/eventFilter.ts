import { invalid } from './errors.js';
import { eventTypes, isEventType } from './events.js';

/** The kinds of events: what stands before the dot. */
const kinds: readonly string[] = [...new Set(eventTypes.map((type) => type.slice(0, type.indexOf('.'))))];
const wildcards: ReadonlySet<string> = new Set(kinds.map((kind) => `${kind}.*`));

/**
 * Which events somebody wants: types by their names, or all of a kind as `invoice.*`; none: everything. Each once. Throws
 * INVALID at `events` and its place.
 */
export function parseEventFilter(wanted: readonly string[]): string[] {
  const unknown = wanted.findIndex((one) => !isEventType(one) && !wildcards.has(one));
  if (unknown >= 0) {
    throw invalid(
      `'${wanted[unknown]!.slice(0, 60)}' is not an event type: expected one of ${eventTypes.join(', ')}, or all of a kind: ${[...wildcards].join(', ')}`,
      'events',
      unknown,
    );
  }
  return [...new Set(wanted)];
}

/** Is the type among those a filter asks for? */
export const wantsEvent = (filter: readonly string[], type: string): boolean =>
  filter.length === 0 || filter.includes(type) || filter.includes(`${type.slice(0, type.indexOf('.'))}.*`);
