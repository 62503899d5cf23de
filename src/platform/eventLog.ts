import type { EntityManager } from '@mikro-orm/postgresql';
import { type BillingError, invalid } from '../domain/errors.js';
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

/** Events of one account that were emitted in one transaction, at the account's time. */
export interface EventBatch {
  readonly accountId: string;
  readonly now: Date;
  readonly events: readonly EventDraft[];
}

/**
 * Appends events and their outbox rows in one statement, whatever the number of accounts. The row locks on `event_cursor`
 * (taken in the order of the accounts) make `seq` gap-free: a transaction that rolls back gives its numbers back with it. The
 * outbox is due by the wall clock, at once, whatever time the account lives in. Returns each account's last `seq`.
 */
export async function writeEvents(em: EntityManager, batches: readonly EventBatch[]): Promise<Map<string, bigint>> {
  const accounts = batches.filter(({ events }) => events.length > 0);
  const drafts = accounts.flatMap(({ accountId, events }) =>
    events.map(({ type, data }, i) => ({ accountId, position: i + 1, type, data: stringifyExact(data) })),
  );
  if (drafts.length === 0) return new Map();
  const rows = await rowsOf(
    em,
    sql<{ account_id: string; seq: string }>`
      with batch as (
        select * from unnest(${accounts.map((a) => a.accountId)}::uuid[], ${accounts.map((a) => a.events.length)}::bigint[],
          ${accounts.map((a) => a.now)}::timestamptz[]) as b (account_id, count, at)
      ), cursor as (
        insert into event_cursor (account_id, id, seq) select account_id, account_id, count from batch order by account_id
        on conflict (account_id, id) do update set seq = event_cursor.seq + excluded.seq
        returning account_id, seq
      ), logged as (
        insert into event (account_id, id, seq, type, occurred_at, data)
        select draft.account_id, draft.id, cursor.seq - batch.count + draft.position, draft.type, batch.at, draft.data
        from unnest(${drafts.map((d) => d.accountId)}::uuid[], ${drafts.map(() => newId())}::uuid[], ${drafts.map((d) => d.position)}::bigint[],
            ${drafts.map((d) => d.type)}::text[], ${drafts.map((d) => d.data)}::json[]) as draft (account_id, id, position, type, data)
          join cursor on cursor.account_id = draft.account_id
          join batch on batch.account_id = draft.account_id
        returning account_id, id, seq, occurred_at
      ), queued as (
        insert into outbox (account_id, id, seq, created_at, due_at)
        select account_id, id, seq, occurred_at, ${new Date()} from logged
      )
      select account_id, seq from cursor`,
  );
  return new Map(rows.map((row) => [row.account_id, BigInt(row.seq)]));
}

/** Columns of the log, `data` as text. */
export interface EventRow {
  id: string;
  seq: string;
  type: EventType;
  occurred_at: string;
  data: string;
}

export const loggedEvent = (accountId: string, row: EventRow): LoggedEvent => ({
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
  return rows.map((row) => loggedEvent(accountId, row));
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
  return rows.map((row) => loggedEvent(accountId, row));
}

/** The first `seq` that the account's log still holds, or will: all before it were deleted because of their age. */
export async function keptFrom(em: EntityManager, accountId: string): Promise<bigint> {
  const [row] = await rowsOf(
    em,
    sql<{ pruned_seq: string }>`select pruned_seq from event_cursor where account_id = ${accountId}`,
  );
  return BigInt(row?.pruned_seq ?? 0) + 1n;
}

/** Throws INVALID at `after` where events behind this cursor are gone: whoever goes on from it would miss them without a word. */
export async function requireKept(
  em: EntityManager,
  { accountId, after }: { accountId: string; after: bigint },
): Promise<void> {
  const from = await keptFrom(em, accountId);
  if (after + 1n < from) throw noLongerKept(from);
}

export const noLongerKept = (from: bigint): BillingError =>
  invalid(
    `Events before ${from} are no longer kept, expected a cursor of ${from - 1n} or later: read what you need of the past anew, and go on from there`,
    'after',
  );

/** The last `seq` of the account's log; 0 before its first event. */
export async function lastSeq(em: EntityManager, accountId: string): Promise<bigint> {
  const [row] = await rowsOf(em, sql<{ seq: string }>`select seq from event_cursor where account_id = ${accountId}`);
  return BigInt(row?.seq ?? 0);
}
