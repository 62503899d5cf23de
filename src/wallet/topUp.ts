import { accountById } from '../account/createAccount.js';
import { BillingError } from '../domain/errors.js';
import { movements } from '../domain/ledger.js';
import type { Money } from '../domain/money.js';
import type { ChargeOutcome } from '../integrations/payments/provider.js';
import { chargePayment, intendPayment, paymentError, type Settled, settlePayment } from '../payment/charge.js';
import { Payment, PaymentMethod } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { resolvePaymentMethod } from '../payment/resolvePaymentMethod.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, hashOf, inFlight, storedAnswer } from '../platform/idempotency.js';
import { newId, publicId } from '../platform/ids.js';
import { checkQuote, inputHashOf, openQuote } from '../platform/quote.js';
import { creditWallet } from './creditWallet.js';
import { walletBalance } from './ledger.js';
import type { Wallet } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { checkWalletAmount, lockWallet } from './wallets.js';

export interface TopUpInput {
  idempotencyKey?: string | undefined;
  amount: Money;
  /** Undefined: the default method. */
  paymentMethodId?: string | undefined;
  previewToken?: string | undefined;
}

export interface TopUpAnswer {
  paymentId: string;
  replayed: boolean;
  /** Declined, or waiting for 3-D Secure: no credit, and the payment says why. */
  error: BillingError | undefined;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/**
 * Charges a card and credits the wallet with the same amount, once for each idempotency key. Throws INVALID for an amount
 * that isn't positive or not in the wallet's currency, ILLEGAL_STATE without a payment method. A refused top-up leaves
 * nothing behind, so the named card is only resolved (attached) once the amount is known to be good.
 */
export async function topUp(deps: Needs, actor: Actor, input: TopUpInput): Promise<TopUpAnswer> {
  requireScope(actor, 'wallet:write');
  const { accountId } = actor;
  const { idempotencyKey, previewToken, ...request } = input;
  const claimOf = { operation: 'topUp', key: idempotencyKey, input: request };
  const em = deps.db.orm.em.fork();
  const stored = await storedAnswer<{ paymentId: string }>(em, { accountId, ...claimOf });
  if (stored) return answerOf(deps, accountId, { ...stored, replayed: true });

  checkWalletAmount(input.amount, (await accountById(em, accountId)).currency);
  const paymentMethodId =
    input.paymentMethodId === undefined
      ? undefined
      : await resolvePaymentMethod(deps, actor, { reference: input.paymentMethodId, idempotencyKey });

  const claim = await transact(deps, accountId, async (tx) => {
    const claimed = await claimKey(tx, { ...claimOf, answer: { paymentId: newId() } });
    if (!claimed.replayed) {
      const inputHash = inputHashOf(request);
      const quote = await openQuote(tx.em, previewToken, { operation: 'topUp', accountId, inputHash, now: tx.now });
      checkQuote(quote, quoteTopUp(input, input.amount.currency).fingerprint);
      const { paymentId } = claimed.answer;
      await intendTopUp(tx, { paymentId, purpose: 'top_up', amount: input.amount, paymentMethodId });
    }
    return claimed;
  });
  const { paymentId } = claim.answer;
  if (!claim.replayed) {
    const outcome = await chargePayment(deps, { accountId, paymentId });
    if (outcome) await settleTopUp(deps, { accountId, paymentId, outcome });
  }
  return answerOf(deps, accountId, { paymentId, replayed: claim.replayed });
}

/** What topping up would cost: what it adds to the wallet. The mutation and its preview both decide here. */
export function quoteTopUp({ amount }: Pick<TopUpInput, 'amount'>, currency: string) {
  checkWalletAmount(amount, currency);
  const amounts = { dueNowMinor: amount.minorUnits, creditMinor: amount.minorUnits };
  return { amounts, fingerprint: hashOf(amounts) };
}

async function answerOf(
  deps: Needs,
  accountId: string,
  { paymentId, replayed }: { paymentId: string; replayed: boolean },
): Promise<TopUpAnswer> {
  const payment = await deps.db.orm.em.fork().findOneOrFail(Payment, { accountId, id: paymentId });
  if (replayed && payment.status === 'PENDING') throw inFlight();
  return { paymentId, replayed, error: paymentError(payment) };
}

export interface TopUpIntent {
  paymentId: string;
  purpose: 'top_up' | 'recharge';
  amount: Money;
  /** Undefined: the default method. */
  paymentMethodId: string | undefined;
}

/** Writes the PENDING payment of a top-up; shared with auto-recharge. */
export async function intendTopUp(tx: Tx, { paymentId, purpose, amount, paymentMethodId }: TopUpIntent): Promise<void> {
  const wallet = await lockWallet(tx);
  checkWalletAmount(amount, wallet.currency);
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
    purpose,
    subjectId: wallet.id,
    amount,
    paymentMethodId: method.id,
    description: 'Wallet top-up',
  });
}

/** Settles a top-up: the synchronous answer and every later one end here, once. */
export async function settleTopUp(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, ...settled }: { accountId: string; paymentId: string; outcome: ChargeOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    await settleInWallet(tx, settled);
  });
}

/** Credits the wallet when the money has moved; `undefined` when there was nothing left to do. */
export async function settleInWallet(
  tx: Tx,
  settled: { paymentId: string; outcome: ChargeOutcome },
): Promise<(Settled & { wallet: Wallet }) | undefined> {
  const wallet = await lockWallet(tx);
  const done = await settlePayment(tx, settled);
  if (!done) return undefined;
  const { payment } = done;
  if (payment.status === 'SUCCEEDED') {
    const { id: referenceId, amountMinor } = payment;
    const grant = { kind: 'purchased' as const, amountMinor, referenceId };
    const postings = movements.topUp(amountMinor);
    const { balanceMinor } = await creditWallet(tx, { type: 'top_up', postings, grant, locked: wallet });
    wallet.rechargeFailures = 0;
    tx.emit({ type: 'wallet.topped_up', data: walletEventData({ wallet, balanceMinor }, payment) });
  } else if (payment.status === 'FAILED') {
    const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
    tx.emit({ type: 'wallet.top_up_failed', data: walletEventData({ wallet, balanceMinor }, payment) });
  }
  return { ...done, wallet };
}

/** The wallet after the change, with the payment that changed it (or didn't). */
const walletEventData = (of: { wallet: Wallet; balanceMinor: bigint }, payment: Payment) => ({
  ...presentWallet(of),
  payment_id: publicId('payment', payment.id),
  ...(payment.status === 'FAILED' ? { decline_code: payment.declineCode ?? null } : {}),
});
