import { LockMode } from '@mikro-orm/postgresql';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { finishDue, type SweepOf } from '../platform/sweeps.js';
import { endHold } from './holds.js';
import { WalletHold } from './wallet.entity.js';
import { lockWallet } from './wallets.js';

/** Sweep: ends holds that nobody has captured or released in time. Returns how many it looked at. */
export async function expireDueHolds(deps: Pick<Deps, 'db' | 'clock' | 'log'>, of: SweepOf = {}): Promise<number> {
  return finishDue(deps, ['wallet_hold', 'expiry_due_at'], of, ({ accountId, id }) =>
    transact(deps, accountId, async (tx) => {
      const wallet = await lockWallet(tx);
      const hold = await tx.em.findOneOrFail(
        WalletHold,
        { accountId, id },
        { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
      );
      if (hold.status === 'OPEN' && hold.expiresAt <= tx.now)
        await endHold(tx, { wallet, hold }, { status: 'EXPIRED' });
    }),
  );
}
