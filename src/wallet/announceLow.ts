import { majorUnits } from '../domain/money.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rawNumber } from '../platform/exactJson.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet, lowThreshold, walletAmounts } from './wallets.js';

/** Sweep: looks at every wallet whose `available` has changed. Returns how many it looked at. */
export async function announceLowWallets(deps: Pick<Deps, 'db' | 'clock' | 'log'>, of: SweepOf = {}): Promise<number> {
  return finishDue(deps, ['wallet', 'low_due_at'], of, ({ accountId }) => announceIfLow(deps, accountId));
}

/** Says once that `available` has fallen below the threshold (see lowThreshold), and again only after it was above. */
export async function announceIfLow(deps: Pick<Deps, 'db' | 'clock'>, accountId: string): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const wallet = await lockWallet(tx);
    if (!wallet.lowDueAt || wallet.lowDueAt > tx.now) return;
    wallet.lowDueAt = null;
    const thresholdMinor = lowThreshold(wallet);
    const { balanceMinor, heldMinor, availableMinor } = await walletAmounts(tx.em, wallet);
    const wasLow = wallet.isLow;
    wallet.isLow = thresholdMinor !== null && availableMinor < thresholdMinor;
    if (wasLow || !wallet.isLow) return;
    const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: wallet.currency }));
    tx.emit({
      type: 'wallet.low',
      data: {
        ...presentWallet({ wallet, balanceMinor }),
        held: amount(heldMinor),
        available: amount(availableMinor),
        threshold: amount(thresholdMinor!),
      },
    });
  });
}
