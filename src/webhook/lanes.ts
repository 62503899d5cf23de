/** Attempts that may be under way to one endpoint that is slow, or of which nothing is known yet. */
const maxToSlow = 4;
const slowMs = 500;
/** The longest that a delivery steps aside for others to its endpoint. */
const maxStepAsideMs = 60_000;

interface Lane {
  running: number;
  /** Of the last attempt that ended; undefined before the first. */
  lastMs: number | undefined;
  /** Until when the places in the lane are given away. */
  takenUntilMs: number;
}

export interface Lanes {
  /**
   * A place for one attempt, or how long to step aside (milliseconds). Whoever got a place calls `leave` with how long
   * the endpoint took, or undefined when it was not asked.
   */
  enter(
    endpointId: string,
    nowMs: number,
  ): { leave: (durationMs: number | undefined) => void } | { stepAsideMs: number };
}

/**
 * Keeps an endpoint that hangs from taking every worker: a fast one may use them all, a slow one only a few, and what waits
 * for it is spread over the time it will take instead of being tried again and again. Of this process alone, in memory.
 */
export function createLanes(): Lanes {
  const lanes = new Map<string, Lane>();
  return {
    enter: (endpointId, nowMs) => {
      const lane = lanes.get(endpointId) ?? { running: 0, lastMs: undefined, takenUntilMs: 0 };
      lanes.set(endpointId, lane);
      const fast = lane.lastMs !== undefined && lane.lastMs < slowMs;
      if (!fast && lane.running >= maxToSlow) {
        lane.takenUntilMs = Math.max(lane.takenUntilMs, nowMs) + (lane.lastMs ?? slowMs) / maxToSlow;
        return { stepAsideMs: Math.min(lane.takenUntilMs - nowMs, maxStepAsideMs) };
      }
      lane.running += 1;
      return {
        leave: (durationMs) => {
          lane.running -= 1;
          lane.lastMs = durationMs ?? lane.lastMs;
          // An idle lane is forgotten, unless it is slow: that is worth knowing the next time.
          if (lane.running === 0 && (lane.lastMs ?? 0) < slowMs) lanes.delete(endpointId);
        },
      };
    },
  };
}
