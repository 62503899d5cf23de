import { withoutWaitBudget } from './waitBudget.js';

interface Waiting<Item, Result> {
  readonly items: readonly Item[];
  readonly resolve: (results: Result[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers what arrives for a key while its last flush is still under way into the next flush: one in flight a key, no
 * timer. A lone caller is flushed at once; under load the batches grow by themselves.
 */
export function createCoalescer<Item, Result>({
  flush,
  maxItems,
}: {
  /** Results in the order of the items. */
  flush: (key: string, items: readonly Item[]) => Promise<readonly Result[]>;
  maxItems: number;
}): { add(key: string, items: readonly Item[]): Promise<Result[]> } {
  const queues = new Map<string, Waiting<Item, Result>[]>();

  const drain = async (key: string, queue: Waiting<Item, Result>[]): Promise<void> => {
    while (queue.length > 0) {
      const batch: Waiting<Item, Result>[] = [];
      for (let size = 0; queue[0] && (batch.length === 0 || size + queue[0].items.length <= maxItems); ) {
        size += queue[0].items.length;
        batch.push(queue.shift()!);
      }
      try {
        const results = await flush(
          key,
          batch.flatMap((waiting) => waiting.items),
        );
        let from = 0;
        for (const waiting of batch) {
          waiting.resolve(results.slice(from, from + waiting.items.length));
          from += waiting.items.length;
        }
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
    queues.delete(key);
  };

  return {
    add: (key, items) =>
      new Promise((resolve, reject) => {
        const waiting = { items, resolve, reject };
        const queue = queues.get(key);
        if (queue) return void queue.push(waiting);
        const first = [waiting];
        queues.set(key, first);
        void withoutWaitBudget(() => drain(key, first)); // it goes on for whoever comes later
      }),
  };
}
