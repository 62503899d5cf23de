import type { EntityManager } from '@mikro-orm/postgresql';
import type { Account } from '../account/account.entity.js';
import type { Plan, PlanFeature } from '../catalog/plan.entity.js';
import { invoiceTotals } from '../domain/invoiceTotals.js';
import { afterStep, dueStep, type Lifecycle } from '../domain/lifecycle.js';
import type { Period } from '../domain/period.js';
import type { DraftInvoice } from '../invoice/invoice.resolver.js';
import type { LineDraft } from '../invoice/issueInvoice.js';
import { newId } from '../platform/ids.js';
import { usageToBill } from '../usage/windows.js';
import { decideArrears, decideRenewal } from './decide.js';

/**
 * The invoice that this state comes to by itself, as it would be with the usage so far: a draft that is stored nowhere.
 * Null when none follows, or when the subscription ends with nothing to bill. `features` are those of a plan that takes
 * over at once, which rates the whole period's usage; undefined: the windows' own terms hold.
 */
export async function upcomingInvoice(
  em: EntityManager,
  {
    account,
    state,
    features,
  }: { account: Account; state: Lifecycle<Plan>; features?: readonly PlanFeature[] | undefined },
): Promise<DraftInvoice | null> {
  const step = dueStep(state);
  switch (step?.kind) {
    case undefined:
    case 'expire':
      return null;
    case 'trial_notice':
      return upcomingInvoice(em, { account, state: afterStep(state, step), features });
    case 'resume': {
      const { state: after, lines } = decideRenewal({ state, step, usage: [] });
      return draftOf(account, lines, after.period, step.at);
    }
    case 'end': {
      const lines = decideArrears({ state, usage: await usageOf(em, { account, state, features }) });
      return lines.length === 0 ? null : draftOf(account, lines, state.period, step.at);
    }
    case 'renew':
    case 'end_trial': {
      const usage = await usageOf(em, { account, state, features });
      const { state: after, lines } = decideRenewal({ state, step, usage });
      return draftOf(account, lines, after.period, step.at);
    }
  }
}

const usageOf = (
  em: EntityManager,
  {
    account,
    state,
    features,
  }: { account: Account; state: Lifecycle<Plan>; features: readonly PlanFeature[] | undefined },
): Promise<LineDraft[]> =>
  usageToBill(em, { accountId: account.id, under: features && { features, period: state.period } });

function draftOf(account: Account, lines: readonly LineDraft[], period: Period, issuedAt: Date): DraftInvoice {
  const totals = invoiceTotals({ lines, walletAvailableMinor: 0n });
  const invoiceId = newId();
  return {
    accountId: account.id,
    id: invoiceId,
    number: null,
    subscriptionId: null,
    paidAt: null,
    firstAttemptAt: null,
    nextPaymentAttemptAt: issuedAt,
    status: 'DRAFT',
    reason: 'subscription_cycle',
    customerName: account.name,
    timeZone: account.timeZone,
    currency: account.currency,
    periodStart: period.start,
    periodEnd: period.end,
    issuedAt,
    dueAt: issuedAt,
    subtotalMinor: totals.subtotalMinor,
    discountMinor: totals.discountMinor,
    finalizeAt: null,
    discounts: [],
    taxes: [],
    taxExempt: account.taxExempt,
    creditNotedMinor: 0n,
    taxMinor: totals.taxMinor,
    totalMinor: totals.totalMinor,
    creditAppliedMinor: 0n,
    walletAppliedMinor: 0n,
    amountPaidMinor: 0n,
    amountDueMinor: totals.amountDueMinor,
    failedAttempts: 0,
    createdAt: issuedAt,
    draftLines: lines.map((line, position) => draftLine(line, { account, invoiceId, position })),
  };
}

/** A line of a quote or draft in the shape of a stored one. */
export const draftLine = (
  line: LineDraft,
  { account, invoiceId, position }: { account: Pick<Account, 'id' | 'currency'>; invoiceId: string; position: number },
): DraftInvoice['draftLines'][number] => ({
  accountId: account.id,
  id: newId(),
  invoiceId,
  position,
  description: line.description,
  periodStart: line.period?.start ?? null,
  periodEnd: line.period?.end ?? null,
  quantity: line.quantity.toFixed(),
  unitAmount: line.unitAmount?.toFixed() ?? null,
  amountMinor: line.amountMinor,
  discountMinor: 0n,
  kind: line.kind,
  planCode: line.planCode ?? null,
  metricCode: line.metricCode ?? null,
  windowId: line.windowId ?? null,
  itemId: line.itemId ?? null,
  proration: line.proration,
  explanation: line.explanation,
  currency: account.currency,
});
