import type { EntityManager } from '@mikro-orm/postgresql';
import type { EventType } from '../domain/events.js';
import { parseExact, stringifyExact } from './exactJson.js';
import { newId } from './ids.js';
import { instantOf, rowsOf, sql } from './sql.js';

/** An event as a use case hands it over; the log adds the place in the order. */
export interface EventDraft {
  readonly type: EventType;
  /** The full object after the change, in the REST shape. */
  readonly data: object;
}

/** A row of the account's append-only log. `seq` counts 1, 2, 3 … without gaps. */
export interface LoggedEvent {
  readonly accountId: string;
  readonly seq: bigint;
  readonly id: string;
  readonly type: EventType;
  readonly occurredAt: Date;
  /** As emitted, plus `sequence`. Numbers keep their digits (see exactJson). */
  readonly data: Record<string, unknown>;
}

/**
 * Appends events and their outbox rows in one statement. The row lock on `event_cursor` makes `seq` gap-free: a
 * transaction that rolls back gives its numbers back with it. The outbox is due by the wall clock, at once, whatever time the
 * account lives in.
 */
export async function writeEvents(
  em: EntityManager,
  { accountId, now, events }: { accountId: string; now: Date; events: readonly EventDraft[] },
): Promise<bigint> {
  const rows = await rowsOf(
    em,
    sql<{ seq: string }>`
      with cursor as (
        insert into event_cursor (account_id, id, seq) values (${accountId}, ${accountId}, ${events.length})
        on conflict (account_id, id) do update set seq = event_cursor.seq + excluded.seq
        returning seq
      ), logged as (
        insert into event (account_id, id, seq, type, occurred_at, data)
        select ${accountId}::uuid, draft.id, cursor.seq - ${events.length} + draft.position, draft.type, ${now}, draft.data
        from cursor,
          unnest(${events.map(() => newId())}::uuid[], ${events.map((e) => e.type)}::text[], ${events.map((e) => stringifyExact(e.data))}::json[])
            with ordinality as draft (id, type, data, position)
        returning account_id, id, seq
      )
      insert into outbox (account_id, id, seq, created_at, due_at) select account_id, id, seq, ${now}, ${new Date()} from logged returning seq`,
  );
  return rows.reduce((max, row) => (BigInt(row.seq) > max ? BigInt(row.seq) : max), 0n);
}

interface EventRow {
  id: string;
  seq: string;
  type: EventType;
  occurred_at: string;
  data: string;
}

const logged = (accountId: string, row: EventRow): LoggedEvent => ({
  accountId,
  seq: BigInt(row.seq),
  id: row.id,
  type: row.type,
  occurredAt: instantOf(row.occurred_at),
  data: { ...(parseExact(row.data) as Record<string, unknown>), sequence: Number(row.seq) },
});

/** The account's events after a cursor, oldest first. */
export async function readEvents(
  em: EntityManager,
  {
    accountId,
    after,
    types,
    limit,
  }: { accountId: string; after: bigint; types?: readonly string[] | undefined; limit: number },
): Promise<LoggedEvent[]> {
  const rows = await rowsOf(
    em,
    sql<EventRow>`
      select id, seq, type, occurred_at, data::text from event
      where account_id = ${accountId} and seq > ${after} and (${types ?? null}::text[] is null or type = any(${types ?? null}::text[]))
      order by seq limit ${limit}`,
  );
  return rows.map((row) => logged(accountId, row));
}

export async function eventsByIds(
  em: EntityManager,
  { accountId, ids }: { accountId: string; ids: readonly string[] },
): Promise<LoggedEvent[]> {
  const rows = await rowsOf(
    em,
    sql<EventRow>`
      select id, seq, type, occurred_at, data::text from event
      where account_id = ${accountId} and id = any(${ids}::uuid[])`,
  );
  return rows.map((row) => logged(accountId, row));
}

/** The last `seq` of the account's log; 0 before its first event. */
export async function lastSeq(em: EntityManager, accountId: string): Promise<bigint> {
  const [row] = await rowsOf(em, sql<{ seq: string }>`select seq from event_cursor where account_id = ${accountId}`);
  return BigInt(row?.seq ?? 0);
}
