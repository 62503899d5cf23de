import type { EntityManager } from '@mikro-orm/postgresql';
import type { Period } from '../domain/period.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { freshWindows, type GrantedTerms } from './freshWindows.js';
import { usageLine } from './rateWindow.js';
import { UsageWindow } from './usage.entity.js';
import { changedWindow, endedLine, endWindows, withoutWindow } from './windows.js';

// What usage would add to an invoice, from counters that may still move: what previews show. Changes nothing.

/** The lines that `closeWindows` would return, from counters that may still move: what a preview shows. */
export async function usageSoFar(
  em: EntityManager,
  { accountId, subscriptionId, at }: { accountId: string; subscriptionId: string; at: Date },
): Promise<LineDraft[]> {
  const windows = await em.find(
    UsageWindow,
    { accountId, subscriptionId, closedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  return (await endWindows(em, windows, at)).flatMap(endedLine);
}

/** What a change does to the windows before they are billed. */
export interface WindowsAfter extends GrantedTerms {
  period: Period;
  /** When it takes effect. */
  at: Date;
  /** The open windows go on under these features (a change of plan); else all begin afresh (a first period, a pause's end). */
  goOn: boolean;
  subscriptionId: string | null;
}

/** What the account's windows would bill at the end of their period with the usage so far; undefined `after`: as they are. */
export async function usageToBill(
  em: EntityManager,
  { accountId, currency, after }: { accountId: string; currency: string; after?: WindowsAfter | undefined },
): Promise<LineDraft[]> {
  const windows = await em.find(
    UsageWindow,
    { accountId, closedAt: null },
    { disableIdentityMap: true, orderBy: { id: 'asc' } },
  );
  if (!after) return windows.flatMap(usageLine);
  const { features, goOn, subscriptionId } = after;
  const going = goOn ? windows : [];
  const moved = await Promise.all(
    going.map(async (window) => ({ ...window, ...(await changedWindow(em, window, after)) })),
  );
  const unknown = withoutWindow(features, going);
  const fresh = await freshWindows(em, { ...after, accountId, subscriptionId, features: unknown, currency });
  return [...moved, ...fresh].flatMap(usageLine);
}
