import type { EventContent, RecordedEvent } from '../domain/correction.js';
import { Decimal } from '../domain/decimal.js';
import type { BatchFunction } from '../platform/batch.js';
import type { Tx } from '../platform/db.js';
import { stringifyExact } from '../platform/exactJson.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import type { ParsedCorrection } from './parseCorrection.js';
import { UsageCorrection } from './usage.entity.js';
import { presentContent } from './usage.present.js';

/** A recorded event, and the window it counts in. */
export interface PlacedEvent extends RecordedEvent {
  windowId: string;
}

/** A correction as decided: `after` is what the event says from now on, `null` when it is taken back. */
export interface DecidedCorrection {
  id: string;
  correction: ParsedCorrection;
  event: PlacedEvent;
  after: EventContent | null;
}

/** An event's window never changes, so this may be asked before the window is locked. */
export async function windowsOfEvents(tx: Tx, transactionIds: readonly string[]): Promise<string[]> {
  const rows = await rowsOf(
    tx.em,
    sql<{ window_id: string }>`
      select distinct window_id from usage_event where account_id = ${tx.accountId} and id = any(${transactionIds}::text[])`,
  );
  return rows.map((row) => row.window_id);
}

export async function eventsToCorrect(tx: Tx, transactionIds: readonly string[]): Promise<Map<string, PlacedEvent>> {
  const rows = await rowsOf(
    tx.em,
    sql<{
      id: string;
      value: string;
      occurred_at: string;
      properties: string | null;
      unique_value: string | null;
      window_id: string;
      voided_at: string | null;
    }>`
      select id, value, occurred_at, properties::text, unique_value, window_id, voided_at from usage_event
      where account_id = ${tx.accountId} and id = any(${transactionIds}::text[])`,
  );
  return new Map(
    rows.map((row) => [
      row.id,
      {
        transactionId: row.id,
        value: new Decimal(row.value),
        timestamp: instantOf(row.occurred_at),
        properties: row.properties,
        uniqueValue: row.unique_value,
        windowId: row.window_id,
        voidedAt: row.voided_at === null ? null : instantOf(row.voided_at),
      },
    ]),
  );
}

/** What an event says, with the value as text, as decimals are in GraphQL. */
const storedContent = (content: EventContent): string =>
  stringifyExact({ ...presentContent(content), value: content.value.toFixed() });

/** Changes the events and keeps for audit what they said before. */
export async function writeCorrections(tx: Tx, corrections: readonly DecidedCorrection[]): Promise<void> {
  const { em, accountId, now } = tx;
  const each = <T>(of: (decided: DecidedCorrection) => T): T[] => corrections.map(of);
  const content = ({ event, after }: DecidedCorrection): EventContent => after ?? event;
  await rowsOf(
    em,
    sql`
      with corrected as (
        update usage_event set value = c.value, occurred_at = c.occurred_at, properties = c.properties, unique_value = c.unique_value,
          voided_at = c.voided_at
        from unnest(${each((d) => d.event.transactionId)}::text[], ${each((d) => content(d).value.toFixed())}::numeric[],
          ${each((d) => content(d).timestamp)}::timestamptz[], ${each((d) => content(d).properties)}::jsonb[],
          ${each((d) => content(d).uniqueValue)}::text[], ${each((d) => (d.after ? null : now))}::timestamptz[])
          as c (id, value, occurred_at, properties, unique_value, voided_at)
        where usage_event.account_id = ${accountId} and usage_event.id = c.id
      )
      insert into usage_correction (account_id, id, transaction_id, action, before, after, reason, created_at)
      select ${accountId}::uuid, c.id, c.transaction_id, c.action, c.before, c.after, c.reason, ${now}
      from unnest(${each((d) => d.id)}::uuid[], ${each((d) => d.event.transactionId)}::text[], ${each((d) => d.correction.action)}::text[],
        ${each((d) => storedContent(d.event))}::jsonb[], ${each((d) => (d.after ? storedContent(d.after) : null))}::jsonb[],
        ${each((d) => d.correction.reason)}::text[]) as c (id, transaction_id, action, before, after, reason)`,
  );
}

const plain = { disableIdentityMap: true } as const;

export const correctionsByIds: BatchFunction<UsageCorrection> = async (em, accountId, ids) =>
  new Map((await em.find(UsageCorrection, { accountId, id: { $in: [...ids] } }, plain)).map((made) => [made.id, made]));

/** All corrections of each event, oldest first. */
export const correctionsByTransactionIds: BatchFunction<UsageCorrection[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(
      UsageCorrection,
      { accountId, transactionId: { $in: [...ids] } },
      { ...plain, orderBy: { id: 'asc' } },
    ),
    ({ transactionId }) => transactionId,
  );
