import { LockMode } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { Money } from '../domain/money.js';
import { type ChargeOutcome, ProviderMisuse, ProviderUnavailable } from '../integrations/payments/provider.js';
import { accountNow } from '../platform/clock.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { rowsOf, sql } from '../platform/sql.js';
import { callProvider, providerDeadlineMs } from './callProvider.js';
import { Payment, PaymentCustomer, PaymentMethod } from './payment.entity.js';

/** How long a charge may stay unknown before the sweep asks the provider; longer than any call to it lasts. */
export const reconcileAfterMs = 30_000;

/** At this age a refund is no longer sent: it could not end before the sweep asks for it. */
export const latestStartMs = reconcileAfterMs - providerDeadlineMs;

/** How long before its sweep a payment may still be kept from it: far more than the clocks of two processes differ. */
const keepMarginMs = 15_000;

/** Decline codes of our own, for payments given up without the provider's word: it may still say otherwise. */
export const givenUpCodes = { neverArrived: 'provider_unreachable', abandoned: 'authentication_required' } as const;

/** Age at which a payment that was given up is no longer asked for. */
const askUntilMs = 7 * 86_400_000;

export interface PaymentIntent {
  id: string;
  purpose: Payment['purpose'];
  subjectId: string;
  amount: Money;
  paymentMethodId: string;
  description: string;
}

/** Writes the intent to move money, with the key the call to the provider will bear. The call comes after the commit. */
export function intendPayment(tx: Tx, intent: PaymentIntent): Payment {
  const { id, purpose, subjectId, amount, paymentMethodId, description } = intent;
  return tx.em.create(Payment, {
    accountId: tx.accountId,
    id,
    purpose,
    subjectId,
    amountMinor: amount.minorUnits,
    currency: amount.currency,
    status: 'PENDING',
    paymentMethodId,
    description,
    providerKey: `pay-${id}`,
    createdAt: tx.now,
    reconcileAt: new Date(tx.now.getTime() + reconcileAfterMs),
  });
}

/**
 * Asks the provider to move the money of an intent; no transaction is open. `undefined`: the outcome is unknown, or the
 * payment is not to be sent (any more), and the sweep will ask. The same payment asked twice is charged once, by its key.
 */
export async function chargePayment(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, paymentId }: { accountId: string; paymentId: string },
): Promise<ChargeOutcome | undefined> {
  const em = deps.db.orm.em.fork();
  const payment = await em.findOneOrFail(Payment, { accountId, id: paymentId });
  // A process that slept past the sweep must not move money that somebody was told has not moved.
  const now = await accountNow(em, deps.clock, accountId);
  const leftMs = (payment.reconcileAt?.getTime() ?? 0) - now.getTime();
  if (payment.status !== 'PENDING' || leftMs < providerDeadlineMs) return undefined;
  const method = await em.findOneOrFail(PaymentMethod, { accountId, id: payment.paymentMethodId });
  const customer = await em.findOneOrFail(PaymentCustomer, { accountId, provider: deps.payments.name });
  if (method.methodRef == null) throw new Error(`payment method ${method.id} was never attached`);
  try {
    return await callProvider(
      deps.payments.charge({
        key: payment.providerKey,
        accountId,
        paymentId,
        customerRef: customer.customerRef,
        methodRef: method.methodRef,
        amount: { minorUnits: payment.amountMinor, currency: payment.currency },
        description: payment.description,
      }),
    );
  } catch (error) {
    if (error instanceof ProviderMisuse) {
      deps.log.error({ err: error, paymentId }, 'the payment provider refused a charge as malformed');
      return { status: 'declined', chargeRef: '', declineCode: 'invalid_request', message: error.message };
    }
    if (!(error instanceof ProviderUnavailable)) throw error;
    deps.log.warn({ err: error, paymentId }, 'the payment provider gave no answer; the payment will be settled later');
    return undefined;
  }
}

/**
 * Keeps intended payments that wait for their turn from the sweep, which would take them for lost: it asks for them so much
 * later. One that is so old that a sweep may be at it stays as it is.
 */
