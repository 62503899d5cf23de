import { sql } from '../../src/platform/sql.js';
import { unsoundOf } from '../../src/verify.js';
import { collectedByCards } from '../../src/wallet/verifyLedger.js';
import type { World } from './world.js';

/** All that `billing ledger verify` asks of an account, and the cards were charged exactly what the ledger says. */
export async function expectSoundLedger(world: World, accountId: string): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  expect(await unsoundOf(em, accountId)).toEqual([]);
  const moved = await world.deps.payments.moved({ accountId });
  expect({ movedByCards: moved.amountMinor }).toEqual({ movedByCards: await collectedByCards(em, accountId) });
}

/** Balance of a ledger account in minor units, e.g. `wallet`; 0 before its first posting. */
export async function balanceOf(world: World, accountId: string, kind: string): Promise<bigint> {
  const [row] = await world.rows(
    sql<{
      balance_minor: string;
    }>`select balance_minor from ledger_account where account_id = ${accountId} and kind = ${kind}`,
  );
  return BigInt(row?.balance_minor ?? 0);
}
