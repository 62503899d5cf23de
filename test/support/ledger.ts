import { sql } from '../../src/platform/sql.js';
import { collectedByCards, ledgerViolations } from '../../src/wallet/verifyLedger.js';
import type { World } from './world.js';

/** The invariants of an account's money (see verifyLedger), and the cards were charged exactly what the ledger says. */
export async function expectSoundLedger(world: World, accountId: string): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  expect(await ledgerViolations(em, accountId)).toEqual([]);
  await expectSoundCredit(world, accountId);
  const moved = await world.deps.payments.moved({ accountId });
  expect({ movedByCards: moved.amountMinor }).toEqual({ movedByCards: await collectedByCards(em, accountId) });
}

/**
 * What holds of credit notes and refunds: the parts of a note sum to its total, what is left of the notes is the ledger's
 * customer_credit, what is on its way back its refunds_payable, and no invoice is credited beyond what it came to.
 */
async function expectSoundCredit(world: World, accountId: string): Promise<void> {
  const split = await world.rows(
    sql`select number from credit_note n where account_id = ${accountId} and total_minor <>
          applied_to_invoice_minor + refunded_minor + returned_to_wallet_minor + balance_minor
          + (select coalesce(sum(amount_minor), 0) from credit_application a where a.account_id = n.account_id and a.credit_note_id = n.id)
          and status = 'ISSUED' or account_id = ${accountId} and status = 'VOID' and balance_minor <> 0`,
  );
  const invoices = await world.rows(
    sql`select number from invoice i where account_id = ${accountId} and (
          credit_noted_minor <> (select coalesce(sum(total_minor), 0) from credit_note n
            where n.account_id = i.account_id and n.invoice_id = i.id and n.status = 'ISSUED')
          or greatest(tax_minor, 0) < (select coalesce(sum(tax_minor), 0) from credit_note n
            where n.account_id = i.account_id and n.invoice_id = i.id and n.status = 'ISSUED')
          or status not in ('DRAFT', 'VOID')
            and total_minor <> credit_applied_minor + wallet_applied_minor + amount_paid_minor + amount_due_minor)`,
  );
  const [kept] = await world.rows(
    sql<{ credit: string; underway: string }>`
      select (select coalesce(sum(balance_minor), 0)::text from credit_note where account_id = ${accountId}) as credit,
        (select coalesce(sum(amount_minor), 0)::text from refund where account_id = ${accountId} and status = 'PENDING') as underway`,
  );
  expect({ split, invoices }).toEqual({ split: [], invoices: [] });
  expect({
    customerCredit: await balanceOf(world, accountId, 'customer_credit'),
    refundsPayable: await balanceOf(world, accountId, 'refunds_payable'),
  }).toEqual({ customerCredit: BigInt(kept!.credit), refundsPayable: BigInt(kept!.underway) });
}

/** Balance of a ledger account in minor units, e.g. `wallet`; 0 before its first posting. */
export async function balanceOf(world: World, accountId: string, kind: string): Promise<bigint> {
  const [row] = await world.rows(
    sql<{
      balance_minor: string;
    }>`select balance_minor from ledger_account where account_id = ${accountId} and kind = ${kind}`,
  );
  return BigInt(row?.balance_minor ?? 0);
}
