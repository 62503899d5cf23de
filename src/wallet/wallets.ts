import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { type Money, majorUnits } from '../domain/money.js';
import { type ChargeModel, rateUsage } from '../domain/rating.js';
import type { BatchFunction } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { walletBalance } from './ledger.js';
import { LedgerTransaction, Wallet } from './wallet.entity.js';

/** A wallet with what is in it, in minor units. */
export interface WalletView {
  wallet: Wallet;
  balanceMinor: bigint;
  /** Of the balance: kept for holds. */
  heldMinor: bigint;
  /** Balance less holds and usage not yet invoiced; below zero when that usage costs more than the wallet has. */
  availableMinor: bigint;
}

/** The most that one movement may add to a wallet or hold of it, in minor units: what card processors take in one charge. */
export const maxWalletMinor = 99_999_999n;

/** INVALID unless an amount is positive, not too large, and in the currency of the wallet. */
export function checkWalletAmount({ minorUnits, currency }: Money, expected: string): void {
  if (currency !== expected) {
    throw invalid(`The wallet is in ${expected}, found an amount in ${currency}`, 'amount', 'currency');
  }
  if (minorUnits <= 0n || minorUnits > maxWalletMinor) {
    const [found, most] = [minorUnits, maxWalletMinor].map((minor) => majorUnits({ minorUnits: minor, currency }));
    throw invalid(`amount is ${found}, expected more than 0 and at most ${most}`, 'amount', 'amount');
  }
}

/** The account's wallet, locked. Every account has one from its first need of it. */
export async function lockWallet(tx: Tx): Promise<Wallet> {
  const { em, accountId, now } = tx;
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE } as const;
  const known = await em.findOne(Wallet, { accountId }, lock);
  if (known) return known;
  const { currency } = await accountById(em, accountId);
  await rowsOf(
    em,
    sql`insert into wallet (account_id, id, currency, created_at) values (${accountId}, ${newId()}, ${currency}, ${now})
        on conflict (account_id) do nothing`,
  );
  return em.findOneOrFail(Wallet, { accountId }, lock);
}

/** The wallet for reading; makes it at the account's first look. */
export async function walletView(
  deps: Pick<Deps, 'db' | 'clock'>,
  em: EntityManager,
  accountId: string,
): Promise<WalletView> {
  const known = await em.findOne(Wallet, { accountId }, { disableIdentityMap: true });
  const wallet = known ?? (await transact(deps, accountId, lockWallet));
  return { wallet, ...(await walletAmounts(em, wallet)) };
}

/** What is in a wallet as of this transaction; locks nothing. */
export async function walletAmounts(
  em: EntityManager,
  { accountId, currency }: Pick<Wallet, 'accountId' | 'currency'>,
): Promise<Omit<WalletView, 'wallet'>> {
  const [kept] = await rowsOf(
    em,
    sql<{ held: string }>`
      select coalesce(sum(held_minor), 0)::text as held from wallet_grant where account_id = ${accountId} and remaining_minor > 0`,
  );
  const balanceMinor = await walletBalance(em, { accountId, currency });
  const heldMinor = BigInt(kept!.held);
  return {
    balanceMinor,
    heldMinor,
    availableMinor: balanceMinor - heldMinor - (await chargesNotInvoiced(em, accountId)),
  };
}

/** Below this `available` is low; null: its owner is not told. */
export const lowThreshold = (wallet: Wallet): bigint | null =>
  wallet.lowThresholdMinor ?? (wallet.autoRechargeEnabled ? (wallet.autoRechargeThresholdMinor ?? null) : null);

/** `available` has changed: the sweeps are to look whether it is low, and whether to recharge. */
export function lookAgain(wallet: Wallet, now: Date): void {
  if (wallet.isLow || lowThreshold(wallet) !== null) wallet.lowDueAt = now;
  if (wallet.autoRechargeEnabled) wallet.rechargeDueAt ??= now;
}

/**
 * What usage windows whose invoice isn't final would add to it, in minor units; each window rated and rounded like the line it
 * becomes. Those within their limit too: a charge may have a minimum. Reads the windows' own columns, because the wallet
 * can't ask the features that stand right of it.
 */
export async function chargesNotInvoiced(em: EntityManager, accountId: string): Promise<bigint> {
  const rows = await rowsOf(
    em,
    sql<{ used: string; event_count: number; limit_quantity: string | null; charge: ChargeModel; currency: string }>`
      select used, event_count, limit_quantity, charge, currency from usage_window
      where account_id = ${accountId} and (closed_at is null or draft_invoice_id is not null) and overage = 'CHARGE'`,
  );
  return rows.reduce(
    (sum, row) =>
      sum +
      rateUsage({
        used: new Decimal(row.used),
        eventCount: row.event_count,
        limit: row.limit_quantity === null ? null : new Decimal(row.limit_quantity),
        overage: 'CHARGE',
        charge: row.charge,
        currency: row.currency,
      }).amountMinor,
    0n,
  );
}

/** Movements of the wallet, newest first. */
export function walletTransactions(
  em: EntityManager,
  accountId: string,
  args: PageArgs,
): Promise<Connection<LedgerTransaction>> {
  return page<LedgerTransaction>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        LedgerTransaction,
        { accountId, walletAmountMinor: { $ne: 0n }, ...(after ? { id: { $lt: after } } : {}) },
        { disableIdentityMap: true, orderBy: { id: 'desc' }, limit },
      ),
  });
}

export const walletTransactionsByIds: BatchFunction<LedgerTransaction> = async (em, accountId, ids) =>
  new Map(
    (
      await em.find(
        LedgerTransaction,
        { accountId, id: { $in: [...ids] }, walletAmountMinor: { $ne: 0n } },
        { disableIdentityMap: true },
      )
    ).map((transaction) => [transaction.id, transaction]),
  );
