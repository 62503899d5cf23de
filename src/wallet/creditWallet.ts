import { giveBack } from '../domain/grants.js';
import type { Posting } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { type NewGrant, takenFor } from './grants.js';
import { post, walletBalance } from './ledger.js';
import type { MovementType } from './movementDocuments.js';
import type { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet, lookAgain } from './wallets.js';

/** A wallet after a movement. */
interface Moved {
  wallet: Wallet;
  balanceMinor: bigint;
}

/** Adds credit to the wallet (the caller's, if it has locked it): a movement and the grant it opens. The caller tells of it. */
export async function creditWallet(
  tx: Tx,
  {
    type,
    postings,
    grant,
    locked,
  }: { type: MovementType; postings: readonly Posting[]; grant: NewGrant; locked?: Wallet },
): Promise<Moved> {
  const wallet = locked ?? (await lockWallet(tx));
  const { currency } = wallet;
  await post(tx, { type, currency, referenceId: grant.referenceId, postings, grants: { opens: grant } });
  lookAgain(wallet, tx.now);
  return { wallet, balanceMinor: await walletBalance(tx.em, { accountId: tx.accountId, currency }) };
}

/**
 * Puts back (part of) what the wallet had paid of an invoice, into the grants it came from (see giveBack). What was paid before
 * grants were kept has none, and comes back as bought credit that never expires.
 */
export async function returnToWallet(
  tx: Tx,
  {
    invoiceId,
    amountMinor,
    ...movement
  }: { type: MovementType; referenceId: string; postings: readonly Posting[]; invoiceId: string; amountMinor: bigint },
): Promise<void> {
  const { em, accountId, now } = tx;
  const wallet = await lockWallet(tx);
  const changes = giveBack(await takenFor(em, accountId, invoiceId), { amountMinor, now });
  const unknownMinor = amountMinor - changes.reduce((sum, part) => sum + part.amountMinor, 0n);
  const opens = { kind: 'purchased' as const, amountMinor: unknownMinor, referenceId: movement.referenceId };
  await post(tx, {
    ...movement,
    currency: wallet.currency,
    grants: { subjectId: invoiceId, changes, ...(unknownMinor > 0n && { opens }) },
  });
  lookAgain(wallet, now);
  const balanceMinor = await walletBalance(em, { accountId, currency: wallet.currency });
  tx.emit({ type: 'wallet.credited', data: presentWallet({ wallet, balanceMinor }) });
}
