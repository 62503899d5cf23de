import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Hints between processes: "the log of account X has grown to 42". A lost hint costs latency and nothing else, because
 * every receiver also reads the database from its own cursor.
 */
export interface PubSub {
  /** Reaches this process's listeners at once and those of other processes soon. Never throws, never waits. */
  publish(topic: string, message: string): void;
  /** Returns the function that ends the subscription. */
  subscribe(topic: string, listener: (message: string) => void): () => void;
  /** Called when hints may have been missed: a connection was lost and is back. Returns the function that ends it. */
  onGap(listener: () => void): () => void;
  close(): Promise<void>;
}

/** The listeners of one process, by topic. */
export class LocalListeners {
  readonly #byTopic = new Map<string, Set<(message: string) => void>>();

  add(topic: string, listener: (message: string) => void): () => void {
    const listeners = this.#byTopic.get(topic) ?? new Set();
    this.#byTopic.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#byTopic.get(topic) === listeners) this.#byTopic.delete(topic);
    };
  }

  dispatch(topic: string, message: string): void {
    for (const listener of [...(this.#byTopic.get(topic) ?? [])]) listener(message);
  }
}

/** How hints get to the other processes, and come from them: the part in which the implementations differ. */
export interface Wire {
  isOpen(): boolean;
  /** Sends each payload to every process, this one too. Throws when it could not. */
  send(payloads: readonly string[]): Promise<void>;
  /** Cuts a connection that nothing comes over any more; it is made anew. */
  cut(): void;
  close(): Promise<void>;
}

/** What a wire calls. */
export interface WireEnd {
  /** Something came in. */
  receive(payload: string): void;
  /** It is there, for the first time or again: hints may have been missed. */
  opened(): void;
  /** It has been away for a while: whoever lives by hints had better look. */
  away(): void;
}

const maxWaiting = 10_000;
const maxGoodbyeMs = 1_000;
const usualCheckMs = 10_000;

/** How an implementation is opened. */
export interface PubSubOptions {
  readonly url: string;
  readonly onError: (error: Error) => void;
  /** How often the wire is tried with a hint to ourselves (milliseconds). */
  readonly checkMs?: number | undefined;
}

/**
 * Publish and subscribe over a wire: hints go out in batches, one in flight, and wait while there is no connection. Now and then
 * one goes to ourselves, and a wire that doesn't bring it is cut: the other end of a connection can vanish without a word.
 */
export function pubSubOver(
  connect: (end: WireEnd) => Wire,
  { onError, checkMs = usualCheckMs }: Omit<PubSubOptions, 'url'>,
): PubSub {
  const origin = randomUUID();
  const local = new LocalListeners();
  const gapListeners = new Set<() => void>();
  let waiting: string[] = [];
  let sending = false;
  let failedBefore = false;
  let isHeard = true;
  let closing: Promise<void> | undefined;

  const look = (): void => {
    for (const listener of [...gapListeners]) listener();
  };

  const flush = async (): Promise<void> => {
    if (sending) return;
    sending = true;
    while (waiting.length > 0 && wire.isOpen()) {
      const batch = waiting;
      waiting = [];
      try {
        await wire.send(batch);
        failedBefore = false;
      } catch (error) {
        // Once more: most likely the connection was lost, and its end is told right after this.
        if (!failedBefore) waiting = [...batch, ...waiting].slice(0, maxWaiting);
        failedBefore = !failedBefore;
        onError(error as Error);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    sending = false;
  };

  const wire = connect({
    receive: (payload) => {
      const hint = hintOf(payload);
      if (hint?.from === origin) isHeard = true;
      else if (hint?.topic !== undefined) local.dispatch(hint.topic, hint.message ?? '');
    },
    opened: () => {
      isHeard = true;
      look();
      void flush();
    },
    away: look,
  });

  const send = (...hint: readonly string[]): void => {
    if (waiting.length < maxWaiting) waiting.push(JSON.stringify([origin, ...hint]));
    void flush();
  };

  const check = setInterval(() => {
    if (!wire.isOpen()) return;
    if (!isHeard) return wire.cut();
    isHeard = false;
    send();
  }, checkMs).unref();

  const close = async (): Promise<void> => {
    clearInterval(check);
    // A short-lived process (the command line) still owes its hints.
    for (let waitedMs = 0; (waiting.length > 0 || sending) && waitedMs < maxGoodbyeMs; waitedMs += 10) await sleep(10);
    await wire.close();
  };

  return {
    publish: (topic, message) => {
      local.dispatch(topic, message);
      send(topic, message);
    },
    subscribe: (topic, listener) => local.add(topic, listener),
    onGap: (listener) => {
      gapListeners.add(listener);
      return () => gapListeners.delete(listener);
    },
    close: () => (closing ??= close()),
  };
}

/** Undefined for what somebody else says on the channel. */
function hintOf(payload: string): { from: string; topic: string | undefined; message: string | undefined } | undefined {
  try {
    const [from, topic, message] = JSON.parse(payload) as [string, string | undefined, string | undefined];
    return { from, topic, message };
  } catch {
    return undefined;
  }
}
