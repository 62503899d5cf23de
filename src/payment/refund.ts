import { LockMode } from '@mikro-orm/postgresql';
import { ProviderMisuse, ProviderUnavailable, type RefundOutcome } from '../integrations/payments/provider.js';
import { accountNow } from '../platform/clock.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { callProvider } from './callProvider.js';
import { askAgainAt, givenUpCodes, latestStartMs, reconcileAfterMs } from './charge.js';
import { Payment, Refund } from './payment.entity.js';

/** Writes the intent to give (part of) a payment back, with the key the call to the provider will bear. */
export function intendRefund(
  tx: Tx,
  {
    id = newId(),
    payment,
    ...of
  }: { id?: string; payment: Payment; purpose: Refund['purpose']; subjectId: string; amountMinor: bigint },
): Refund {
  return tx.em.create(Refund, {
    accountId: tx.accountId,
    id,
    ...of,
    paymentId: payment.id,
    currency: payment.currency,
    status: 'PENDING',
    providerKey: `refund-${id}`,
    createdAt: tx.now,
    reconcileAt: new Date(tx.now.getTime() + reconcileAfterMs),
  });
}

/**
 * Asks the provider to give the money of an intent back; no transaction is open. `undefined`: the outcome is unknown, or the
 * refund is not to be sent (any more), and the sweep will ask. The same refund asked twice moves money once, by its key.
 */
export async function sendRefund(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  { accountId, refundId }: { accountId: string; refundId: string },
): Promise<RefundOutcome | undefined> {
  const em = deps.db.orm.em.fork();
  const refund = await em.findOneOrFail(Refund, { accountId, id: refundId });
  // A process that slept past the sweep must not move money that has become the customer's credit meanwhile.
  const ageMs = (await accountNow(em, deps.clock, accountId)).getTime() - refund.createdAt.getTime();
  if (refund.status !== 'PENDING' || ageMs > latestStartMs) return undefined;
  const payment = await em.findOneOrFail(Payment, { accountId, id: refund.paymentId });
  try {
    return await callProvider(
      deps.payments.refund({
        key: refund.providerKey,
        accountId,
        refundId,
        chargeRef: payment.chargeRef ?? '',
        amount: { minorUnits: refund.amountMinor, currency: refund.currency },
      }),
    );
  } catch (error) {
    if (error instanceof ProviderMisuse) {
      deps.log.error({ err: error, refundId }, 'the payment provider refused a refund as malformed');
      return { status: 'failed', refundRef: '', failureCode: 'invalid_request' };
    }
    if (!(error instanceof ProviderUnavailable)) throw error;
    deps.log.warn({ err: error, refundId }, 'the payment provider gave no answer; the refund will be settled later');
    return undefined;
  }
}

/** A refund whose outcome was written, and the state it had before. */
export interface SettledRefund {
  refund: Refund;
  before: Refund['status'];
}

/**
 * Writes a refund's outcome, once; a payment that has wholly gone back becomes REFUNDED. `undefined` when there is nothing left
 * to do. FAILED is not an end when the provider says that the money has gone back after all, nor SUCCEEDED when the bank has
 * sent it back, as it does days later when the card's account is closed.
 */
export async function settleRefund(
  tx: Tx,
  { refundId, outcome }: { refundId: string; outcome: RefundOutcome },
): Promise<SettledRefund | undefined> {
  const refund = await tx.em.findOneOrFail(
    Refund,
    { accountId: tx.accountId, id: refundId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  const before = refund.status;
  const isGivenUp = outcome.status === 'failed' && outcome.failureCode === givenUpCodes.neverArrived;
  const isReturned = before === 'SUCCEEDED' && outcome.status === 'failed' && !isGivenUp;
  if ((before === 'SUCCEEDED' && !isReturned) || (before === 'FAILED' && outcome.status === 'failed')) {
    refund.reconcileAt = before === 'FAILED' && refund.reconcileAt && isGivenUp ? askAgainAt(refund, tx.now) : null;
    return undefined;
  }
  refund.status = outcome.status === 'succeeded' ? 'SUCCEEDED' : 'FAILED';
  refund.refundRef = outcome.refundRef || refund.refundRef || '';
  refund.failureCode = outcome.status === 'failed' ? outcome.failureCode : null;
  refund.settledAt = tx.now;
  refund.reconcileAt = isGivenUp ? askAgainAt(refund, tx.now) : null;
  if (refund.status === 'SUCCEEDED' || isReturned) await markRefunded(tx, refund.paymentId);
  return { refund, before };
}

async function markRefunded(tx: Tx, paymentId: string): Promise<void> {
  await tx.em.flush();
  const payment = await tx.em.findOneOrFail(
    Payment,
    { accountId: tx.accountId, id: paymentId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  const [gone] = await rowsOf(
    tx.em,
    sql<{ minor: string }>`
      select coalesce(sum(amount_minor), 0)::text as minor from refund
      where account_id = ${tx.accountId} and payment_id = ${paymentId} and status = 'SUCCEEDED'`,
  );
  payment.status = BigInt(gone!.minor) >= payment.amountMinor ? 'REFUNDED' : 'SUCCEEDED';
}
