import { BillingError, invalid } from '../domain/errors.js';
import { burn } from '../domain/grants.js';
import { type Money, majorUnits } from '../domain/money.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { insertAll } from '../platform/insertAll.js';
import { changeGrants, openGrants } from './grants.js';
import { WalletHold, WalletHoldPart } from './wallet.entity.js';
import { presentHold } from './wallet.present.js';
import { checkWalletAmount, lockWallet, lookAgain, walletAmounts } from './wallets.js';

export interface CreateHoldInput {
  idempotencyKey?: string | undefined;
  amount: Money;
  /** What the credit is kept for, as its owner reads it. */
  description: string;
  /** Default: in seven days. */
  expiresAt?: Date | undefined;
}

export interface HoldAnswer {
  holdId: string;
  replayed: boolean;
}

const dayMs = 86_400_000;
/** How long a hold lasts without an end of its own, and at most. */
const [usualMs, longestMs] = [7 * dayMs, 90 * dayMs];
const longestDescription = 500;

/**
 * Keeps credit for work in progress: nothing else can spend it until the hold is captured, released, or expires. It keeps it out of
 * the grants that would be spent now. INSUFFICIENT_BALANCE when it is more than what is available: usage that is not yet invoiced
 * and other holds come first.
 */
export async function createHold(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: CreateHoldInput,
): Promise<HoldAnswer> {
  requireScope(actor, 'wallet:write');
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const { em, now } = tx;
    const { answer, replayed } = await claimKey(tx, {
      operation: 'createHold',
      key: idempotencyKey,
      input,
      answer: { holdId: newId() },
    });
    const { holdId } = answer;
    if (replayed) return { holdId, replayed };
    const wallet = await lockWallet(tx);
    const { currency } = wallet;
    checkWalletAmount(input.amount, currency);
    const description = descriptionOf(input);
    const expiresAt = endOf(input, now);
    const amountMinor = input.amount.minorUnits;
    const { availableMinor } = await walletAmounts(em, wallet);
    if (amountMinor > availableMinor) {
      const [wanted, there] = [amountMinor, availableMinor].map((minorUnits) => majorUnits({ minorUnits, currency }));
      throw new BillingError('INSUFFICIENT_BALANCE', `${wanted} ${currency} to hold, but ${there} is available`, {
        field: ['amount'],
      });
    }

    const parts = burn((await openGrants(em, [accountId])).get(accountId) ?? [], amountMinor);
    await changeGrants(
      em,
      parts.map((part) => ({ grantId: part.grantId, amountMinor: 0n, heldMinor: part.amountMinor, accountId, now })),
    );
    const hold = em.create(WalletHold, {
      accountId,
      id: holdId,
      status: 'OPEN',
      currency,
      amountMinor,
      capturedMinor: 0n,
      description,
      expiresAt,
      expiryDueAt: expiresAt,
      createdAt: now,
      endedAt: null,
    });
    await em.flush();
    await insertAll(
      em,
      WalletHoldPart,
      parts.map((part) => ({ ...part, accountId, id: newId(), holdId })),
    );
    lookAgain(wallet, now);
    tx.emit({ type: 'wallet.hold_created', data: presentHold(hold) });
    return { holdId, replayed };
  });
}

function descriptionOf({ description }: CreateHoldInput): string {
  const text = description.trim();
  if (text.length === 0 || text.length > longestDescription)
    throw invalid(`description has ${text.length} characters, expected 1 to ${longestDescription}`, 'description');
  return text;
}

function endOf({ expiresAt }: CreateHoldInput, now: Date): Date {
  if (expiresAt === undefined) return new Date(now.getTime() + usualMs);
  const latest = new Date(now.getTime() + longestMs);
  if (!(expiresAt > now && expiresAt <= latest)) {
    const found = Number.isNaN(expiresAt.getTime()) ? 'no instant' : expiresAt.toISOString();
    throw invalid(
      `expiresAt is ${found}, expected a time after ${now.toISOString()} and at most ${longestMs / dayMs} days later`,
      'expiresAt',
    );
  }
  return expiresAt;
}
