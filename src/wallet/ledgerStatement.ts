import type { EntityManager } from '@mikro-orm/postgresql';
import { invalid } from '../domain/errors.js';
import type { LedgerAccountKind } from '../domain/ledger.js';
import type { Period } from '../domain/period.js';
import type { BatchFunction } from '../platform/batch.js';
import { type Connection, type Keyset, type PageArgs, page } from '../platform/connection.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';

/** An account of the chart over a period, in minor units: `openingMinor + creditsMinor - debitsMinor = closingMinor`. */
export interface LedgerStatementLine {
  kind: LedgerAccountKind;
  currency: string;
  openingMinor: bigint;
  /** Both positive. */
  debitsMinor: bigint;
  creditsMinor: bigint;
  closingMinor: bigint;
}

/** A movement as a statement shows it. */
export interface LedgerMovement {
  id: string;
  type: string;
  currency: string;
  referenceId: string;
  createdAt: Date;
  /** Credits are positive, debits negative. */
  postings: { kind: LedgerAccountKind; amountMinor: bigint }[];
}

/** INVALID unless the period begins before it ends. */
export function checkPeriod({ start, end }: Period): void {
  if (start >= end)
    throw invalid(
      `A period from ${start.toISOString()} to ${end.toISOString()} is empty: expected from before to`,
      'to',
    );
}

/**
 * Opening balance, debits, credits and closing balance of each account of an account's chart, by one statement. It reckons back
 * from the balance there is now, so that a period of late reads no further back than its start.
 */
export async function ledgerStatement(
  em: EntityManager,
  { accountId, start, end }: { accountId: string } & Period,
): Promise<LedgerStatementLine[]> {
  const rows = await rowsOf(
    em,
    sql<Record<'kind' | 'currency' | 'opening' | 'debits' | 'credits' | 'closing', string>>`
      with since as (
        select p.ledger_account_id as id, p.amount_minor as minor, t.created_at < ${end} as within
        from ledger_transaction t join ledger_posting p on p.account_id = t.account_id and p.transaction_id = t.id
        where t.account_id = ${accountId} and t.created_at >= ${start} and p.account_id = ${accountId}
      )
      select a.kind, a.currency,
        (a.balance_minor - coalesce(sum(s.minor), 0))::text as opening,
        coalesce(-sum(s.minor) filter (where s.within and s.minor < 0), 0)::text as debits,
        coalesce(sum(s.minor) filter (where s.within and s.minor > 0), 0)::text as credits,
        (a.balance_minor - coalesce(sum(s.minor) filter (where not s.within), 0))::text as closing
      from ledger_account a left join since s on s.id = a.id
      where a.account_id = ${accountId}
      group by a.id, a.kind, a.currency, a.balance_minor order by a.currency, a.kind`,
  );
  return rows.map(({ kind, currency, ...minor }) => ({
    kind: kind as LedgerAccountKind,
    currency,
    openingMinor: BigInt(minor.opening),
    debitsMinor: BigInt(minor.debits),
    creditsMinor: BigInt(minor.credits),
    closingMinor: BigInt(minor.closing),
  }));
}

const cursorPattern =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** By the account's time, and in the order they were made where that stood still. */
const byTime: Keyset<LedgerMovement> = {
  cursorOf: ({ createdAt, id }) => `${createdAt.toISOString()} ${id}`,
  isCursor: (text) => !Number.isNaN(Date.parse(cursorPattern.exec(text)?.[1] ?? '')),
};

/** The movements of a period with their postings, oldest first; one statement a page. */
export function ledgerMovements(
  em: EntityManager,
  { accountId, start, end }: { accountId: string } & Period,
  args: PageArgs,
): Promise<Connection<LedgerMovement>> {
  return page<LedgerMovement>(args, {
    ...byTime,
    fetch: async (limit, after) => {
      const [, at = start.toISOString(), id = null] = (after === undefined ? null : cursorPattern.exec(after)) ?? [];
      return movementsOf(
        em,
        sql`select * from ledger_transaction
            where account_id = ${accountId} and created_at >= ${start} and created_at < ${end}
              and created_at >= ${at}::timestamptz and (${id}::uuid is null or created_at > ${at}::timestamptz or id > ${id}::uuid)
            order by created_at, id limit ${limit}`,
      );
    },
  });
}

export const ledgerMovementsByIds: BatchFunction<LedgerMovement> = async (em, accountId, ids) => {
  const chosen = sql`select * from ledger_transaction where account_id = ${accountId} and id = any(${ids}::uuid[])`;
  return new Map((await movementsOf(em, chosen)).map((movement) => [movement.id, movement]));
};

async function movementsOf(em: EntityManager, chosen: ReturnType<typeof sql>): Promise<LedgerMovement[]> {
  const rows = await rowsOf(
    em,
    sql<{
      id: string;
      type: string;
      currency: string;
      reference_id: string;
      created_at: string;
      postings: { kind: LedgerAccountKind; minor: string }[];
    }>`
      select t.id, t.type, t.currency, t.reference_id, t.created_at, (
        select json_agg(json_build_object('kind', a.kind, 'minor', p.amount_minor::text) order by p.amount_minor desc, a.kind)
        from ledger_posting p join ledger_account a on a.account_id = p.account_id and a.id = p.ledger_account_id
        where p.account_id = t.account_id and p.transaction_id = t.id) as postings
      from (${chosen}) t order by t.created_at, t.id`,
  );
  return rows.map(({ id, type, currency, reference_id, created_at, postings }) => ({
    id,
    type,
    currency,
    referenceId: reference_id,
    createdAt: instantOf(created_at),
    postings: postings.map(({ kind, minor }) => ({ kind, amountMinor: BigInt(minor) })),
  }));
}
