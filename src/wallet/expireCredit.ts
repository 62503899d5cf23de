import { LockMode } from '@mikro-orm/postgresql';
import { lockAccounts } from '../account/lockAccount.js';
import { movements } from '../domain/ledger.js';
import { majorUnits } from '../domain/money.js';
import { sweepNow } from '../platform/clock.js';
import { type ManyTx, transactMany } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rawNumber } from '../platform/exactJson.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach, type SweepOf, sweptRows } from '../platform/sweeps.js';
import { balanceOfGrants, openGrants } from './grants.js';
import { postAll } from './ledger.js';
import { Wallet, WalletGrant } from './wallet.entity.js';
import { presentGrant, presentWallet } from './wallet.present.js';
import { lookAgain } from './wallets.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'log'>;

/**
 * Sweep: takes what is left of grants whose time has passed, all there are: a renewal of the same moment shall not be paid with
 * it. Many accounts in one transaction, one by one where that fails. Returns how many grants it looked at.
 */
export async function expireDueCredit(deps: Needs, of: SweepOf = {}): Promise<number> {
  let total = 0;
  const failed = new Set<string>();
  for (;;) {
    const due = await dueGrants(deps, of, failed);
    if (due.length === 0) return total;
    total += await expireBatch(deps, due, failed);
  }
}

/** A grant of an account, by its key. */
interface GrantKey {
  accountId: string;
  id: string;
}

const batchSize = 100;

/** The grant of each account that has been due the longest; the accounts in the order of that. None that has failed in this run. */
async function dueGrants({ db, clock }: Needs, of: SweepOf, failed: ReadonlySet<string>): Promise<GrantKey[]> {
  const em = db.orm.em.fork();
  const now = await sweepNow(em, clock, of.accountId);
  const rows = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select account_id, id from (
        select distinct on (account_id) account_id, id, expiry_due_at from wallet_grant
        where expiry_due_at <= ${now} and ${sweptRows('wallet_grant', of)} and not id = any(${[...failed]}::uuid[])
        order by account_id, expiry_due_at, id) first
      order by expiry_due_at, id limit ${batchSize}`,
  );
  return rows.map(({ account_id: accountId, id }) => ({ accountId, id }));
}

async function expireBatch(deps: Needs, rows: readonly GrantKey[], failed: Set<string>): Promise<number> {
  const expire = (some: readonly GrantKey[]): Promise<void> =>
    transactMany(
      deps,
      some.map(({ accountId }) => accountId),
      (many) => expireGrants(many, some),
    );
  try {
    await expire(rows);
    return rows.length;
  } catch (error) {
    deps.log.warn({ err: error, grants: rows.length }, 'credit could not be expired by the set; one by one then');
    for (const { id } of rows) failed.add(id);
    return finishEach(deps.log, rows, async (row) => {
      await expire([row]);
      failed.delete(row.id);
    });
  }
}

/** One grant of each account. What a hold keeps of it stays until that ends (see endHold). */
async function expireGrants({ em, of }: ManyTx, rows: readonly GrantKey[]): Promise<void> {
  const accountIds = rows.map(({ accountId }) => accountId);
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { accountId: 'asc' } } as const;
  await lockAccounts(em, accountIds);
  const wallets = await em.find(Wallet, { accountId: { $in: accountIds } }, lock);
  const grants = await em.find(
    WalletGrant,
    { accountId: { $in: accountIds }, id: { $in: rows.map(({ id }) => id) } },
    lock,
  );
  const open = await openGrants(em, accountIds);
  const expiring = grants
    .filter(({ accountId, expiryDueAt }) => expiryDueAt != null && expiryDueAt <= of(accountId).now)
    .map((grant) => ({
      grant,
      tx: of(grant.accountId),
      wallet: wallets.find(({ accountId }) => accountId === grant.accountId)!,
      freeMinor: grant.remainingMinor - grant.heldMinor,
      balanceMinor: balanceOfGrants(open.get(grant.accountId) ?? []),
    }));
  const taking = expiring.filter(({ freeMinor }) => freeMinor > 0n);
  await postAll(
    em,
    taking.map(({ tx, grant, freeMinor }) => ({
      tx,
      movement: {
        type: 'credit_expired',
        currency: grant.currency,
        referenceId: newId(), // a grant may expire more than once: later what a hold had kept, or what came back
        postings: movements.expireCredit(freeMinor, grant.kind),
        grants: { changes: [{ grantId: grant.id, amountMinor: -freeMinor }] },
      },
    })),
  );
  for (const { grant } of expiring) grant.expiryDueAt = null;
  for (const { tx, grant, wallet, freeMinor, balanceMinor } of taking) {
    lookAgain(wallet, tx.now);
    tx.emit({
      type: 'wallet.credit_expired',
      data: {
        ...presentWallet({ wallet, balanceMinor: balanceMinor - freeMinor }),
        expired: rawNumber(majorUnits({ minorUnits: freeMinor, currency: grant.currency })),
        grant: presentGrant({ ...grant, remainingMinor: grant.heldMinor }),
      },
    });
  }
}
