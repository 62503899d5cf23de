import { lockAccounts } from '../account/lockAccount.js';
import { invalid } from '../domain/errors.js';
import { type Money, majorUnits } from '../domain/money.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import type { HoldAnswer } from './createHold.js';
import { endHold, lockOpenHold } from './holds.js';

export interface CaptureHoldInput {
  idempotencyKey?: string | undefined;
  holdId: string;
  /** Undefined: all of it. */
  amount?: Money | undefined;
}

/**
 * Takes (part of) what a hold keeps: the work is done, and the wallet has paid it. A hold is captured once; what is not captured
 * then is free again. ILLEGAL_STATE when it has ended, or its time has passed.
 */
export async function captureHold(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: CaptureHoldInput,
): Promise<HoldAnswer> {
  requireScope(actor, 'wallet:write');
  return transact(deps, actor.accountId, async (tx) => {
    const { replayed } = await claimKey(tx, { operation: 'captureHold', key: idempotencyKey, input, answer: {} });
    if (replayed) return { holdId: uuidOf('hold', input.holdId)!, replayed };
    await lockAccounts(tx.em, [actor.accountId]);
    const locked = await lockOpenHold(tx, input.holdId);
    const { id: holdId, currency, amountMinor } = locked.hold;
    const found = input.amount ?? { minorUnits: amountMinor, currency };
    if (found.currency !== currency)
      throw invalid(`The hold is in ${currency}, found an amount in ${found.currency}`, 'amount', 'currency');
    if (found.minorUnits <= 0n || found.minorUnits > amountMinor) {
      const most = majorUnits({ minorUnits: amountMinor, currency });
      throw invalid(`amount is ${majorUnits(found)}, expected more than 0 and at most the ${most} held`, 'amount');
    }
    await endHold(tx, locked, { status: 'CAPTURED', capturedMinor: found.minorUnits });
    return { holdId, replayed };
  });
}
