/**
 * Hints between processes: "the log of account X has grown to 42". A lost hint costs latency and nothing else, because
 * every receiver also reads the database from its own cursor.
 */
export interface PubSub {
  /** Reaches this process's listeners at once and those of other processes soon. Never throws, never waits. */
  publish(topic: string, message: string): void;
  /** Returns the function that ends the subscription. */
  subscribe(topic: string, listener: (message: string) => void): () => void;
  /** Called after a connection was lost and is back: hints may have been missed. Returns the function that ends it. */
  onGap(listener: () => void): () => void;
  close(): Promise<void>;
}

/** The listeners of one process, by topic; the part that every implementation shares. */
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
