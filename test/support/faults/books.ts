import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../../src/platform/sql.js';
import { unsoundOf } from '../../../src/verify.js';
import { collectedByCards } from '../../../src/wallet/verifyLedger.js';
import type { FaultWorld } from './faultWorld.js';
import type { Told } from './operations.js';

/** What is left to do on these accounts: payments without an end, events not handed over. Empty: settled. */
async function unsettled({ rows }: FaultWorld, accountIds: readonly string[]): Promise<string[]> {
  const open = await rows(
    sql<{ what: string }>`
      select 'payment ' || id as what from payment where account_id = any(${accountIds}::uuid[]) and status = 'PENDING'
      union all select 'event ' || id from outbox where account_id = any(${accountIds}::uuid[])
      union all select 'subscription ' || s.id from subscription s join invoice i on i.account_id = s.account_id and i.id = s.first_invoice_id
        where s.account_id = any(${accountIds}::uuid[]) and s.status = 'INCOMPLETE' and i.status = 'PAID'`,
  );
  return open.map(({ what }) => what);
}

/** Waits until all is settled; milliseconds it took. Beyond a limit it gives up and answers `Infinity`. */
export async function settledAfterMs(
  world: FaultWorld,
  accountIds: readonly string[],
  withinMs = 90_000,
): Promise<number> {
  const startedAt = performance.now();
  while ((await unsettled(world, accountIds)).length > 0) {
    if (performance.now() - startedAt > withinMs) return Number.POSITIVE_INFINITY;
    await sleep(200);
  }
  return performance.now() - startedAt;
}

/**
 * What must hold of an account after any fault: the provider has moved what the ledger says, each payment was charged once at most,
 * movements sum to zero, and the event log has no gap, no repeat and nothing that was not handed over. Returns what is broken.
 */
export async function accountViolations(world: FaultWorld, accountId: string): Promise<string[]> {
  const em = world.deps.db.orm.em.fork();
  const { amountMinor, duplicates } = world.standin.books.ledger(accountId);
  const credited = await collectedByCards(em, accountId);
  const broken = [
    ...(await unsoundOf(em, accountId)),
    ...(await unsettled(world, [accountId])).map((what) => `${what} is not settled`),
    ...duplicates.map((id) => `payment ${id} was charged more than once`),
    ...(amountMinor === credited ? [] : [`the provider has moved ${amountMinor}, the ledger says ${credited}`]),
    ...(await logViolations(world, accountId)),
  ];
  return broken.map((what) => `account ${accountId}: ${what}`);
}

async function logViolations({ rows }: FaultWorld, accountId: string): Promise<string[]> {
  const [log] = await rows(
    sql<{ events: number; last: number | null; cursor: number | null }>`
      select count(*)::int as events, max(seq)::int as last,
        (select seq::int from event_cursor where account_id = ${accountId}) as cursor from event where account_id = ${accountId}`,
  );
  const { events, last, cursor } = log!;
  const untold = await rows(
    sql<{ what: string }>`
      with told as (
        select type, coalesce(data ->> 'payment_id', data ->> 'id') as of, count(*)::int as times from event
        where account_id = ${accountId} and type in ('wallet.topped_up', 'invoice.paid', 'subscription.created', 'subscription.canceled')
        group by 1, 2)
      select type || ' of ' || of || ' was told ' || times || ' times' as what from told where times <> 1
      union all
      select 'wallet.topped_up was told ' || (select count(*) from told where type = 'wallet.topped_up') || ' times for ' || count(*) || ' movements'
      from ledger_transaction where account_id = ${accountId} and type = 'top_up'
      having count(*) <> (select count(*) from told where type = 'wallet.topped_up')
      union all
      select 'invoice.paid was told ' || (select count(*) from told where type = 'invoice.paid') || ' times for ' || count(*) || ' paid invoices'
      from invoice where account_id = ${accountId} and status = 'PAID'
      having count(*) <> (select count(*) from told where type = 'invoice.paid')`,
  );
  return [
    ...((last ?? 0) === events && (cursor ?? 0) === events
      ? []
      : [`${events} events, the last is ${last}, the cursor ${cursor}`]),
    ...untold.map(({ what }) => what),
  ];
}

/** The answer a caller had is the truth: as many charges as it was told, and not one more. */
export function answerViolations(
  world: FaultWorld,
  { name, accountId, chargesBefore, told }: { name: string; accountId: string; chargesBefore: number; told: Told },
): string[] {
  const { charges } = world.standin.books.ledger(accountId);
  const expected = chargesBefore + (told.paid ? 1 : 0);
  return charges === expected
    ? []
    : [
        `account ${accountId}: ${name} answered ${told.paid ? 'paid' : told.code}, the provider has made ${charges - chargesBefore} charges of it`,
      ];
}
