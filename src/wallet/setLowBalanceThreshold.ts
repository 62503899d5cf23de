import { invalid } from '../domain/errors.js';
import { type Money, majorUnits } from '../domain/money.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { walletBalance } from './ledger.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet } from './wallets.js';

export interface LowBalanceThresholdInput {
  idempotencyKey?: string | undefined;
  /** Null: the auto-recharge threshold while that is on, else none. */
  threshold: Money | null;
}

/** Sets below what `available` the account is told `wallet.low`; a wallet that is below already is looked at anew. */
export async function setLowBalanceThreshold(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: LowBalanceThresholdInput,
): Promise<{ replayed: boolean }> {
  requireScope(actor, 'wallet:write');
  return transact(deps, actor.accountId, async (tx) => {
    const claim = await claimKey(tx, { operation: 'setLowBalanceThreshold', key: idempotencyKey, input, answer: {} });
    if (claim.replayed) return { replayed: true };
    const wallet = await lockWallet(tx);
    const { threshold } = input;
    if (threshold && threshold.currency !== wallet.currency)
      throw invalid(`The wallet is in ${wallet.currency}, found ${threshold.currency}`, 'threshold', 'currency');
    if (threshold && threshold.minorUnits <= 0n)
      throw invalid(`threshold is ${majorUnits(threshold)}, expected more than 0`, 'threshold');
    wallet.lowThresholdMinor = threshold?.minorUnits ?? null;
    wallet.isLow = false;
    wallet.lowDueAt = tx.now;
    const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
    tx.emit({ type: 'wallet.updated', data: presentWallet({ wallet, balanceMinor }) });
    return { replayed: false };
  });
}
