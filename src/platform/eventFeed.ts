import { setTimeout as sleep } from 'node:timers/promises';
import { Repeater } from '@repeaterjs/repeater';
import type { PubSub } from '../integrations/pubsub/pubsub.js';
import type { Db } from './db.js';
import { type LoggedEvent, lastSeq, noLongerKept, readEvents, requireKept } from './eventLog.js';

/** The topic under which a grown log is announced; the message is the log's last `seq`. */
export const eventsTopic = (accountId: string): string => `events:${accountId}`;

export interface EventFeed {
  /**
   * The account's events with `seq > after` in pages of at least one, first those already logged, then live: no gap, no
   * repeat, in order. Ends when `return()` is called. Throws INVALID where events behind `after` are no longer kept.
   */
  pages(input: { accountId: string; after: bigint }): AsyncIterableIterator<readonly LoggedEvent[]>;
  /** The last `seq` of the account's log. */
  lastSeq(accountId: string): Promise<bigint>;
  /** Throws INVALID where events behind this cursor are no longer kept. */
  requireKept(cursor: { accountId: string; after: bigint }): Promise<void>;
}

const pageSize = 200;
/** A hint can be lost (see PubSub); then the next poll finds what it spoke of. */
const pollMs = 5_000;
const retryMs = 1_000;

/**
 * One reader per account and process, shared by all its subscribers: a hint costs one database read whatever the number
 * of sockets. A subscriber that lags behind the shared tail reads the log by itself.
 */
export function createEventFeed({ db, pubsub }: { db: Db; pubsub: PubSub }): EventFeed {
  const tails = new Map<string, Tail>();

  const tailOf = (accountId: string): Tail => {
    let tail = tails.get(accountId);
    if (!tail) {
      tail = new Tail(db, pubsub, accountId, () => tails.delete(accountId));
      tails.set(accountId, tail);
    }
    return tail;
  };

  return {
    lastSeq: (accountId) => lastSeq(db.orm.em.fork(), accountId),
    requireKept: (cursor) => requireKept(db.orm.em.fork(), cursor),
    pages: ({ accountId, after }) =>
      new Repeater<readonly LoggedEvent[]>(async (push, stop) => {
        let stopped = false;
        let wake = () => {};
        const tail = tailOf(accountId);
        const leave = tail.join(() => wake());
        void stop.then(() => {
          stopped = true;
          leave();
          wake();
        });
        let cursor = after;
        while (!stopped) {
          const woken = new Promise<void>((resolve) => {
            wake = resolve;
          });
          const events = tail.after(cursor) ?? (await readOrWait(db, { accountId, after: cursor }));
          if (!events || stopped) continue;
          if (events.length > 0) {
            if (events[0]!.seq > cursor + 1n) throw noLongerKept(events[0]!.seq); // `seq` has no gaps
            await push(events);
            cursor = events.at(-1)!.seq;
          } else await woken;
        }
      }),
  };
}

/** A page of the log; when the database is away, nothing, and only after a pause: the subscriber asks again. */
async function readOrWait(
  db: Db,
  { accountId, after }: { accountId: string; after: bigint },
): Promise<readonly LoggedEvent[] | undefined> {
  try {
    return await readEvents(db.orm.em.fork(), { accountId, after, limit: pageSize });
  } catch (error) {
    db.log.warn({ err: error, accountId }, 'the event log could not be read; trying again');
    await sleep(retryMs);
    return undefined;
  }
}

/** The newest events of one account, kept while somebody listens. */
class Tail {
  readonly #listeners = new Set<() => void>();
  readonly #leave: (() => void)[];
  readonly #poll: NodeJS.Timeout;
  /** Contiguous, ascending. */
  #recent: LoggedEvent[] = [];
  /** Everything up to here is in `#recent` or older than it; undefined until the first read. */
  #seq: bigint | undefined;
  #reading = false;
  #again = false;

  constructor(
    readonly db: Db,
    pubsub: PubSub,
    readonly accountId: string,
    readonly onEmpty: () => void,
  ) {
    const hint = (): void => void this.#read();
    this.#leave = [pubsub.subscribe(eventsTopic(accountId), hint), pubsub.onGap(hint)];
    this.#poll = setInterval(hint, pollMs).unref();
    hint();
  }

  join(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#poll);
      for (const leave of this.#leave) leave();
      this.onEmpty();
    };
  }

  /** The events after a cursor, or `undefined` when the tail doesn't reach back that far. */
  after(cursor: bigint): readonly LoggedEvent[] | undefined {
    if (this.#seq === undefined) return undefined;
    if (cursor >= this.#seq) return [];
    const first = this.#recent[0]?.seq;
    return first !== undefined && cursor >= first - 1n ? this.#recent.filter((event) => event.seq > cursor) : undefined;
  }

  async #read(): Promise<void> {
    this.#again = true;
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#again) {
        this.#again = false;
        const em = this.db.orm.em.fork();
        if (this.#seq === undefined) this.#seq = await lastSeq(em, this.accountId);
        const events = await readEvents(em, { accountId: this.accountId, after: this.#seq, limit: pageSize });
        if (events.length > 0) {
          this.#recent = [...this.#recent, ...events].slice(-pageSize);
          this.#seq = events.at(-1)!.seq;
          this.#again ||= events.length === pageSize;
        }
        // Each time: where hints come faster than they can be followed the loop goes on and on.
        for (const listener of [...this.#listeners]) listener();
      }
    } catch (error) {
      this.db.log.warn({ err: error, accountId: this.accountId }, 'the event log could not be read; trying again');
    } finally {
      this.#reading = false;
    }
  }
}
