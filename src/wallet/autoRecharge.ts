import { BillingError } from '../domain/errors.js';
import { money } from '../domain/money.js';
import { Payment } from '../payment/payment.entity.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { finishEach } from '../platform/sweeps.js';
import { walletBalance } from './ledger.js';
import { chargeTopUp, intendTopUp } from './topUp.js';
import type { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { chargesNotInvoiced, lockWallet } from './wallets.js';

/** Wait after the first, second, … declined recharge in a row; the last repeats. */
const backOffMs = [1, 6, 24].map((hours) => hours * 3_600_000);

/** While a charge is under way, or its outcome unknown: when to look again. Longer than reconciling takes. */
const lookAgainMs = 60_000;

/** Sweep: recharges every wallet that asked for a look. Returns how many it looked at. */
export async function rechargeDueWallets(deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>): Promise<number> {
  const due = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ account_id: string }>`select account_id from wallet where recharge_due_at <= ${deps.clock.now()} limit 100`,
  );
  return finishEach(deps.log, due, ({ account_id }) => rechargeIfLow(deps, account_id));
}

/** Charges the recharge amount when `available` is below the threshold. At most one recharge is in flight. */
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
    const amount = money(wallet.autoRechargeAmountMinor ?? 0n, wallet.currency);
    try {
      await intendTopUp(tx, { paymentId, amount, paymentMethodId: undefined });
      return true;
    } catch (error) {
      if (!(error instanceof BillingError)) throw error;
      await backOff(tx, wallet, 'no_payment_method');
      return false;
    }
  });
  if (!intended) return;
  await chargeTopUp(deps, { accountId, paymentId });

  await transact(deps, accountId, async (tx) => {
    const wallet = await lockWallet(tx);
    const payment = await tx.em.findOneOrFail(Payment, { accountId, id: paymentId });
    if (payment.status === 'FAILED' || payment.status === 'REQUIRES_ACTION') {
      await backOff(tx, wallet, payment.declineCode ?? 'authentication_required');
    } else if (payment.status === 'SUCCEEDED') {
      wallet.rechargeDueAt = (await isLow(tx, wallet)) ? tx.now : null; // one amount may not be enough
    }
  });
}

async function isLow(tx: Tx, wallet: Wallet): Promise<boolean> {
  if (!wallet.autoRechargeEnabled) return false;
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  const available = balanceMinor - (await chargesNotInvoiced(tx.em, tx.accountId));
  return available < (wallet.autoRechargeThresholdMinor ?? 0n);
}

const inFlight = async (tx: Tx, wallet: Wallet): Promise<boolean> =>
  (await tx.em.count(Payment, {
    accountId: tx.accountId,
    purpose: 'top_up',
    subjectId: wallet.id,
    status: 'PENDING',
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
