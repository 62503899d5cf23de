/** The one source of "now" (milliseconds). Rules take `now` as an argument; only use cases ask a clock. */
export interface Clock {
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };

/** A clock that stands still at one instant: for work that belongs to another time than the wall's. */
export const clockAt = (at: Date): Clock => ({ now: () => new Date(at) });
