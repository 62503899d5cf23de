import type { EntityManager } from '@mikro-orm/postgresql';
import { type BurnableGrant, type GrantKind, type GrantPart, grantPriority, type TakenPart } from '../domain/grants.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { newId } from '../platform/ids.js';
import { insertAll } from '../platform/insertAll.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { WalletGrant } from './wallet.entity.js';

// What is in a wallet, grant by grant. Whoever changes it holds the wallet's row lock; each statement takes any number of accounts.

/** Credit that comes into a wallet. */
export interface NewGrant {
  readonly kind: GrantKind;
  readonly amountMinor: bigint;
  /** The payment that bought it, the invoice it came from, or its own id. */
  readonly referenceId: string;
  readonly id?: string;
  readonly priority?: number | undefined;
  readonly expiresAt?: Date | null | undefined;
  readonly reason?: string;
}

/** A change of one grant: of what is left (below zero: taken) and of what holds keep of that. */
export interface GrantChange {
  readonly grantId: string;
  readonly amountMinor: bigint;
  readonly heldMinor?: bigint;
  /** It had expired, and lives again until then. */
  readonly livesUntil?: Date | null;
}

/** What a movement of the ledger does to the grants of its wallet. */
export interface GrantEffect {
  readonly opens?: NewGrant;
  readonly changes?: readonly GrantChange[];
  /** What it is taken for, or comes back from; default: the movement's reference. */
  readonly subjectId?: string;
}

/** The effect of one movement on one account. */
export interface GrantBooking extends GrantEffect {
  readonly accountId: string;
  readonly now: Date;
  readonly currency: string;
  readonly transactionId: string;
  readonly subjectId: string;
}

/** What the movement of an effect does to the wallet. */
export const effectMinor = ({ opens, changes = [] }: GrantEffect): bigint =>
  changes.reduce((sum, { amountMinor }) => sum + amountMinor, opens?.amountMinor ?? 0n);

/** The changes of taking these parts. */
export const taken = (parts: readonly GrantPart[]): GrantChange[] =>
  parts.map(({ grantId, amountMinor }) => ({ grantId, amountMinor: -amountMinor }));

/** Writes what movements do to grants: new ones, changes, and an entry for each change. */
export async function bookGrants(em: EntityManager, bookings: readonly GrantBooking[]): Promise<void> {
  await insertAll(
    em,
    WalletGrant,
    bookings.flatMap(({ opens, accountId, currency, now }): WalletGrant[] =>
      opens === undefined
        ? []
        : [
            {
              accountId,
              id: opens.id ?? newId(),
              kind: opens.kind,
              currency,
              amountMinor: opens.amountMinor,
              remainingMinor: opens.amountMinor,
              heldMinor: 0n,
              priority: opens.priority ?? grantPriority.usual,
              expiresAt: opens.expiresAt ?? null,
              expiryDueAt: opens.expiresAt ?? null,
              reason: opens.reason ?? null,
              referenceId: opens.referenceId,
              createdAt: now,
            },
          ],
    ),
  );
  await changeGrants(
    em,
    bookings.flatMap(({ changes = [], accountId, transactionId, subjectId, now }) =>
      changes.map((change) => ({ ...change, accountId, transactionId, subjectId, now })),
    ),
  );
}

/**
 * Changes grants by one statement; none twice. The database refuses what would leave less than is held. One that has something
 * left comes due at its expiry, again if need be: a hold may have kept it beyond that.
 */
