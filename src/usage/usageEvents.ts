import type { InferEntity } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { type Connection, type Keyset, type PageArgs, page } from '../platform/connection.js';
import { UsageEventEntity } from './usage.entity.js';
import { isStorable } from './usageEvent.js';

export type UsageEvent = InferEntity<typeof UsageEventEntity>;

const cursorPattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.{1,255})$/s;

/** By time, and the transactionId where two have the same: that pair is the cursor. */
const byTime: Keyset<UsageEvent> = {
  cursorOf: ({ occurredAt, id }) => `${occurredAt.toISOString()} ${id}`,
  isCursor: (text) => isStorable(text) && !Number.isNaN(Date.parse(cursorPattern.exec(text)?.[1] ?? '')),
};

/** The events of a window, newest first; voided ones among them. */
export function eventsOfWindow(
  em: EntityManager,
  { accountId, windowId }: { accountId: string; windowId: string },
  args: PageArgs,
): Promise<Connection<UsageEvent>> {
  return page<UsageEvent>(args, {
    ...byTime,
    fetch: (limit, after) => {
      const [, time, id] = (after === undefined ? undefined : cursorPattern.exec(after)) ?? [];
      const at = new Date(time ?? 0);
      const behind =
        id === undefined ? {} : { occurredAt: { $lte: at }, $or: [{ occurredAt: { $lt: at } }, { id: { $lt: id } }] };
      return em.find(
        UsageEventEntity,
        { accountId, windowId, ...behind },
        { disableIdentityMap: true, orderBy: { occurredAt: 'desc', id: 'desc' }, limit },
      );
    },
  });
}
