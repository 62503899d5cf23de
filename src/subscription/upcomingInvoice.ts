import type { EntityManager } from '@mikro-orm/postgresql';
import type { Account } from '../account/account.entity.js';
import type { Plan, PlanFeature } from '../catalog/plan.entity.js';
import type { Period } from '../domain/period.js';
import { type BillingContext, billingContext } from '../invoice/billingContext.js';
import { decideInvoice, lineRow } from '../invoice/decideInvoice.js';
import { type DraftInvoice, draftView } from '../invoice/invoice.resolver.js';
import { type LineDraft, unfunded } from '../invoice/issueInvoice.js';
import { newId } from '../platform/ids.js';
import { usageToBill } from '../usage/windows.js';
import { feeLine, nextPeriod } from './decide.js';

/**
 * The renewal that follows the current period, as it would be with the usage so far: a draft that is stored nowhere.
 * `plan` is the one of the next period; null when the subscription ends, then only usage is left to bill. `features` are
 * those of a plan that takes over at once, which rates the whole period's usage; undefined: the windows' own terms hold.
 */
export async function upcomingInvoice(
  em: EntityManager,
  {
    account,
    plan,
    anchor,
    period,
    features,
    context,
  }: {
    account: Account;
    plan: Plan | null;
    anchor: Date;
    period: Period;
    features?: readonly PlanFeature[] | undefined;
    /** What it depends on, where a change comes before it; undefined: as it is now. */
    context?: BillingContext | undefined;
  },
): Promise<DraftInvoice | null> {
  const usage = await usageToBill(em, { accountId: account.id, under: features && { features, period } });
  const next = plan && nextPeriod({ plan, anchor, period, timeZone: account.timeZone });
  const lines = plan && next ? [...usage, feeLine(plan, next)] : usage;
  if (lines.length === 0) return null;
  const of = context ?? (await billingContext(em, account.id));
  return draftOf(of, lines, { period: next ?? period, issuedAt: period.end });
}

function draftOf(
  context: BillingContext,
  lines: readonly LineDraft[],
  { period, issuedAt }: { period: Period; issuedAt: Date },
): DraftInvoice {
  const draft = { id: newId(), reason: 'subscription_cycle' as const, subscriptionId: null, period, lines };
  const decided = decideInvoice(draft, unfunded(context), issuedAt);
  Object.assign(decided.invoice, { issuedAt, dueAt: issuedAt, nextPaymentAttemptAt: issuedAt });
  return draftView(decided);
}

/** A line of a quote in the shape of a stored one, before coupons. */
export const draftLine = (
  line: LineDraft,
  { account, invoiceId, position }: { account: Pick<Account, 'id' | 'currency'>; invoiceId: string; position: number },
): DraftInvoice['draftLines'][number] => ({
  ...lineRow(line, { accountId: account.id, invoiceId, position }),
  currency: account.currency,
});
