import type { EntityManager } from '@mikro-orm/postgresql';
import type { Plan, PlanFeature } from '../catalog/plan.entity.js';
import { currentPlans, featuresByPlanIds } from '../catalog/plans.js';
import { Decimal } from '../domain/decimal.js';
import { majorUnits } from '../domain/money.js';
import type { Payment } from '../payment/payment.entity.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { type RawNumber, rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { UsageProposal } from '../usage/proposals.js';
import type { UsageEventResult } from '../usage/recordUsage.js';
import type { UsageCorrection } from '../usage/usage.entity.js';
import type { LedgerTransaction } from '../wallet/wallet.entity.js';
import type { WebhookAttempt, WebhookDelivery } from '../webhook/webhook.entity.js';

/** Major units with the currency's decimals, as a JSON number: 4900 USD → 49.00. */
const amount = (minorUnits: bigint, currency: string): RawNumber => rawNumber(majorUnits({ minorUnits, currency }));

/** The whole catalog, in its order (integration guide, "List Available Plans"). */
export async function presentCatalog(em: EntityManager, accountId: string): Promise<object[]> {
  const plans: Plan[] = [];
  for (let after: string | undefined; ; after = plans.at(-1)?.code) {
    const { nodes, pageInfo } = await currentPlans(em, { first: 100, after });
    plans.push(...nodes);
    if (!pageInfo.hasNextPage) break;
  }
  const ids = plans.map((plan) => plan.id);
  const features = await featuresByPlanIds(em, accountId, ids);
  return plans.map((plan) => presentPlan(plan, features.get(plan.id) ?? []));
}

function presentPlan(plan: Plan, features: readonly PlanFeature[]) {
  return {
    id: plan.code,
    name: plan.name,
    price: amount(plan.priceMinor, plan.currency),
    currency: plan.currency,
    interval: plan.interval.toLowerCase(),
    // Only where the interval alone would be misread; the guide's plans have none.
    ...(plan.intervalCount === 1 ? {} : { interval_count: plan.intervalCount }),
    features: Object.fromEntries(features.map((feature) => [feature.code, presentLimit(feature)])),
  };
}

/** A feature without a metric is simply there; one without a limit is unlimited. */
function presentLimit({ metricCode, limit }: PlanFeature): true | null | RawNumber {
  if (metricCode == null) return true;
  return limit == null ? null : rawNumber(new Decimal(limit).toFixed());
}

/** A top-up that has succeeded, with the balance it led to. */
export const presentTopUp = (payment: Payment, balanceMinor: bigint) => ({
  id: publicId('payment', payment.id),
  amount: amount(payment.amountMinor, payment.currency),
  currency: payment.currency,
  status: payment.status.toLowerCase(),
  balance: amount(balanceMinor, payment.currency),
  created_at: payment.createdAt.toISOString(),
});

/** A movement of the wallet; what was taken from it is negative. */
export const presentTransaction = (transaction: LedgerTransaction) => ({
  id: publicId('walletTransaction', transaction.id),
  type: transaction.type,
  amount: amount(transaction.walletAmountMinor, transaction.currency),
  currency: transaction.currency,
  balance_after:
    transaction.walletBalanceAfterMinor == null
      ? null
      : amount(transaction.walletBalanceAfterMinor, transaction.currency),
  created_at: transaction.createdAt.toISOString(),
});

export const presentUsageResult = ({ transactionId, status, error }: UsageEventResult) => ({
  transaction_id: transactionId,
  status: status.toLowerCase(),
  ...(error
    ? { error: { code: error.code, message: error.message, field: restFields[error.field.at(-1) ?? ''] ?? null } }
    : {}),
});

/** What the fields of a usage event are called here. */
const restFields: Readonly<Record<string, string>> = {
  transactionId: 'transaction_id',
  accountId: 'account_id',
  metric: 'metric',
  value: 'value',
  timestamp: 'timestamp',
  properties: 'properties',
};

export const presentCorrection = (correction: UsageCorrection) => ({
  transaction_id: correction.transactionId,
  action: correction.action.toLowerCase(),
  before: presentStored(correction.before as StoredContent),
  after: correction.after ? presentStored(correction.after as StoredContent) : null,
  reason: correction.reason ?? null,
  created_at: correction.createdAt.toISOString(),
});

type StoredContent = { value: string };
const presentStored = (content: StoredContent) => ({ ...content, value: rawNumber(content.value) });

/** What a correction means for an invoice that is final. */
export const presentProposal = (proposal: UsageProposal) => {
  const { currency } = proposal;
  const [previous, corrected] = [BigInt(proposal.previousMinor), BigInt(proposal.correctedMinor)];
  return {
    kind: proposal.kind.toLowerCase(),
    metric: proposal.metric,
    invoice_id: proposal.invoiceId && publicId('invoice', proposal.invoiceId),
    invoice_line_id: proposal.invoiceLineId && publicId('invoiceLine', proposal.invoiceLineId),
    currency,
    previous_amount: amount(previous, currency),
    corrected_amount: amount(corrected, currency),
    difference: amount(corrected - previous, currency),
    amount: amount(BigInt(proposal.amountMinor), currency),
  };
};

/** A test has an event that is in no log. */
export const presentDelivery = (delivery: WebhookDelivery, event: Pick<LoggedEvent, 'id' | 'type'> | undefined) => ({
  id: publicId('webhookDelivery', delivery.id),
  event_id: publicId('event', delivery.eventId ?? delivery.id),
  event_type: event?.type ?? null,
  test: delivery.eventId == null,
  status: delivery.status.toLowerCase(),
  attempts: delivery.attempts,
  next_attempt_at: delivery.nextAttemptAt?.toISOString() ?? null,
  response_status: delivery.responseStatus ?? null,
  duration_ms: delivery.durationMs ?? null,
  created_at: delivery.createdAt.toISOString(),
});

/** A line of a delivery's log. */
export const presentAttempt = (attempt: WebhookAttempt) => ({
  attempted_at: attempt.attemptedAt.toISOString(),
  response_status: attempt.responseStatus ?? null,
  duration_ms: attempt.durationMs,
  response_excerpt: attempt.responseExcerpt,
  error: attempt.error ?? null,
});

/** An event of the log; `sequence` is the `after` that continues behind it. */
export const presentEvent = (event: LoggedEvent) => ({
  id: publicId('event', event.id),
  type: event.type,
  sequence: Number(event.seq),
  timestamp: event.occurredAt.toISOString(),
  data: event.data,
});
