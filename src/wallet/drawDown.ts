import { movements } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { publicId } from '../platform/ids.js';
import { lockWalletBalance, post, walletBalance } from './ledger.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet } from './wallets.js';

/**
 * Pays (part of) an invoice from the wallet: at most `amountMinor`, at most what is there. Returns what it took.
 * Whatever lowers the balance may call for a recharge, so the sweep is told to look.
 */
export async function drawDown(
  tx: Tx,
  { amountMinor, invoiceId }: { amountMinor: bigint; invoiceId: string },
): Promise<bigint> {
  const wallet = await lockWallet(tx);
  const balanceMinor = await lockWalletBalance(tx, wallet.currency);
  const taken = amountMinor < balanceMinor ? amountMinor : balanceMinor;
  if (taken <= 0n) return 0n;
  await post(tx, {
    type: 'wallet_payment',
    currency: wallet.currency,
    referenceId: invoiceId,
    postings: movements.payByWallet(taken),
  });
  wallet.rechargeDueAt ??= tx.now;
  tx.emit({
    type: 'wallet.drawn_down',
    data: {
      ...presentWallet({ wallet, balanceMinor: balanceMinor - taken }),
      invoice_id: publicId('invoice', invoiceId),
    },
  });
  return taken;
}

/**
 * Adds granted credit (it cost the customer nothing), e.g. what a downgrade leaves over. `taxMinor` is the part of it that
 * gives back tax.
 */
export async function grantCredit(
  tx: Tx,
  { amountMinor, taxMinor = 0n, referenceId }: { amountMinor: bigint; taxMinor?: bigint; referenceId: string },
): Promise<void> {
  const wallet = await lockWallet(tx);
  await post(tx, {
    type: 'credit',
    currency: wallet.currency,
    referenceId,
    postings: movements.grantCredit(amountMinor, taxMinor),
  });
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  tx.emit({ type: 'wallet.credited', data: presentWallet({ wallet, balanceMinor }) });
}
