import { BillingError } from '../domain/errors.js';
import type { LiveGroup, Render, StateSource, Subscriber } from './liveSource.js';
import type { Logger } from './log.js';

/** At most ten tellings of an object a second; in between only the newest counts. */
const minIntervalMs = 100;
const retryMs = 1_000;
/** Of what somebody is told first, at once: after so many the others have their turn. */
const firstAtOnce = 200;
/** Objects that are read at once, and told before the next are read. */
const readAtOnce = 50;

interface Member {
  readonly subscriber: Subscriber;
  /** Keys that it is still to be told first. */
  readonly first: Set<string>;
  /** Is it known what it is told first? Until then it hears no news: they are added to that. */
  ready: boolean;
  left: boolean;
}

/**
 * Subscribers that are told of the same objects. One loop reads an object and tells it before it reads the next time, so that
 * nobody ever hears an old state after a new one, whoever joins in between.
 */
export class StateGroup<State> implements LiveGroup<StateSource<State>> {
  readonly #members = new Set<Member>();
  readonly #told = new Map<string, string>();
  #changed = new Set<string>();
  #closed = false;
  #wake = (): void => {};
  #watching: Promise<() => unknown> | undefined;

  constructor(
    readonly source: StateSource<State>,
    readonly render: Render,
    readonly log: Logger,
    readonly onEmpty: () => void,
  ) {}

  join(subscriber: Subscriber, source: StateSource<State>): () => void {
    const member: Member = { subscriber, first: new Set(), ready: false, left: false };
    this.#members.add(member);
    if (!this.#watching) {
      this.#watching = this.source.watch((keys) => {
        for (const key of keys) this.#changed.add(key);
        this.#wake();
      });
      void this.#run();
    }
    const watching = this.#watching;
    const leave = (): void => {
      if (member.left) return;
      member.left = true;
      this.#members.delete(member);
      if (this.#members.size > 0) return;
      this.#closed = true;
      watching.then((end) => end()).catch(() => {}); // who waited for it has been told
      this.#wake();
      this.onEmpty();
    };
    const fail = (error: unknown): void => {
      leave();
      subscriber.fail(error);
    };
    watching
      .then(() => this.#reading(() => source.first(), member))
      .then((keys) => {
        for (const key of keys ?? []) member.first.add(key);
        member.ready = true;
        this.#wake();
      }, fail);
    return leave;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const changed = this.#changed;
      this.#changed = new Set();
      const first = this.#takeFirst();
      const keys = [...new Set([...changed, ...first.keys()])];
      for (let i = 0; i < keys.length; i += readAtOnce)
        await this.#tell(keys.slice(i, i + readAtOnce), { changed, first });
      const waits = [...this.#members].some((member) => member.ready && member.first.size > 0);
      await (changed.size > 0 || first.size > 0 || waits ? this.#pause(minIntervalMs) : woken);
    }
  }

  /** Who is to be told first of which object, as far as they can take it. */
  #takeFirst(): Map<string, Member[]> {
    const taken = new Map<string, Member[]>();
    for (const member of this.#members) {
      if (!member.ready || !member.subscriber.isFree) continue;
      for (const key of [...member.first].slice(0, firstAtOnce)) {
        member.first.delete(key);
        const already = taken.get(key);
        if (already) already.push(member);
        else taken.set(key, [member]);
      }
    }
    return taken;
  }

  async #tell(
    keys: readonly string[],
    { changed, first }: { changed: ReadonlySet<string>; first: ReadonlyMap<string, readonly Member[]> },
  ): Promise<void> {
    try {
      // Whoever comes while it is read gets a state of its own: what is told first is never older than the asking.
      const present = new Set([...this.#members].filter((member) => member.ready));
      const states = await this.#reading(() => this.source.read(keys));
      for (const key of keys) {
        const state = states?.get(key);
        if (state === undefined) continue;
        const print = this.source.fingerprint?.(state);
        const isNews = print === undefined ? changed.has(key) : print !== this.#told.get(key);
        if (print !== undefined) this.#told.set(key, print);
        const asked = first.get(key) ?? [];
        if (!isNews && asked.length === 0) continue;
        const payload = await this.render(state);
        for (const member of isNews ? this.#members : asked) {
          if (member.left) continue;
          if (present.has(member)) member.subscriber.send(payload);
          else member.first.add(key);
        }
      }
    } catch (error) {
      for (const { subscriber } of [...this.#members]) subscriber.fail(error);
    }
  }

  /** Most likely the database is away: everybody keeps the last state until a read succeeds again. Undefined at the end. */
  async #reading<T>(read: () => Promise<T>, of?: Pick<Member, 'left'>): Promise<T | undefined> {
    while (!this.#closed && !of?.left) {
      try {
        return await read();
      } catch (error) {
        if (error instanceof BillingError && error.code !== 'UNAVAILABLE') throw error;
        this.log.warn({ err: error }, 'a live state could not be read; trying again');
        await this.#pause(retryMs);
      }
    }
    return undefined;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms).unref());
  }
}