export async function keepFromSweep(
  { db, clock }: Pick<Deps, 'db' | 'clock'>,
  payments: readonly { accountId: string; paymentId: string }[],
): Promise<void> {
  const now = clock.now().getTime();
  await rowsOf(
    db.orm.em.fork(),
    sql`update payment set reconcile_at = ${new Date(now + reconcileAfterMs)}
        from unnest(${payments.map((p) => p.accountId)}::uuid[], ${payments.map((p) => p.paymentId)}::uuid[]) as kept (account_id, id)
        where payment.account_id = kept.account_id and payment.id = kept.id and payment.status = 'PENDING'
          and payment.reconcile_at >= ${new Date(now + keepMarginMs)}`,
  );
}

/** A payment whose outcome was written, and the state it had before. */
export interface Settled {
  payment: Payment;
  before: Payment['status'];
}

/**
 * Writes a charge's outcome on its payment, once. `undefined` when there is nothing left to do: it was settled before,
 * whoever settled it. REQUIRES_ACTION is not an end, and neither is FAILED when the provider says that money has moved.
 */
export async function settlePayment(
  tx: Tx,
  { paymentId, outcome }: { paymentId: string; outcome: ChargeOutcome },
): Promise<Settled | undefined> {
  const payment = await tx.em.findOneOrFail(
    Payment,
    { accountId: tx.accountId, id: paymentId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  const before = payment.status;
  if (before === 'FAILED' && outcome.status !== 'succeeded') {
    payment.reconcileAt = payment.reconcileAt && isGivenUp(outcome) ? askAgainAt(payment, tx.now) : null;
    return undefined;
  }
  const settles =
    before === 'PENDING' ||
    before === 'FAILED' ||
    (before === 'REQUIRES_ACTION' && outcome.status !== 'requires_action');
  if (!settles) return undefined;
  payment.chargeRef = outcome.chargeRef || payment.chargeRef || '';
  payment.clientSecret = outcome.status === 'requires_action' ? outcome.clientSecret : null;
  if (outcome.status === 'requires_action') {
    payment.status = 'REQUIRES_ACTION';
    payment.reconcileAt = new Date(tx.now.getTime() + reconcileAfterMs);
    return { payment, before };
  }
  payment.status = outcome.status === 'succeeded' ? 'SUCCEEDED' : 'FAILED';
  payment.declineCode = outcome.status === 'declined' ? outcome.declineCode : null;
  payment.failureMessage = outcome.status === 'declined' ? outcome.message : null;
  payment.settledAt = tx.now;
  payment.reconcileAt = isGivenUp(outcome) ? askAgainAt(payment, tx.now) : null;
  return { payment, before };
}

const isGivenUp = (outcome: ChargeOutcome): boolean =>
  outcome.status === 'requires_action' ||
  (outcome.status === 'declined' && Object.values<string>(givenUpCodes).includes(outcome.declineCode));

/** A confirmation whose notice was lost is found within this. */
const maxWaitMs = 5 * 60_000;

/** When to ask again for what the provider, or the card's holder, is still at: an old one is asked for less often. */
export function askWhileOpenAt({ createdAt }: { createdAt: Date }, now: Date): Date {
  const ageMs = now.getTime() - createdAt.getTime();
  return new Date(now.getTime() + Math.min(maxWaitMs, Math.max(reconcileAfterMs, ageMs / 2)));
}

/** At twice its age, so that the questions grow rare; null when it is too old. */
export function askAgainAt({ createdAt }: { createdAt: Date }, now: Date): Date | null {
  const ageMs = Math.max(reconcileAfterMs, now.getTime() - createdAt.getTime());
  return ageMs < askUntilMs ? new Date(now.getTime() + ageMs) : null;
}

/** What the caller of a paying operation is told about its payment; `undefined` when the money has moved. */
export function paymentError(payment: Payment): BillingError | undefined {
  switch (payment.status) {
    case 'FAILED':
      return new BillingError('PAYMENT_DECLINED', payment.failureMessage ?? 'The payment was declined', {
        ...(payment.declineCode ? { declineCode: payment.declineCode } : {}),
        field: ['paymentMethodId'],
        retryable: true,
      });
    case 'REQUIRES_ACTION':
      return new BillingError('REQUIRES_ACTION', 'The card asks its holder to confirm the payment (3-D Secure)', {
        ...(payment.clientSecret ? { clientSecret: payment.clientSecret } : {}),
        field: ['paymentMethodId'],
      });
    case 'PENDING':
      return new BillingError(
        'UNAVAILABLE',
        'The payment provider has not answered yet; the payment is settled as soon as it does',
        {
          retryable: true,
          retryAfterSeconds: 30,
        },
      );
    default:
      return undefined;
  }
}
