import { setTimeout as sleep } from 'node:timers/promises';
import type { RawBuilder } from 'kysely';
import type { PubSub } from '../integrations/pubsub/pubsub.js';
import type { Db } from './db.js';
import { eventsTopic } from './eventFeed.js';
import { eventsByIds, type LoggedEvent } from './eventLog.js';
import { rowsOf, sql } from './sql.js';

/** What the relay hands every event to, at least once; a sink must bear the same event twice. */
export type Sink = EventSink | BatchSink;

/** Gets one event after another, in order. */
export interface EventSink {
  readonly name: string;
  handle(event: LoggedEvent): Promise<void>;
}

/** Gets many events of one account at once, in order, and before the others hear of them. Where it fails, it gets all again. */
export interface BatchSink {
  readonly name: string;
  handleBatch(events: readonly LoggedEvent[]): Promise<void>;
}

/** An account's outbox did not empty: a sink fails, or the process that holds the rows hangs. */
export class OutboxStuck extends Error {
  override readonly name = 'OutboxStuck';
}

export interface Relay {
  /** This account's outbox has rows, and its sockets know: move them now, here or where a relay runs. */
  nudge(accountId: string): void;
  /** Hands over what the account's outbox holds, and waits for rows that others hold. Throws `OutboxStuck` after 25 s. */
  drain(accountId: string): Promise<void>;
  /** Runs `work` while only `drain` moves this account's events: nothing reacts beside it. */
  holding<T>(accountId: string, work: () => Promise<T>): Promise<T>;
  start(): void;
  /** Finishes what is being handled and takes no more. */
  stop(): Promise<void>;
}

/** The topic that wakes the relays of other processes; the message is the account. */
const outboxTopic = 'outbox';
const pollMs = 1_000;
const batchSize = 100;
/** A claimed row is due again after this, should its relay die. Rows of a failing sink wait as long. */
const leaseMs = 20_000;
const maxAccountsAtOnce = 4;
/** A little longer than a lease, so that rows of a process that died are drained too. */
const drainWithinMs = leaseMs + 5_000;

/** The events of an account whose test clock moves belong to whoever moves it: they are handed over in its time. */
const clockMoves = (accountId: RawBuilder<unknown>): RawBuilder<boolean> =>
  sql<boolean>`exists (select 1 from account where account.id = ${accountId} and test_clock_target_at > test_clock_at)`;

/**
 * Moves outbox rows to the sinks: claim with a lease, hand over, delete. Rows of one account go in order and one batch
 * at a time within a process. A nudge only makes it sooner; the poll finds whatever was missed. Sockets hear of an event from
 * whoever committed it (see app.ts); where that process died first, from the poll. A relay that was never started, in a
 * process that is no worker, passes its nudges on to the others.
 */
