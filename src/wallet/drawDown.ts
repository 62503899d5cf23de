import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { movements } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { publicId } from '../platform/ids.js';
import { lockWalletBalances, post, postAll, walletBalance } from './ledger.js';
import { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet } from './wallets.js';

/** What an invoice asks of its account's wallet. */
export interface Draw {
  amountMinor: bigint;
  invoiceId: string;
}

/** Pays (part of) an invoice from the wallet: at most `amountMinor`, at most what is there. Returns what it took. */
export async function drawDown(tx: Tx, draw: Draw): Promise<bigint> {
  return (await drawDownAll(tx.em, [{ tx, draw }])).get(tx.accountId) ?? 0n;
}

/**
 * The same for many accounts, one draw each; returns what it took, by account. Whatever lowers a balance may call for a
 * recharge, so the sweep is told to look.
 */
export async function drawDownAll(
  em: EntityManager,
  draws: readonly { tx: Tx; draw: Draw }[],
): Promise<Map<string, bigint>> {
  const wallets = await em.find(
    Wallet,
    { accountId: { $in: draws.map(({ tx }) => tx.accountId) } },
    { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { accountId: 'asc' } },
  );
  const balances = await lockWalletBalances(em, wallets);
  const taking = wallets.flatMap((wallet) => {
    const { tx, draw } = draws.find((d) => d.tx.accountId === wallet.accountId)!;
    const balanceMinor = balances.get(wallet.accountId) ?? 0n;
    const takenMinor = draw.amountMinor < balanceMinor ? draw.amountMinor : balanceMinor;
    return takenMinor > 0n ? [{ tx, wallet, takenMinor, balanceMinor, invoiceId: draw.invoiceId }] : [];
  });
  await postAll(
    em,
    taking.map(({ tx, wallet, takenMinor, invoiceId }) => ({
      tx,
      movement: {
        type: 'wallet_payment',
        currency: wallet.currency,
        referenceId: invoiceId,
        postings: movements.payByWallet(takenMinor),
      },
    })),
  );
  for (const { tx, wallet, takenMinor, balanceMinor, invoiceId } of taking) {
    wallet.rechargeDueAt ??= tx.now;
    tx.emit({
      type: 'wallet.drawn_down',
      data: {
        ...presentWallet({ wallet, balanceMinor: balanceMinor - takenMinor }),
        invoice_id: publicId('invoice', invoiceId),
      },
    });
  }
  return new Map(taking.map(({ tx, takenMinor }) => [tx.accountId, takenMinor]));
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
