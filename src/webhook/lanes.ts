/** Attempts that may be under way at once, all told: so many sockets and answers a process can look after with ease. */
const maxAtOnce = 100;
/** To one endpoint: of those that it may hear twice when the process is killed. */
const maxToOne = { slow: 4, unknown: 4, fast: 10 };
/**
 * To all that are slow together, and to all of which nothing is known: however many hang, the others have places left. When the
 * slow ones have all theirs, an unknown endpoint shows with a single attempt whether it is another.
 */
const maxTogether = { slow: 60, unknown: 20, fast: maxAtOnce };
const slowMs = 500;
/** Endpoints remembered while nothing is under way to them. */
const maxKnown = 10_000;

type Pace = keyof typeof maxToOne;

interface Lane {
  /** When each attempt under way began, the oldest first. */
  readonly running: Map<symbol, number>;
  /** Of the last attempt that ended; undefined before the first. */
  lastMs: number | undefined;
}

export interface Lanes {
  /** Places that are free in the whole process. */
  free(): number;
  /** How many more attempts may begin to this endpoint. */
  room(endpointId: string, nowMs: number): number;
  /** Of what is due, as many as there are places for, in its order; and the endpoints of which something is left. */
  choose<Due extends { readonly endpointId: string }>(
    due: readonly Due[],
    nowMs: number,
  ): { chosen: Due[]; left: ReadonlySet<string> };
  /** The endpoints to which no more may begin. */
  full(nowMs: number): string[];
  /** Takes a place. Whoever calls what it returns says how long the endpoint took, or undefined when it was not asked. */
  enter(endpointId: string, nowMs: number): (durationMs: number | undefined) => void;
}

/**
 * Keeps endpoints that hang from taking every place: a fast one gets many, a slow one few, and all slow ones together leave
 * room for the others. An attempt that is still without an answer makes its endpoint slow at once, not only at its end. Of
 * this process alone, in memory.
 */
export function createLanes(): Lanes {
  const lanes = new Map<string, Lane>();
  let taken = 0;

  const paceOf = (lane: Lane | undefined, nowMs: number): Pace => {
    const [oldest = nowMs] = lane?.running.values() ?? [];
    if (nowMs - oldest >= slowMs) return 'slow';
    if (lane?.lastMs === undefined) return 'unknown';
    return lane.lastMs >= slowMs ? 'slow' : 'fast';
  };

  /** Counts places down as they are given away, each endpoint's own and those that all of its pace have together. */
  const places = (nowMs: number) => {
    const together: Record<Pace, number> = { ...maxTogether };
    for (const lane of lanes.values()) together[paceOf(lane, nowMs)] -= lane.running.size;
    // What was unknown and turns out to hang is slow from then on: it must not make room for the next that may.
    together.unknown += Math.min(0, together.slow);
    const most = together.slow > 0 ? maxToOne : { ...maxToOne, unknown: 1 };
    const given = new Map<string, number>();
    const room = (endpointId: string): number => {
      const lane = lanes.get(endpointId);
      const pace = paceOf(lane, nowMs);
      const own = most[pace] - (lane?.running.size ?? 0) - (given.get(endpointId) ?? 0);
      return Math.max(0, Math.min(own, together[pace]));
    };
    const give = (endpointId: string): void => {
      given.set(endpointId, (given.get(endpointId) ?? 0) + 1);
      together[paceOf(lanes.get(endpointId), nowMs)]--;
    };
    return { room, give };
  };

  return {
    free: () => maxAtOnce - taken,
    room: (endpointId, nowMs) => places(nowMs).room(endpointId),
    choose: (due, nowMs) => {
      const { room, give } = places(nowMs);
      const left = new Set<string>();
      const chosen = due.filter(({ endpointId }) => {
        if (room(endpointId) > 0) {
          give(endpointId);
          return true;
        }
        left.add(endpointId);
        return false;
      });
      for (const { endpointId } of chosen.splice(maxAtOnce - taken)) left.add(endpointId);
      return { chosen, left };
    },
    full: (nowMs) => {
      const { room } = places(nowMs);
      return [...lanes.keys()].filter((endpointId) => room(endpointId) === 0);
    },
    enter: (endpointId, nowMs) => {
      const lane = lanes.get(endpointId) ?? { running: new Map(), lastMs: undefined };
      lanes.set(endpointId, lane);
      const place = Symbol();
      lane.running.set(place, nowMs);
      taken += 1;
      return (durationMs) => {
        lane.running.delete(place);
        lane.lastMs = durationMs ?? lane.lastMs;
        taken -= 1;
        if (lanes.size > maxKnown) for (const [id, { running }] of lanes) if (running.size === 0) lanes.delete(id);
      };
    },
  };
}