export async function changeGrants(
  em: EntityManager,
  changes: readonly (GrantChange & {
    readonly accountId: string;
    readonly now: Date;
    /** Undefined: what is left stays as it is, only what is held of it changes. */
    readonly transactionId?: string;
    readonly subjectId?: string;
  })[],
): Promise<void> {
  if (changes.length === 0) return;
  const [done] = await rowsOf(
    em,
    sql<{ changed: number }>`
      with change as (
        select * from unnest(${changes.map((c) => c.accountId)}::uuid[], ${changes.map((c) => c.grantId)}::uuid[],
          ${changes.map((c) => c.amountMinor)}::bigint[], ${changes.map((c) => c.heldMinor ?? 0n)}::bigint[],
          ${changes.map((c) => c.livesUntil ?? null)}::timestamptz[], ${changes.map(() => newId())}::uuid[],
          ${changes.map((c) => c.transactionId ?? null)}::uuid[], ${changes.map((c) => c.subjectId ?? null)}::uuid[],
          ${changes.map((c) => c.now)}::timestamptz[])
          as c (account_id, grant_id, amount_minor, held_minor, lives_until, entry_id, transaction_id, subject_id, at)
      ), changed as (
        update wallet_grant g set remaining_minor = g.remaining_minor + c.amount_minor, held_minor = g.held_minor + c.held_minor,
          expires_at = coalesce(c.lives_until, g.expires_at),
          expiry_due_at = case when g.remaining_minor + c.amount_minor > 0 then coalesce(c.lives_until, g.expires_at) end
        from change c where g.account_id = c.account_id and g.id = c.grant_id
        returning g.id
      ), entry as (
        insert into wallet_grant_entry (account_id, id, grant_id, transaction_id, subject_id, amount_minor, expires_at, created_at)
        select c.account_id, c.entry_id, c.grant_id, c.transaction_id, c.subject_id, c.amount_minor, g.expires_at, c.at
        from change c join wallet_grant g on g.account_id = c.account_id and g.id = c.grant_id
        where c.transaction_id is not null and c.amount_minor <> 0
      )
      select count(*)::int as changed from changed`,
  );
  if (done?.changed !== changes.length)
    throw new Error(`${changes.length} changes of grants reached ${done?.changed} of them`);
}

/** A grant as spending sees it, and what holds keep of it. */
export interface OpenGrant extends BurnableGrant {
  readonly heldMinor: bigint;
}

/** What is left in these accounts' wallets, grant by grant, in no order. */
export async function openGrants(em: EntityManager, accountIds: readonly string[]): Promise<Map<string, OpenGrant[]>> {
  const rows = await rowsOf(
    em,
    sql<{
      account_id: string;
      id: string;
      kind: GrantKind;
      priority: number;
      remaining_minor: string;
      held_minor: string;
      expires_at: string | null;
      created_at: string;
    }>`
      select account_id, id, kind, priority, remaining_minor, held_minor, expires_at, created_at
      from wallet_grant where account_id = any(${accountIds}::uuid[]) and remaining_minor > 0`,
  );
  const grants = new Map<string, OpenGrant[]>();
  for (const row of rows) {
    const grant = {
      id: row.id,
      kind: row.kind,
      priority: row.priority,
      expiresAt: row.expires_at === null ? null : instantOf(row.expires_at),
      createdAt: instantOf(row.created_at),
      heldMinor: BigInt(row.held_minor),
      freeMinor: BigInt(row.remaining_minor) - BigInt(row.held_minor),
    };
    grants.set(row.account_id, [...(grants.get(row.account_id) ?? []), grant]);
  }
  return grants;
}

/** The balance that these grants make up. */
export const balanceOfGrants = (grants: readonly OpenGrant[]): bigint =>
  grants.reduce((sum, { freeMinor, heldMinor }) => sum + freeMinor + heldMinor, 0n);

/** What is out of grants for an invoice or refund and hasn't come back, in the order in which it was taken. */
export async function takenFor(em: EntityManager, accountId: string, subjectId: string): Promise<TakenPart[]> {
  const rows = await rowsOf(
    em,
    sql<{ grant_id: string; taken: string; left_ms: string | null; expires_at: string | null }>`
      select entry.grant_id, (-sum(entry.amount_minor))::text as taken, g.expires_at,
        (extract(epoch from min(entry.expires_at - entry.created_at) filter (where entry.amount_minor < 0)) * 1000)::bigint::text as left_ms
      from wallet_grant_entry entry
      join wallet_grant g on g.account_id = entry.account_id and g.id = entry.grant_id
      where entry.account_id = ${accountId} and entry.subject_id = ${subjectId}
      group by entry.grant_id, g.expires_at having sum(entry.amount_minor) < 0 order by min(entry.id::text)`,
  );
  return rows.map((row) => ({
    grantId: row.grant_id,
    amountMinor: BigInt(row.taken),
    expiresAt: row.expires_at === null ? null : instantOf(row.expires_at),
    leftMs: Number(row.left_ms ?? 0),
  }));
}

/** The account's grants, newest first; those with nothing left too, unless `spent` is false. */
export function listGrants(
  em: EntityManager,
  accountId: string,
  { spent, ...args }: PageArgs & { spent: boolean },
): Promise<Connection<WalletGrant>> {
  return page<WalletGrant>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        WalletGrant,
        { accountId, ...(after ? { id: { $lt: after } } : {}), ...(spent ? {} : { remainingMinor: { $gt: 0n } }) },
        { disableIdentityMap: true, orderBy: { id: 'desc' }, limit },
      ),
  });
}

export const grantsByIds: BatchFunction<WalletGrant> = byIdsOf(WalletGrant);
