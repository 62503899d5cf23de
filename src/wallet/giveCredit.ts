import { invalid } from '../domain/errors.js';
import { grantPriority } from '../domain/grants.js';
import { movements } from '../domain/ledger.js';
import type { Money } from '../domain/money.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { creditWallet } from './creditWallet.js';
import { WalletGrant } from './wallet.entity.js';
import { presentGrant, presentWallet } from './wallet.present.js';
import { checkWalletAmount, lockWallet } from './wallets.js';

export interface GiveCreditInput {
  idempotencyKey?: string | undefined;
  amount: Money;
  /** Why, as its owner reads it. */
  reason: string;
  /** Undefined: never. */
  expiresAt?: Date | undefined;
  /** 0 to 100, the lower number is spent first; default 50. */
  priority?: number | undefined;
}

const longestReason = 500;
/** How far ahead credit may expire; what shall last longer never expires. */
const maxYears = 10;

/** Gives credit that costs its owner nothing, as a grant of its own. For operators only. */
export async function giveCredit(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: GiveCreditInput,
): Promise<{ grantId: string; replayed: boolean }> {
  requireScope(actor, 'wallet:write');
  requireOperator(actor);
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const { answer, replayed } = await claimKey(tx, {
      operation: 'grantCredit',
      key: idempotencyKey,
      input,
      answer: { grantId: newId() },
    });
    const { grantId } = answer;
    if (replayed) return { grantId, replayed };
    const locked = await lockWallet(tx);
    checkWalletAmount(input.amount, locked.currency);
    checkTerms(tx, input);
    const { wallet, balanceMinor } = await creditWallet(tx, {
      locked,
      type: 'credit_granted',
      postings: movements.grantCredit(input.amount.minorUnits),
      grant: {
        id: grantId,
        kind: 'granted',
        amountMinor: input.amount.minorUnits,
        referenceId: grantId,
        priority: input.priority,
        expiresAt: input.expiresAt,
        reason: input.reason.trim(),
      },
    });
    const grant = await tx.em.findOneOrFail(WalletGrant, { accountId, id: grantId });
    tx.emit({
      type: 'wallet.credited',
      data: { ...presentWallet({ wallet, balanceMinor }), grant: presentGrant(grant) },
    });
    return { grantId, replayed };
  });
}

function checkTerms({ now }: Tx, { reason, priority, expiresAt }: GiveCreditInput): void {
  const { length } = reason.trim();
  if (length === 0 || length > longestReason)
    throw invalid(`reason has ${length} characters, expected 1 to ${longestReason}`, 'reason');
  const { min, max } = grantPriority;
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= min && priority <= max))
    throw invalid(`priority is ${priority}, expected a whole number from ${min} to ${max}`, 'priority');
  if (expiresAt === undefined) return;
  const latest = new Date(now);
  latest.setUTCFullYear(latest.getUTCFullYear() + maxYears);
  if (!(expiresAt > now && expiresAt <= latest)) {
    const found = Number.isNaN(expiresAt.getTime()) ? 'no instant' : expiresAt.toISOString();
    throw invalid(
      `expiresAt is ${found}, expected a time after ${now.toISOString()} and at most ${maxYears} years later`,
      'expiresAt',
    );
  }
}