export function createRelay({ db, pubsub, sinks }: { db: Db; pubsub: PubSub; sinks: readonly Sink[] }): Relay {
  /** Accounts to look at next; true where nobody may have told the sockets of their events. */
  const waiting = new Map<string, boolean>();
  const running = new Map<string, Promise<void>>();
  const held = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe = () => {};
  let started = false;

  const pump = (): void => {
    for (const [accountId, untold] of waiting) {
      if (running.size >= maxAccountsAtOnce) return;
      if (running.has(accountId) || held.has(accountId)) continue;
      waiting.delete(accountId);
      if (!started) {
        pubsub.publish(outboxTopic, accountId);
        continue;
      }
      const run = moveAccount(accountId, { untold, goOn: () => started && !held.has(accountId) })
        .catch((error: unknown) =>
          db.log.error({ err: error, accountId }, 'the outbox could not be moved; trying again'),
        )
        .finally(() => {
          running.delete(accountId);
          pump();
        });
      running.set(accountId, run);
    }
  };

  const moveAccount = async (
    accountId: string,
    { untold, isDrain = false, goOn }: { untold: boolean; isDrain?: boolean; goOn: () => boolean },
  ): Promise<void> => {
    for (;;) {
      const now = new Date();
      const claimed = await rowsOf(
        db.orm.em.fork(),
        sql<{ id: string; seq: string }>`
          update outbox set due_at = ${new Date(now.getTime() + leaseMs)}, attempts = attempts + 1
          where account_id = ${accountId} and id = any(array(
            select id from outbox where account_id = ${accountId} and due_at <= ${now}
              and (${isDrain} or not ${clockMoves(sql`${accountId}`)})
            order by seq limit ${batchSize} for update skip locked))
          returning id, seq`,
      );
      if (claimed.length === 0) return;
      const last = claimed.reduce((max, row) => (BigInt(row.seq) > max ? BigInt(row.seq) : max), 0n);
      if (untold) pubsub.publish(eventsTopic(accountId), last.toString());
      const events = await eventsByIds(db.orm.em.fork(), { accountId, ids: claimed.map((row) => row.id) });
      const moved = await handOver(events.sort((a, b) => Number(a.seq - b.seq)));
      await rowsOf(
        db.orm.em.fork(),
        sql`delete from outbox where account_id = ${accountId} and id = any(${moved}::uuid[])`,
      );
      if (!goOn() || claimed.length < batchSize) return;
    }
  };

  /** Answers the ids of those that every sink has taken. */
  const handOver = async (events: readonly LoggedEvent[]): Promise<string[]> => {
    const refused = new Set<string>();
    const attempt = async (sink: string, some: readonly LoggedEvent[], take: () => Promise<void>): Promise<void> => {
      try {
        await take();
      } catch (error) {
        for (const { id } of some) refused.add(id);
        const [{ id: event, type } = {}] = some;
        const message = 'an event could not be handed over; trying again';
        db.log.error({ err: error, sink, event, type, events: some.length }, message);
      }
    };
    for (const sink of sinks)
      if ('handleBatch' in sink) await attempt(sink.name, events, () => sink.handleBatch(events));
    for (const event of events)
      for (const sink of sinks) if ('handle' in sink) await attempt(sink.name, [event], () => sink.handle(event));
    return events.map(({ id }) => id).filter((id) => !refused.has(id));
  };

  const poll = async (): Promise<void> => {
    try {
      const rows = await rowsOf(
        db.orm.em.fork(),
        sql<{ account_id: string }>`
          select distinct account_id from outbox
          where due_at <= ${new Date()} and not ${clockMoves(sql.ref('outbox.account_id'))} limit 500`,
      );
      for (const row of rows) waiting.set(row.account_id, true);
      pump();
    } catch (error) {
      db.log.warn({ err: error }, 'the outbox could not be read; trying again');
    }
    if (started) timer = setTimeout(() => void poll(), pollMs).unref();
  };

  const drain = async (accountId: string): Promise<void> => {
    const deadline = Date.now() + drainWithinMs;
    for (;;) {
      await running.get(accountId);
      await moveAccount(accountId, { untold: true, isDrain: true, goOn: () => true });
      const rest = await rowsOf(db.orm.em.fork(), sql`select 1 from outbox where account_id = ${accountId} limit 1`);
      if (rest.length === 0) return;
      if (Date.now() > deadline) throw new OutboxStuck(`the outbox of account ${accountId} did not empty`);
      await sleep(20); // another process has them, or a sink has failed
    }
  };

  const nudge = (accountId: string): void => {
    waiting.set(accountId, waiting.get(accountId) ?? false);
    pump();
  };

  return {
    drain,
    holding: async (accountId, work) => {
      held.add(accountId);
      try {
        await running.get(accountId);
        return await work();
      } finally {
        held.delete(accountId);
        pump();
      }
    },
    nudge,
    start: () => {
      started = true;
      unsubscribe = pubsub.subscribe(outboxTopic, nudge);
      void poll();
    },
    stop: async () => {
      started = false;
      clearTimeout(timer);
      unsubscribe();
      await Promise.all(running.values());
    },
  };
}
