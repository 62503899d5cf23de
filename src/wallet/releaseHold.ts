import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { uuidOf } from '../platform/ids.js';
import type { HoldAnswer } from './createHold.js';
import { endHold, lockOpenHold } from './holds.js';

export interface ReleaseHoldInput {
  idempotencyKey?: string | undefined;
  holdId: string;
}

/** Gives up what a hold keeps: all of it is free again. ILLEGAL_STATE when it has ended, or its time has passed. */
export async function releaseHold(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: ReleaseHoldInput,
): Promise<HoldAnswer> {
  requireScope(actor, 'wallet:write');
  return transact(deps, actor.accountId, async (tx) => {
    const { replayed } = await claimKey(tx, { operation: 'releaseHold', key: idempotencyKey, input, answer: {} });
    if (!replayed) await endHold(tx, await lockOpenHold(tx, input.holdId), { status: 'RELEASED' });
    return { holdId: uuidOf('hold', input.holdId)!, replayed };
  });
}
