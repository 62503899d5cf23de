import { Repeater } from '@repeaterjs/repeater';
import { BillingError } from '../domain/errors.js';
import type { PubSub } from '../integrations/pubsub/pubsub.js';
import type { Logger } from './log.js';

/** At most ten states a second to one subscriber; in between only the newest counts. */
const minIntervalMs = 100;
const retryMs = 1_000;

/**
 * The state now, and again whenever it has changed: read, pushed when it differs from the last one, never an old one after
 * a new one. Hints on the topics say when to look; a gap in the hints is a reason to look as well.
 */
export function liveState<State>({
  pubsub,
  topics,
  read,
  keyOf,
  log,
}: {
  pubsub: PubSub;
  topics: readonly string[];
  read: () => Promise<State>;
  /** Equal keys: nothing to tell. */
  keyOf: (state: State) => string;
  log: Logger;
}): AsyncIterableIterator<State> {
  return new Repeater<State>(async (push, stop) => {
    let stopped = false;
    let changed = true;
    let wake = () => {};
    const hint = (): void => {
      changed = true;
      wake();
    };
    const leave = [...topics.map((topic) => pubsub.subscribe(topic, hint)), pubsub.onGap(hint)];
    void stop.then(() => {
      stopped = true;
      for (const end of leave) end();
      wake();
    });
    let last: string | undefined;
    while (!stopped) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!changed) {
        await woken;
        continue;
      }
      changed = false;
      let state: State;
      try {
        state = await read();
      } catch (error) {
        if (error instanceof BillingError) throw error;
        // Most likely the database is away: the subscriber keeps its last state until a read succeeds again.
        log.warn({ err: error }, 'a live state could not be read; trying again');
        changed = true;
        await Promise.race([new Promise((resolve) => setTimeout(resolve, retryMs)), stop]);
        continue;
      }
      const key = keyOf(state);
      if (stopped || key === last) continue;
      last = key;
      const pause = new Promise((resolve) => setTimeout(resolve, minIntervalMs));
      await push(state);
      await Promise.race([pause, stop]);
    }
  });
}

/**
 * Only what passes. Not an async generator: `return()` of one waits for its pending `next()`, so that ending a
 * subscription would wait for the next event.
 */
export function filtered<Item>(
  source: AsyncIterableIterator<Item>,
  passes: (item: Item) => boolean,
): AsyncIterableIterator<Item> {
  const result: AsyncIterableIterator<Item> = {
    next: async () => {
      for (;;) {
        const item = await source.next();
        if (item.done || passes(item.value)) return item;
      }
    },
    return: async () => (await source.return?.()) ?? { done: true, value: undefined },
    [Symbol.asyncIterator]: () => result,
  };
  return result;
}
