/** Attempts that may be under way at once, all told: so many sockets and answers a process can look after with ease. */
const maxAtOnce = 100;
/** To one endpoint that answers quickly. Of as many it may hear twice when the process is killed. */
const maxToFast = 10;
/** To one that is slow, or of which nothing is known yet. */
const maxToSlow = 4;
/** To all that are slow together: however many hang, the others have places left. */
const maxToAllSlow = 60;
const slowMs = 500;
/** Endpoints remembered while nothing is under way to them. */
const maxKnown = 10_000;

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

  const isSlow = ({ lastMs = 0, running }: Lane, nowMs: number): boolean => {
    const [oldest = nowMs] = running.values();
    return lastMs >= slowMs || nowMs - oldest >= slowMs;
  };
  const slowOnes = (nowMs: number): [string, Lane][] => [...lanes].filter(([, lane]) => isSlow(lane, nowMs));
  const takenBySlow = (nowMs: number): number =>
    slowOnes(nowMs).reduce((sum, [, { running }]) => sum + running.size, 0);

  const roomIn = (lane: Lane | undefined, { nowMs, bySlow }: { nowMs: number; bySlow: number }): number => {
    if (lane === undefined) return maxToSlow;
    const slow = isSlow(lane, nowMs);
    const most = slow || lane.lastMs === undefined ? maxToSlow : maxToFast;
    return Math.max(0, Math.min(most - lane.running.size, slow ? maxToAllSlow - bySlow : maxAtOnce));
  };

  return {
    free: () => maxAtOnce - taken,
    room: (endpointId, nowMs) => roomIn(lanes.get(endpointId), { nowMs, bySlow: takenBySlow(nowMs) }),
    full: (nowMs) => {
      const bySlow = takenBySlow(nowMs);
      return [...lanes].filter(([, lane]) => roomIn(lane, { nowMs, bySlow }) === 0).map(([id]) => id);
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
