import { BillingError, invalid } from '../domain/errors.js';
import { movements } from '../domain/ledger.js';
import { type Money, majorUnits } from '../domain/money.js';
import type { ChargeOutcome } from '../integrations/payments/provider.js';
import { chargePayment, intendPayment, paymentError, settlePayment } from '../payment/charge.js';
import { Payment, PaymentMethod } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { resolvePaymentMethod } from '../payment/resolvePaymentMethod.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, inFlight } from '../platform/idempotency.js';
import { newId, publicId } from '../platform/ids.js';
import { post, walletBalance } from './ledger.js';
import type { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet } from './wallets.js';

export interface TopUpInput {
  idempotencyKey?: string | undefined;
  amount: Money;
  /** Undefined: the default method. */
  paymentMethodId?: string | undefined;
}

export interface TopUpAnswer {
  paymentId: string;
  replayed: boolean;
  /** Declined, or waiting for 3-D Secure: no credit, and the payment says why. */
  error: BillingError | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** The most one top-up may move, in minor units: what card processors take in one charge. */
export const maxTopUpMinor = 99_999_999n;

/**
 * Charges a card and credits the wallet with the same amount, once for each idempotency key. Throws INVALID for an amount
 * that isn't positive or not in the wallet's currency, ILLEGAL_STATE without a payment method.
 */
export async function topUp(deps: Needs, actor: Actor, input: TopUpInput): Promise<TopUpAnswer> {
  requireScope(actor, 'wallet:write');
  const { accountId } = actor;
  if (input.amount.minorUnits <= 0n || input.amount.minorUnits > maxTopUpMinor) {
    const most = majorUnits({ minorUnits: maxTopUpMinor, currency: input.amount.currency });
    throw invalid(
      `amount is ${majorUnits(input.amount)}, expected more than 0 and at most ${most}`,
      'amount',
      'amount',
    );
  }
  const chosen =
    input.paymentMethodId === undefined
      ? undefined
      : await resolvePaymentMethod(deps, actor, {
          reference: input.paymentMethodId,
          idempotencyKey: input.idempotencyKey,
        });

  const claim = await transact(deps, accountId, async (tx) => {
    const { idempotencyKey, ...request } = input;
    const claimed = await claimKey(tx, {
      operation: 'topUp',
      key: idempotencyKey,
      input: request,
      answer: { paymentId: newId() },
    });
    if (!claimed.replayed)
      await intendTopUp(tx, { paymentId: claimed.answer.paymentId, amount: input.amount, paymentMethodId: chosen });
    return claimed;
  });
  const { paymentId } = claim.answer;
  if (!claim.replayed) await chargeTopUp(deps, { accountId, paymentId });

  const payment = await deps.db.orm.em.fork().findOneOrFail(Payment, { accountId, id: paymentId });
  if (claim.replayed && payment.status === 'PENDING') throw inFlight();
  return { paymentId, replayed: claim.replayed, error: paymentError(payment) };
}

/** Writes the PENDING payment of a top-up; shared with auto-recharge. */
export async function intendTopUp(
  tx: Tx,
  { paymentId, amount, paymentMethodId }: { paymentId: string; amount: Money; paymentMethodId: string | undefined },
): Promise<void> {
  const wallet = await lockWallet(tx);
  if (amount.currency !== wallet.currency) {
    throw invalid(`The wallet is in ${wallet.currency}, found an amount in ${amount.currency}`, 'amount', 'currency');
  }
  const method =
    paymentMethodId === undefined
      ? await defaultPaymentMethod(tx.em, tx.accountId)
      : await tx.em.findOne(PaymentMethod, { accountId: tx.accountId, id: paymentMethodId, status: 'ACTIVE' });
  if (!method) {
    throw new BillingError(
      'ILLEGAL_STATE',
      'The account has no payment method: add one, or name one in paymentMethodId',
      {
        field: ['paymentMethodId'],
      },
    );
  }
  intendPayment(tx, {
    id: paymentId,
    purpose: 'top_up',
    subjectId: wallet.id,
    amount,
    paymentMethodId: method.id,
    description: 'Wallet top-up',
  });
}

export async function chargeTopUp(
  deps: Needs,
  { accountId, paymentId }: { accountId: string; paymentId: string },
): Promise<void> {
  const outcome = await chargePayment(deps, { accountId, paymentId });
  if (outcome) await settleTopUp(deps, { accountId, paymentId, outcome });
}

/** Credits the wallet when the money has moved; the synchronous answer and every later one end here, once. */
export async function settleTopUp(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, paymentId, outcome }: { accountId: string; paymentId: string; outcome: ChargeOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const wallet = await lockWallet(tx);
    const payment = await settlePayment(tx, { paymentId, outcome });
    if (!payment || payment.status === 'REQUIRES_ACTION') return;
    if (payment.status === 'SUCCEEDED') {
      await post(tx, {
        type: 'top_up',
        currency: payment.currency,
        referenceId: payment.id,
        postings: movements.topUp(payment.amountMinor),
      });
      wallet.rechargeFailures = 0;
    }
    tx.emit({
      type: payment.status === 'SUCCEEDED' ? 'wallet.topped_up' : 'wallet.top_up_failed',
      data: await walletEventData(tx, wallet, payment),
    });
  });
}

/** The wallet after the change, with the payment that changed it (or didn't). */
async function walletEventData(tx: Tx, wallet: Wallet, payment: Payment): Promise<object> {
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  return {
    ...presentWallet({ wallet, balanceMinor }),
    payment_id: publicId('payment', payment.id),
    ...(payment.status === 'FAILED' ? { decline_code: payment.declineCode ?? null } : {}),
  };
}
