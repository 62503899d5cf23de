import type { InferEntity } from '@mikro-orm/core';
import { type BatchFunction, type BatchScope, load } from '../platform/batch.js';
import { type Connection, type Keyset, type PageArgs, page } from '../platform/connection.js';
import { rowsOf, sql } from '../platform/sql.js';
import { UsageEventEntity } from './usage.entity.js';
import { isStorable } from './usageEvent.js';

export type UsageEvent = InferEntity<typeof UsageEventEntity>;

const cursorPattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.{1,255})$/s;

/** By time, and the transactionId where two have the same: that pair is the cursor. */
const byTime: Keyset<UsageEvent> = {
  cursorOf: ({ occurredAt, id }) => `${occurredAt.toISOString()} ${id}`,
  isCursor: (text) => isStorable(text) && !Number.isNaN(Date.parse(cursorPattern.exec(text)?.[1] ?? '')),
};

/** The events of a window, newest first; voided ones among them. The pages of several windows are one statement. */
export function eventsOfWindow(
  scope: BatchScope,
  { accountId, windowId }: { accountId: string; windowId: string },
  args: PageArgs,
): Promise<Connection<UsageEvent>> {
  return page<UsageEvent>(args, {
    ...byTime,
    fetch: async (limit, after) => {
      const [, at = null, id = null] = (after === undefined ? undefined : cursorPattern.exec(after)) ?? [];
      return (await load(scope, eventsByPages, accountId, JSON.stringify({ windowId, limit, at, id }))) ?? [];
    },
  });
}

interface AskedPage {
  windowId: string;
  limit: number;
  /** The cursor to start behind. */
  at: string | null;
  id: string | null;
}

/** An id is a page, as JSON. */
const eventsByPages: BatchFunction<UsageEvent[]> = async (em, accountId, pages) => {
  const asked = pages.map((text) => JSON.parse(text) as AskedPage);
  const rows = await rowsOf(
    em,
    sql<{ n: number; id: string }>`
      select asked.n::int as n, found.id
      from unnest(${asked.map(({ windowId }) => windowId)}::uuid[], ${asked.map(({ limit }) => limit)}::int[],
          ${asked.map(({ at }) => at)}::timestamptz[], ${asked.map(({ id }) => id)}::text[])
          with ordinality as asked (window_id, row_limit, at, id, n),
        lateral (
          select id, occurred_at from usage_event
          where account_id = ${accountId} and window_id = asked.window_id
            and (asked.at is null or occurred_at <= asked.at and (occurred_at < asked.at or id < asked.id))
          order by occurred_at desc, id desc limit asked.row_limit
        ) found
      order by asked.n, found.occurred_at desc, found.id desc`,
  );
  const events = await em.find(
    UsageEventEntity,
    { accountId, id: { $in: rows.map(({ id }) => id) } },
    { disableIdentityMap: true },
  );
  const byId = new Map(events.map((event) => [event.id, event]));
  const byPage = Map.groupBy(rows, ({ n }) => pages[n - 1]!);
  return new Map([...byPage].map(([text, found]) => [text, found.map(({ id }) => byId.get(id)!)]));
};
