import { Account } from '../account/account.entity.js';
import type { UsageWindow, WindowChange } from '../domain/usage.js';
import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import { presentThreshold } from './usage.present.js';

/** What of a change of counters is told, and what a look at the wallet may follow from. */
export type Announced = Pick<WindowChange, 'windowId' | 'used' | 'crossed' | 'cleared'>;

/** Events for the thresholds that were crossed, a hint for the live summaries, and a look at the wallet where usage costs. */
export async function announceUsage(
  tx: Tx,
  windows: readonly UsageWindow[],
  changes: readonly Announced[],
): Promise<void> {
  tx.touchUsage();
  const changed = changes.map((change) => ({ change, window: windows.find((w) => w.id === change.windowId)! }));
  if (changed.some(({ change }) => change.crossed.length + change.cleared.length > 0)) {
    const { timeZone } = await tx.em.findOneOrFail(Account, { id: tx.accountId });
    for (const { change, window } of changed) {
      const of = { window, used: change.used, timeZone };
      for (const percent of change.crossed)
        tx.emit({ type: 'usage.threshold', data: presentThreshold({ ...of, percent }) });
      for (const percent of change.cleared)
        tx.emit({ type: 'usage.threshold_cleared', data: presentThreshold({ ...of, percent }) });
    }
  }
  const costs = changed.some(
    ({ change, window }) =>
      window.overage === 'CHARGE' && (window.limit === null || change.used.greaterThan(window.limit)),
  );
  if (costs) {
    await rowsOf(
      tx.em,
      // A due time that has passed is one that a recharge is just looking at: wait for it, and ask for another look.
      sql`update wallet set recharge_due_at = ${tx.now}
          where account_id = ${tx.accountId} and auto_recharge_enabled
            and (recharge_due_at is null or recharge_due_at <= ${tx.now})`,
    );
  }
}
