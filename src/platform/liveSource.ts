import type { PubSub } from '../integrations/pubsub/pubsub.js';
import type { LoggedEvent } from './eventLog.js';

/** The account's events from a cursor on: each once, in order, at the subscriber's own place in the log. */
export interface LogSource {
  readonly kind: 'log';
  readonly accountId: string;
  /** The last `seq` the subscriber has seen; undefined: it starts behind the last event of now. */
  readonly after: bigint | undefined;
  passes(event: LoggedEvent): boolean;
}

/** Objects as they are now, again whenever one has changed: what lies between two tellings is left out. */
export interface StateSource<State = unknown> {
  readonly kind: 'state';
  /** Keys of the objects to tell first. Asked after `watch` has begun, so that nothing falls between the two. */
  first(): Promise<readonly string[]>;
  /** Calls `changed` with the keys of objects that may have changed, too often rather than too seldom. Returns its end. */
  watch(changed: (keys: readonly string[]) => void): Promise<() => unknown>;
  /** By their keys; of one that is not there nothing is told. */
  read(keys: readonly string[]): Promise<ReadonlyMap<string, State>>;
  /** Equal fingerprints: nothing to tell. Without it every change that is announced is told. */
  fingerprint?(state: State): string;
}

/** What `subscribe` of a subscription answers. It runs nothing by itself: subscribers alike share one run (see api/fanOut). */
export type LiveSource = (LogSource | StateSource) & AsyncIterable<never>;

export const logSource = (source: Omit<LogSource, 'kind'>): LiveSource => ({ kind: 'log', ...source, ...notByItself });

export const stateSource = <State>(source: Omit<StateSource<State>, 'kind'>): LiveSource => ({
  ...({ kind: 'state', ...source } as StateSource),
  ...notByItself,
});

/** One object of an account, whose changes are announced on topics of their own; a gap in the hints is a reason to look. */
export const hintedBy = <State>(
  pubsub: PubSub,
  topics: readonly string[],
  read: () => Promise<State>,
): Pick<StateSource<State>, 'first' | 'watch' | 'read'> => ({
  first: async () => [theOnly],
  read: async () => new Map([[theOnly, await read()]]),
  watch: async (changed) => {
    const hint = (): void => changed([theOnly]);
    const leave = [...topics.map((topic) => pubsub.subscribe(topic, hint)), pubsub.onGap(hint)];
    const looking = setInterval(hint, lookMs).unref();
    return () => {
      clearInterval(looking);
      for (const end of leave) end();
    };
  },
});
const theOnly = '';
/** A hint can be lost with the process that owed it: then what it spoke of is found by looking. */
const lookMs = 5_000;

/** graphql-js demands that a subscription's source can be iterated. */
const notByItself: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => {
    throw new Error('a live source is followed by its group, and not iterated');
  },
};

/** Who gets rendered results: a subscription on a socket. */
export interface Subscriber {
  send(payload: string): void;
  /** Has what was sent left? A replay goes at this pace; what is live doesn't wait for anybody. */
  readonly isFree: boolean;
  /** Resolves when it is free, or gone. */
  free(): Promise<void>;
  /** Ends the subscription with an error. */
  fail(error: unknown): void;
}

/** Makes the result of one event or state, as text. Never throws for what a resolver throws: that is part of a result. */
export type Render = (root: unknown) => Promise<string>;

/** Subscribers that get the same results, each made once. */
export interface LiveGroup<Source> {
  /** Returns the function that ends it. */
  join(subscriber: Subscriber, source: Source): () => void;
}
