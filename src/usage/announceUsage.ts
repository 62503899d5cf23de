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
  { corrected = false }: { corrected?: boolean } = {},
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
  const charged = changed.filter(({ window }) => window.overage === 'CHARGE');
  const costs = charged.some(({ change, window }) => window.limit === null || change.used.greaterThan(window.limit));
  const falls = corrected || charged.some(({ change, window }) => change.used.lessThan(window.used));
  if (!costs && !(falls && charged.length > 0)) return;
  await rowsOf(
    tx.em,
    // A due time that has passed is one that somebody is just looking at: wait for it, and ask for another look. Usage that
    // falls raises what is available, which a wallet that was low takes note of.
    sql`update wallet set
          recharge_due_at = case when ${costs} and auto_recharge_enabled and (recharge_due_at is null or recharge_due_at <= ${tx.now})
            then ${tx.now} else recharge_due_at end,
          low_due_at = case when is_low or ${costs} and (low_threshold_minor is not null or auto_recharge_enabled)
            then ${tx.now} else low_due_at end
        where account_id = ${tx.accountId} and (is_low or ${costs} and (auto_recharge_enabled or low_threshold_minor is not null))`,
  );
}
