import type { EventFeed } from './eventFeed.js';
import type { LoggedEvent } from './eventLog.js';
import type { LiveGroup, LogSource, Render, Subscriber } from './liveSource.js';

/** How many results are kept for those that come soon after: many clients come back at once from the same few places. */
const keptResults = 1_000;
/** A result may show more than its event (an invoice of now): to share it for longer would tell of the past. */
const keptForMs = 1_000;
/** After so many sends the loop yields: reads, pings and other accounts have their turn. */
const sendsAtOnce = 500;

interface Member {
  readonly subscriber: Subscriber;
  /** It has everything up to here. */
  seenSeq: bigint;
  left: boolean;
  /** Its own way through the log, until it has caught up. */
  pages: AsyncIterableIterator<readonly LoggedEvent[]> | undefined;
}

/**
 * Subscribers to the log of one account that get the same results. Each event is rendered once for all who are up to date;
 * one that is behind reads the log at its own pace, and joins the others in the very moment in which it has what they have.
 */
export class LogGroup implements LiveGroup<LogSource> {
  readonly #members = new Set<Member>();
  readonly #live = new Set<Member>();
  readonly #results = new Map<bigint, { payload: Promise<string>; at: number }>();
  #forgetting: NodeJS.Timeout | undefined;
  #cursor = 0n;
  #pages: AsyncIterableIterator<readonly LoggedEvent[]> | undefined;
  #started: Promise<void> | undefined;

  constructor(
    readonly feed: EventFeed,
    readonly of: Pick<LogSource, 'accountId' | 'passes'>,
    readonly render: Render,
    readonly onEmpty: () => void,
  ) {}

  join(subscriber: Subscriber, { after }: LogSource): () => void {
    const member: Member = { subscriber, seenSeq: after ?? 0n, left: false, pages: undefined };
    this.#members.add(member);
    const leave = (): void => {
      if (member.left) return;
      member.left = true;
      this.#live.delete(member);
      this.#members.delete(member);
      void member.pages?.return?.();
      if (this.#members.size > 0) return;
      void this.#pages?.return?.();
      this.onEmpty();
    };
    this.#catchUp(member, after).catch((error: unknown) => {
      leave();
      subscriber.fail(error);
    });
    return leave;
  }

  async #catchUp(member: Member, after: bigint | undefined): Promise<void> {
    this.#started ??= this.#start();
    await this.#started;
    if (after === undefined) member.seenSeq = await this.feed.lastSeq(this.of.accountId);
    else await this.feed.requireKept({ accountId: this.of.accountId, after });
    if (member.left) return;
    if (member.seenSeq >= this.#cursor) return void this.#live.add(member);
    member.pages = this.feed.pages({ accountId: this.of.accountId, after: member.seenSeq });
    for await (const page of member.pages) {
      const payloads = await this.#renderAll(page);
      for (const [i, { seq }] of page.entries()) {
        const payload = payloads[i];
        if (payload !== undefined) {
          if (!member.subscriber.isFree) await member.subscriber.free();
          if (member.left) return;
          member.subscriber.send(payload);
        }
        member.seenSeq = seq;
      }
      // No await between the two: nothing can be told in between.
      if (member.seenSeq < this.#cursor) continue;
      if (!member.left) this.#live.add(member);
      break;
    }
    member.pages = undefined;
  }

  async #start(): Promise<void> {
    this.#cursor = await this.feed.lastSeq(this.of.accountId);
    this.#pages = this.feed.pages({ accountId: this.of.accountId, after: this.#cursor });
    this.#tell(this.#pages).catch((error: unknown) => {
      for (const { subscriber } of [...this.#members]) subscriber.fail(error);
    });
    if (this.#members.size === 0) void this.#pages.return?.(); // the last has left meanwhile
  }

  async #tell(pages: AsyncIterable<readonly LoggedEvent[]>): Promise<void> {
    let sends = 0;
    for await (const page of pages) {
      const payloads = await this.#renderAll(page);
      for (const [i, { seq }] of page.entries()) {
        this.#cursor = seq;
        const payload = payloads[i];
        if (payload === undefined) continue;
        for (const { subscriber, seenSeq } of this.#live) if (seenSeq < seq) subscriber.send(payload);
        sends += this.#live.size;
        if (sends < sendsAtOnce) continue;
        sends = 0;
        await new Promise(setImmediate);
      }
    }
  }

  #renderAll(page: readonly LoggedEvent[]): Promise<(string | undefined)[]> {
    return Promise.all(page.map((event) => (this.of.passes(event) ? this.#rendered(event) : undefined)));
  }

  #rendered(event: LoggedEvent): Promise<string> {
    const now = performance.now();
    const known = this.#results.get(event.seq);
    if (known && now - known.at < keptForMs) return known.payload;
    const payload = this.render(event);
    this.#results.delete(event.seq); // and behind the others again: the oldest stand first
    this.#results.set(event.seq, { payload, at: now });
    this.#forget(now - keptForMs);
    if (!this.#forgetting) {
      this.#forgetting = setTimeout(() => {
        this.#forgetting = undefined;
        this.#results.clear();
      }, keptForMs).unref();
    }
    return payload;
  }

  #forget(before: number): void {
    for (const [seq, { at }] of this.#results) {
      if (at >= before && this.#results.size <= keptResults) return;
      this.#results.delete(seq);
    }
  }
}
