import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { burn } from '../domain/grants.js';
import { movements } from '../domain/ledger.js';
import type { Tx } from '../platform/db.js';
import { publicId } from '../platform/ids.js';
import { creditWallet } from './creditWallet.js';
import { balanceOfGrants, openGrants, taken } from './grants.js';
import { postAll } from './ledger.js';
import { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lookAgain } from './wallets.js';

/** What an invoice asks of its account's wallet. */
export interface Draw {
  amountMinor: bigint;
  invoiceId: string;
}

/**
 * Pays (part of) an invoice from the wallet: at most `amountMinor`, at most what is there and not held, grant after grant in
 * the order of `burn`. Returns what it took.
 */
export async function drawDown(tx: Tx, draw: Draw): Promise<bigint> {
  return (await drawDownAll(tx.em, [{ tx, draw }])).get(tx.accountId) ?? 0n;
}

/**
 * The same for many accounts, one draw each; returns what it took, by account. A statement for each kind of row, whatever the
 * number of accounts.
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
  const grants = await openGrants(
    em,
    wallets.map(({ accountId }) => accountId),
  );
  const taking = wallets.flatMap((wallet) => {
    const { tx, draw } = draws.find((d) => d.tx.accountId === wallet.accountId)!;
    const own = grants.get(wallet.accountId) ?? [];
    const parts = burn(own, draw.amountMinor);
    const takenMinor = parts.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
    if (takenMinor === 0n) return [];
    const balanceMinor = balanceOfGrants(own) - takenMinor;
    return [{ tx, wallet, parts, takenMinor, balanceMinor, invoiceId: draw.invoiceId }];
  });
  await postAll(
    em,
    taking.map(({ tx, wallet, parts, takenMinor, invoiceId }) => ({
      tx,
      movement: {
        type: 'wallet_payment',
        currency: wallet.currency,
        referenceId: invoiceId,
        postings: movements.payByWallet(takenMinor),
        grants: { changes: taken(parts) },
      },
    })),
  );
  for (const { tx, wallet, balanceMinor, invoiceId } of taking) {
    lookAgain(wallet, tx.now);
    tx.emit({
      type: 'wallet.drawn_down',
      data: { ...presentWallet({ wallet, balanceMinor }), invoice_id: publicId('invoice', invoiceId) },
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
  const { wallet, balanceMinor } = await creditWallet(tx, {
    type: 'credit',
    postings: movements.grantCredit(amountMinor, taxMinor),
    grant: { kind: 'granted', amountMinor, referenceId },
  });
  tx.emit({ type: 'wallet.credited', data: presentWallet({ wallet, balanceMinor }) });
}
