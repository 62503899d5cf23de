import { createHold } from '../../src/wallet/createHold.js';
import { type GiveCreditInput, giveCredit } from '../../src/wallet/giveCredit.js';
import { WalletGrant, WalletHold } from '../../src/wallet/wallet.entity.js';
import { walletView } from '../../src/wallet/wallets.js';
import { freshKey, usd } from './billing.js';
import type { TestAccount, World } from './world.js';

/** Gives credit as an operator; returns the grant's uuid. */
export async function give(
  world: World,
  account: TestAccount,
  amount: string,
  of: Partial<Omit<GiveCreditInput, 'amount'>> = {},
): Promise<string> {
  const input = { idempotencyKey: freshKey(), amount: usd(amount), reason: 'Welcome', ...of };
  return (await giveCredit(world.deps, account.actor, input)).grantId;
}

/** Holds credit; returns the hold's uuid. */
export async function hold(
  world: World,
  account: TestAccount,
  amount: string,
  of: { expiresAt?: Date } = {},
): Promise<string> {
  const input = { idempotencyKey: freshKey(), amount: usd(amount), description: 'A job', ...of };
  return (await createHold(world.deps, account.actor, input)).holdId;
}

export const grantsOf = (world: World, { id }: TestAccount): Promise<WalletGrant[]> =>
  world.deps.db.orm.em.fork().find(WalletGrant, { accountId: id }, { orderBy: { id: 'asc' } });

export const holdsOf = (world: World, { id }: TestAccount): Promise<WalletHold[]> =>
  world.deps.db.orm.em.fork().find(WalletHold, { accountId: id }, { orderBy: { id: 'asc' } });

/** What is left of each grant, in the order in which they came: `granted 300`. */
export const leftOf = async (world: World, account: TestAccount): Promise<string[]> =>
  (await grantsOf(world, account)).map((grant) => `${grant.kind} ${grant.remainingMinor}`);

/** Balance, held and available in major units: `50.00 10.00 40.00`. */
export async function fundsOf(world: World, { id }: TestAccount): Promise<string> {
  const { balanceMinor, heldMinor, availableMinor } = await walletView(world.deps, world.deps.db.orm.em.fork(), id);
  return [balanceMinor, heldMinor, availableMinor].map((minor) => (Number(minor) / 100).toFixed(2)).join(' ');
}
