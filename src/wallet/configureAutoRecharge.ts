import { invalid } from '../domain/errors.js';
import { type Money, majorUnits } from '../domain/money.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { walletBalance } from './ledger.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet, lookAgain, maxWalletMinor } from './wallets.js';

export interface AutoRechargeInput {
  idempotencyKey?: string | undefined;
  enabled: boolean;
  /** Undefined: as it was. */
  threshold?: Money | undefined;
  amount?: Money | undefined;
  /** The most that recharges may come to in a calendar month; null: no limit. */
  monthlyLimit?: Money | null | undefined;
}

/**
 * Sets when the wallet refills itself: when what is available falls below `threshold`, `amount` is charged to the default
 * method. Switching it on needs both, given now or before. A limit is at least one amount, as less would keep back every recharge.
 */
export async function configureAutoRecharge(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: AutoRechargeInput,
): Promise<{ replayed: boolean }> {
  requireScope(actor, 'wallet:write');
  return transact(deps, actor.accountId, async (tx) => {
    const claim = await claimKey(tx, { operation: 'configureAutoRecharge', key: idempotencyKey, input, answer: {} });
    if (claim.replayed) return { replayed: true };
    const wallet = await lockWallet(tx);
    for (const field of ['threshold', 'amount', 'monthlyLimit'] as const) {
      const given = input[field];
      if (given && given.currency !== wallet.currency) {
        throw invalid(`The wallet is in ${wallet.currency}, found ${given.currency}`, field, 'currency');
      }
    }
    if (input.threshold && input.threshold.minorUnits < 0n)
      throw invalid(`threshold is ${majorUnits(input.threshold)}, expected 0 or more`, 'threshold');
    if (input.amount && (input.amount.minorUnits <= 0n || input.amount.minorUnits > maxWalletMinor)) {
      const most = majorUnits({ minorUnits: maxWalletMinor, currency: wallet.currency });
      throw invalid(`amount is ${majorUnits(input.amount)}, expected more than 0 and at most ${most}`, 'amount');
    }
    const thresholdMinor = input.threshold?.minorUnits ?? wallet.autoRechargeThresholdMinor;
    const amountMinor = input.amount?.minorUnits ?? wallet.autoRechargeAmountMinor;
    if (input.enabled && thresholdMinor == null)
      throw invalid('Auto-recharge needs a threshold to be switched on', 'threshold');
    if (input.enabled && amountMinor == null)
      throw invalid('Auto-recharge needs an amount to be switched on', 'amount');

    const limitMinor =
      input.monthlyLimit === undefined ? wallet.autoRechargeMonthlyLimitMinor : input.monthlyLimit?.minorUnits;
    if (limitMinor != null && limitMinor < (amountMinor ?? 1n)) {
      const [found, least] = [limitMinor, amountMinor ?? 1n].map((minorUnits) =>
        majorUnits({ minorUnits, currency: wallet.currency }),
      );
      throw invalid(`monthlyLimit is ${found}, expected at least one recharge of ${least}`, 'monthlyLimit');
    }

    wallet.autoRechargeEnabled = input.enabled;
    wallet.autoRechargeThresholdMinor = thresholdMinor ?? null;
    wallet.autoRechargeAmountMinor = amountMinor ?? null;
    wallet.autoRechargeMonthlyLimitMinor = limitMinor ?? null;
    wallet.rechargeFailures = 0;
    wallet.rechargeDueAt = input.enabled ? tx.now : null;
    lookAgain(wallet, tx.now);
    const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
    tx.emit({ type: 'wallet.updated', data: presentWallet({ wallet, balanceMinor }) });
    return { replayed: false };
  });
}
