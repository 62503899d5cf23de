import { accountById } from '../account/createAccount.js';
import { BillingError } from '../domain/errors.js';
import { money } from '../domain/money.js';
import { calendarMonth } from '../domain/period.js';
import type { ChargeOutcome } from '../integrations/payments/provider.js';
import { chargePayment } from '../payment/charge.js';
import { Payment } from '../payment/payment.entity.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { walletBalance } from './ledger.js';
import { intendTopUp, settleInWallet } from './topUp.js';
import type { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet, walletAmounts } from './wallets.js';

/** Wait after the first, second, … declined recharge in a row; the last repeats. */
const backOffMs = [1, 6, 24].map((hours) => hours * 3_600_000);

/** While a charge is under way, or its outcome unknown: when to look again. Longer than reconciling takes. */
const lookAgainMs = 60_000;

/** Sweep: recharges every wallet that asked for a look. Returns how many it looked at. */
export async function rechargeDueWallets(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  of: SweepOf = {},
): Promise<number> {
  return finishDue(deps, ['wallet', 'recharge_due_at'], of, ({ accountId }) => rechargeIfLow(deps, accountId));
}

/** Charges the recharge amount when `available` is below the threshold: at most one in flight, no more a month than the limit. */
export async function rechargeIfLow(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  accountId: string,
): Promise<void> {
  const paymentId = newId();
  const intended = await transact(deps, accountId, async (tx) => {
    const wallet = await lockWallet(tx);
    if (!wallet.rechargeDueAt || wallet.rechargeDueAt > tx.now) return false;
    wallet.rechargeDueAt = null;
    if (!(await isLow(tx, wallet))) return false;
    wallet.rechargeDueAt = new Date(tx.now.getTime() + lookAgainMs);
    if (await inFlight(tx, wallet)) return false;
    const until = await cappedUntil(tx, wallet);
    if (until) {
      await waitForMonth(tx, wallet, until);
      return false;
    }
    const amount = money(wallet.autoRechargeAmountMinor ?? 0n, wallet.currency);
    try {
      await intendTopUp(tx, { paymentId, purpose: 'recharge', amount, paymentMethodId: undefined });
      return true;
    } catch (error) {
      if (!(error instanceof BillingError)) throw error;
      await backOff(tx, wallet, 'no_payment_method');
      return false;
    }
  });
  if (!intended) return;
  const outcome = await chargePayment(deps, { accountId, paymentId });
  if (outcome) await settleRecharge(deps, { accountId, paymentId, outcome });
}

/** Settles a recharge, and says when the next look is due; the synchronous answer and every later one end here, once. */
export async function settleRecharge(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, ...settled }: { accountId: string; paymentId: string; outcome: ChargeOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const done = await settleInWallet(tx, settled);
    if (!done) return;
    const { wallet, payment, before } = done;
    if (payment.status === 'SUCCEEDED') {
      wallet.rechargeDueAt = (await isLow(tx, wallet)) ? tx.now : null; // one amount may not be enough
    } else if (before === 'PENDING') {
      // Nobody sits before a recharge: a challenge counts as failed when it begins, and not again when it ends.
      await backOff(tx, wallet, payment.declineCode ?? 'authentication_required');
    }
  });
}

async function isLow(tx: Tx, wallet: Wallet): Promise<boolean> {
  if (!wallet.autoRechargeEnabled) return false;
  return (await walletAmounts(tx.em, wallet)).availableMinor < (wallet.autoRechargeThresholdMinor ?? 0n);
}

/**
 * When the monthly limit lets the next recharge through: the end of the account's calendar month, where what was recharged in
 * it, and what is on its way, leaves no room for another. `undefined`: now.
 */
async function cappedUntil(tx: Tx, wallet: Wallet): Promise<Date | undefined> {
  const limitMinor = wallet.autoRechargeMonthlyLimitMinor;
  if (limitMinor == null) return undefined;
  const { timeZone } = await accountById(tx.em, tx.accountId);
  const month = calendarMonth(tx.now, timeZone);
  const [recharged] = await rowsOf(
    tx.em,
    sql<{ minor: string }>`
      select coalesce(sum(amount_minor), 0)::text as minor from payment
      where account_id = ${tx.accountId} and subject_id = ${wallet.id} and purpose = 'recharge' and status <> 'FAILED'
        and created_at >= ${month.start} and created_at < ${month.end}`,
  );
  return BigInt(recharged!.minor) + (wallet.autoRechargeAmountMinor ?? 0n) > limitMinor ? month.end : undefined;
}

/** Waits for the next month, and tells of it once. */
async function waitForMonth(tx: Tx, wallet: Wallet, until: Date): Promise<void> {
  wallet.rechargeDueAt = until;
  if (wallet.rechargeCappedUntil?.getTime() === until.getTime()) return;
  wallet.rechargeCappedUntil = until;
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  tx.emit({
    type: 'wallet.recharge_capped',
    data: { ...presentWallet({ wallet, balanceMinor }), next_attempt_at: until.toISOString() },
  });
}

/** Money may be on its way: a charge without an answer, or a recharge that its holder can still confirm. */
const inFlight = async (tx: Tx, wallet: Wallet): Promise<boolean> =>
  (await tx.em.count(Payment, {
    accountId: tx.accountId,
    subjectId: wallet.id,
    $or: [{ status: 'PENDING' }, { status: 'REQUIRES_ACTION', purpose: 'recharge' }],
  })) > 0;

async function backOff(tx: Tx, wallet: Wallet, declineCode: string): Promise<void> {
  const waitMs = backOffMs[Math.min(wallet.rechargeFailures, backOffMs.length - 1)] as number;
  wallet.rechargeFailures += 1;
  wallet.rechargeDueAt = new Date(tx.now.getTime() + waitMs);
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  tx.emit({
    type: 'wallet.recharge_failed',
    data: {
      ...presentWallet({ wallet, balanceMinor }),
      decline_code: declineCode,
      next_attempt_at: wallet.rechargeDueAt.toISOString(),
    },
  });
}
