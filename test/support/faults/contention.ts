import { setTimeout as sleep } from 'node:timers/promises';
import { money } from '../../../src/domain/money.js';
import { clockAt } from '../../../src/platform/clock.js';
import { publicId } from '../../../src/platform/ids.js';
import { sql } from '../../../src/platform/sql.js';
import { subscribe } from '../../../src/subscription/subscribe.js';
import { topUp } from '../../../src/wallet/topUp.js';
import { dayMs } from '../billing.js';
import { accountViolations, settledAfterMs } from './books.js';
import type { FaultWorld } from './faultWorld.js';
import type { Run } from './killPoints.js';
import { askTimed } from './operations.js';

/** Two servers find the same renewals due: every period is invoiced and charged once. */
export async function renewTwice(world: FaultWorld, count = 40): Promise<Run> {
  const at = new Date(Date.now() - 40 * dayMs);
  const accounts = await Promise.all(Array.from({ length: count }, () => world.account({ at })));
  for (const { actor } of accounts)
    await subscribe({ ...world.deps, clock: clockAt(at) }, actor, { planCode: 'basic' });
  const startedAt = performance.now();
  await Promise.all([world.start(), world.startBeside()]);
  const ids = accounts.map(({ id }) => id);
  const deadline = performance.now() + 60_000;
  const isDue = async (): Promise<boolean> =>
    (
      await world.rows(
        sql`select 1 from subscription where account_id = any(${ids}::uuid[]) and due_at <= now() limit 1`,
      )
    ).length > 0;
  while ((await isDue()) && performance.now() < deadline) await sleep(200);
  await settledAfterMs(world, ids);
  const worstMs = performance.now() - startedAt;
  const violations: string[] = [];
  for (const { id } of accounts) {
    const invoices = await world.rows(
      sql<{
        status: string;
        period_start: string;
      }>`select status, period_start from invoice where account_id = ${id} order by period_start`,
    );
    const { charges } = world.standin.books.ledger(id);
    const starts = new Set(invoices.map(({ period_start }) => String(period_start)));
    if (invoices.length !== 2 || starts.size !== 2 || charges !== 2 || invoices.some(({ status }) => status !== 'PAID'))
      violations.push(`account ${id} has ${charges} charges and the invoices ${JSON.stringify(invoices)}`);
    violations.push(...(await accountViolations(world, id)));
  }
  return { worstMs, violations };
}

/** 100 invoices of 1.00 at once against a wallet that holds 50.00 and a card that pays nothing: it is spent to the cent, and no further. */
export async function spendAtOnce(world: FaultWorld): Promise<Run> {
  const account = await world.account();
  await topUp(world.deps, account.actor, { amount: money(50_00n, 'USD') });
  await world.rows(
    sql`update payment_method set status = 'REMOVED', is_default = false where account_id = ${account.id}`,
  );
  const token = await world.operatorToken();
  const query =
    'mutation($input: CreateInvoiceInput!) { createInvoice(input: $input) { invoice { id } userErrors { code } } }';
  const startedAt = performance.now();
  const spend = async (i: number): Promise<void> => {
    const items = [{ description: 'Spend', amount: { amount: '1.00', currency: 'USD' } }];
    for (const until = Date.now() + 60_000; ; ) {
      const input = { idempotencyKey: `spend ${i}`, items };
      const { code } = await askTimed(world.url, token, query, { input }, { 'billing-account': account.publicId });
      if (code === 'DONE') return;
      if (Date.now() > until) throw new Error(`spend ${i} is not done after 60 s, the last answer: ${code}`);
      await sleep(100);
    }
  };
  await Promise.all(Array.from({ length: 100 }, (_, i) => spend(i)));
  await settledAfterMs(world, [account.id]);
  const worstMs = performance.now() - startedAt;
  const [seen] = await world.rows(
    sql<{ invoices: number; paid: number; spent: string; left: string; lowest: string }>`
      select count(*)::int as invoices, (count(*) filter (where wallet_applied_minor = 100))::int as paid, sum(wallet_applied_minor)::text as spent,
        (select balance_minor::text from ledger_account where account_id = ${account.id} and kind = 'wallet') as left,
        (select min(wallet_balance_after_minor)::text from ledger_transaction where account_id = ${account.id}) as lowest
      from invoice where account_id = ${account.id}`,
  );
  const expected = { invoices: 100, paid: 50, spent: '5000', left: '0', lowest: '0' };
  const isRight = JSON.stringify(seen) === JSON.stringify(expected);
  return {
    worstMs,
    violations: [
      ...(isRight
        ? []
        : [
            `account ${publicId('account', account.id)}: ${JSON.stringify(seen)}, expected ${JSON.stringify(expected)}`,
          ]),
      ...(await accountViolations(world, account.id)),
    ],
  };
}
