import type { EntityManager } from '@mikro-orm/postgresql';
import type { Account } from '../account/account.entity.js';
import type { Plan } from '../catalog/plan.entity.js';
import { afterStep, dueStep, type Lifecycle } from '../domain/lifecycle.js';
import type { Period } from '../domain/period.js';
import { type BillingContext, billingContext } from '../invoice/billingContext.js';
import { decideInvoice, lineRow } from '../invoice/decideInvoice.js';
import { type DraftInvoice, draftView } from '../invoice/invoice.resolver.js';
import { type LineDraft, unfunded } from '../invoice/issueInvoice.js';
import { newId } from '../platform/ids.js';
import { usageToBill, type WindowsAfter } from '../usage/usageToBill.js';
import { decideArrears, decideRenewal } from './decide.js';

export interface Upcoming {
  account: Account;
  state: Lifecycle<Plan>;
  /** What a change makes of the windows, whose plan then rates the whole period's usage; undefined: they stay as they are. */
  windows?: Omit<WindowsAfter, 'period'> | undefined;
  /** What it depends on, where a change comes before it; undefined: as it is now. */
  context?: BillingContext | undefined;
}

/**
 * The invoice that this state comes to by itself, as it would be with the usage so far: a draft that is stored nowhere.
 * Null when none follows, or when the subscription ends with nothing to bill.
 */
export async function upcomingInvoice(em: EntityManager, of: Upcoming): Promise<DraftInvoice | null> {
  const { account, state } = of;
  const context = async (): Promise<BillingContext> => of.context ?? (await billingContext(em, account.id));
  const step = dueStep(state);
  switch (step?.kind) {
    case undefined:
    case 'expire':
      return null;
    case 'trial_notice':
      return upcomingInvoice(em, { ...of, state: afterStep(state, step) });
    case 'resume': {
      const { state: after, lines } = decideRenewal({ state, step, usage: [] });
      return draftOf(await context(), lines, { period: after.period, issuedAt: step.at });
    }
    case 'end': {
      const lines = decideArrears({ state, usage: await usageOf(em, of) });
      return lines.length === 0 ? null : draftOf(await context(), lines, { period: state.period, issuedAt: step.at });
    }
    case 'renew':
    case 'end_trial': {
      const { state: after, lines } = decideRenewal({ state, step, usage: await usageOf(em, of) });
      return draftOf(await context(), lines, { period: after.period, issuedAt: step.at });
    }
  }
}

const usageOf = (em: EntityManager, { account, state, windows }: Upcoming): Promise<LineDraft[]> =>
  usageToBill(em, {
    accountId: account.id,
    currency: account.currency,
    after: windows && { ...windows, period: state.period, trial: state.status === 'TRIALING' },
  });

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
