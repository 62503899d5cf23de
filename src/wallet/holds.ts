import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { BillingError, notFound } from '../domain/errors.js';
import { capture } from '../domain/grants.js';
import { movements } from '../domain/ledger.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { byId, type Connection, type PageArgs, page } from '../platform/connection.js';
import type { Tx } from '../platform/db.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { changeGrants } from './grants.js';
import { post } from './ledger.js';
import { type Wallet, WalletHold, WalletHoldPart } from './wallet.entity.js';
import { presentHold } from './wallet.present.js';
import { lockWallet, lookAgain } from './wallets.js';

/** A hold and the wallet it keeps credit of, both locked. */
export interface LockedHold {
  wallet: Wallet;
  hold: WalletHold;
}

/** The account's hold that is still OPEN. NOT_FOUND, or ILLEGAL_STATE when it has ended. */
export async function lockOpenHold(tx: Tx, holdId: string): Promise<LockedHold> {
  const wallet = await lockWallet(tx);
  const id = uuidOf('hold', holdId);
  const hold = id && (await tx.em.findOne(WalletHold, { accountId: tx.accountId, id }, lock));
  if (!hold) throw notFound('hold', holdId, 'holdId');
  const expired = hold.status === 'OPEN' && hold.expiresAt <= tx.now;
  if (hold.status !== 'OPEN' || expired) {
    const found = expired ? `has expired at ${hold.expiresAt.toISOString()}` : `is ${hold.status}`;
    throw new BillingError('ILLEGAL_STATE', `Hold ${publicId('hold', hold.id)} ${found}, expected OPEN`, {
      field: ['holdId'],
    });
  }
  return { wallet, hold };
}

const lock = { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true } as const;

const eventTypes = {
  CAPTURED: 'wallet.hold_captured',
  RELEASED: 'wallet.hold_released',
  EXPIRED: 'wallet.hold_expired',
} as const;

/**
 * Ends an open hold: what is captured of it is taken from the grants it kept, in their order, and is revenue; the rest of it is
 * free again, or expires at once where its grant's time has passed.
 */
export async function endHold(
  tx: Tx,
  { wallet, hold }: LockedHold,
  { status, capturedMinor = 0n }: { status: keyof typeof eventTypes; capturedMinor?: bigint },
): Promise<void> {
  const { em, accountId, now } = tx;
  const kept = await em.find(WalletHoldPart, { accountId, holdId: hold.id }, { orderBy: { id: 'asc' } });
  const parts = capture(kept, capturedMinor);
  const changes = parts.map(({ grantId, amountMinor, capturedMinor: takenMinor }) => ({
    grantId,
    amountMinor: -takenMinor,
    heldMinor: -amountMinor,
  }));
  Object.assign(hold, { status, capturedMinor, endedAt: now, expiryDueAt: null });
  if (capturedMinor > 0n) {
    const postings = movements.captureHold(capturedMinor);
    await post(tx, {
      type: 'hold_captured',
      currency: hold.currency,
      referenceId: hold.id,
      postings,
      grants: { changes },
    });
  } else {
    await changeGrants(
      em,
      changes.map((change) => ({ ...change, accountId, now })),
    );
  }
  lookAgain(wallet, now);
  tx.emit({ type: eventTypes[status], data: presentHold(hold) });
}

/** The account's holds, newest first; those in some states only when they are named. */
export function listHolds(
  em: EntityManager,
  accountId: string,
  { status, ...args }: PageArgs & { status?: readonly WalletHold['status'][] | null | undefined },
): Promise<Connection<WalletHold>> {
  return page<WalletHold>(args, {
    ...byId,
    fetch: (limit, after) =>
      em.find(
        WalletHold,
        { accountId, ...(after ? { id: { $lt: after } } : {}), ...(status ? { status: { $in: [...status] } } : {}) },
        { disableIdentityMap: true, orderBy: { id: 'desc' }, limit },
      ),
  });
}

export const holdsByIds: BatchFunction<WalletHold> = byIdsOf(WalletHold);
