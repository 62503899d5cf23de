import { BillingError, invalid, notFound } from '../domain/errors.js';
import { giveBack, upTo } from '../domain/grants.js';
import { movements } from '../domain/ledger.js';
import { type Money, majorUnits } from '../domain/money.js';
import type { RefundOutcome } from '../integrations/payments/provider.js';
import { Payment } from '../payment/payment.entity.js';
import { presentRefund } from '../payment/payment.present.js';
import { intendRefund, type SettledRefund, sendRefund, settleRefund } from '../payment/refund.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId, uuidOf } from '../platform/ids.js';
import { openGrants, taken, takenFor } from './grants.js';
import { post, walletBalance } from './ledger.js';
import { type Wallet, WalletGrant } from './wallet.entity.js';
import { presentWallet } from './wallet.present.js';
import { lockWallet, lookAgain } from './wallets.js';

export interface RefundTopUpInput {
  idempotencyKey?: string | undefined;
  /** The payment that bought the credit. */
  paymentId: string;
  /** Undefined: all that is left of it. */
  amount?: Money | undefined;
}

/**
 * Sends what is left of a top-up back to the card that paid it. For operators only. INSUFFICIENT_BALANCE when less of that very
 * credit is left and not held. A refund that fails is no error: its amount is in the wallet again, and the refund says why.
 */
export async function refundTopUp(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, ...input }: RefundTopUpInput,
): Promise<{ refundId: string; replayed: boolean }> {
  requireScope(actor, 'wallet:write');
  requireOperator(actor);
  const { accountId } = actor;
  const { answer, replayed } = await transact(deps, accountId, async (tx) => {
    const claimed = await claimKey(tx, {
      operation: 'refundTopUp',
      key: idempotencyKey,
      input,
      answer: { refundId: newId() },
    });
    if (!claimed.replayed) await intend(tx, input, claimed.answer.refundId);
    return claimed;
  });
  const { refundId } = answer;
  if (!replayed) {
    const outcome = await sendRefund(deps, { accountId, refundId });
    if (outcome) await settleTopUpRefund(deps, { accountId, refundId, outcome });
  }
  return { refundId, replayed };
}

/** Takes the credit out of its grant and writes the intent to give it back. */
async function intend(tx: Tx, { paymentId, amount }: RefundTopUpInput, refundId: string): Promise<void> {
  const { em, accountId } = tx;
  const wallet = await lockWallet(tx);
  const { currency } = wallet;
  const id = uuidOf('payment', paymentId);
  const payment = id && (await em.findOne(Payment, { accountId, id }));
  const grant = payment && (await em.findOne(WalletGrant, { accountId, kind: 'purchased', referenceId: payment.id }));
  if (!payment || !grant) throw notFound('top-up', paymentId, 'paymentId');
  const leftMinor = grant.remainingMinor - grant.heldMinor;
  const { minorUnits: amountMinor } = checkAmount(amount ?? { minorUnits: leftMinor, currency }, {
    leftMinor,
    currency,
  });

  intendRefund(tx, { id: refundId, payment, purpose: 'top_up', subjectId: grant.id, amountMinor });
  await post(tx, {
    type: 'top_up_refund',
    currency,
    referenceId: refundId,
    postings: movements.refundTopUp(amountMinor),
    grants: { changes: taken([{ grantId: grant.id, amountMinor }]) },
  });
  lookAgain(wallet, tx.now);
  await emitWallet(tx, wallet, 'wallet.updated');
}

function checkAmount(amount: Money, { leftMinor, currency }: { leftMinor: bigint; currency: string }): Money {
  if (amount.currency !== currency)
    throw invalid(`The wallet is in ${currency}, found an amount in ${amount.currency}`, 'amount', 'currency');
  const left = majorUnits({ minorUnits: leftMinor, currency });
  if (leftMinor === 0n || amount.minorUnits > leftMinor) {
    throw new BillingError(
      'INSUFFICIENT_BALANCE',
      `Of this top-up ${left} ${currency} is left and not held, found ${majorUnits(amount)} to refund`,
      { field: ['amount'] },
    );
  }
  if (amount.minorUnits <= 0n)
    throw invalid(`amount is ${majorUnits(amount)}, expected more than 0 and at most ${left}`, 'amount', 'amount');
  return amount;
}

/** Writes a refund's outcome on the wallet, once: credit that could not go back to its card is in its grant again. */
export async function settleTopUpRefund(
  deps: Pick<Deps, 'db' | 'clock'>,
  { accountId, refundId, outcome }: { accountId: string; refundId: string; outcome: RefundOutcome },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const wallet = await lockWallet(tx);
    const settled = await settleRefund(tx, { refundId, outcome });
    if (!settled) return;
    const { refund } = settled;
    const moved = await book(tx, settled);
    if (moved) {
      lookAgain(wallet, tx.now);
      await emitWallet(tx, wallet, moved);
    }
    tx.emit({
      type: refund.status === 'SUCCEEDED' ? 'refund.succeeded' : 'refund.failed',
      data: presentRefund(refund),
    });
  });
}

/** The movements of an outcome; says what they did to the wallet, if anything. FAILED is not always the end (see settleRefund). */
async function book(
  tx: Tx,
  { refund, before }: SettledRefund,
): Promise<'wallet.credited' | 'wallet.updated' | undefined> {
  const { id: referenceId, currency, amountMinor, subjectId: grantId } = refund;
  const { em, accountId, now } = tx;
  const movement = { currency, referenceId };
  if (refund.status === 'SUCCEEDED' && before === 'PENDING') {
    await post(tx, { ...movement, type: 'refund', postings: movements.refund(amountMinor) });
    return undefined;
  }
  if (refund.status === 'SUCCEEDED') {
    const there = ((await openGrants(em, [accountId])).get(accountId) ?? []).filter(({ id }) => id === grantId);
    const parts = upTo(
      there.map(({ id, freeMinor }) => ({ grantId: id, amountMinor: freeMinor })),
      amountMinor,
    );
    const fromCreditMinor = parts.reduce((sum, part) => sum + part.amountMinor, 0n);
    const givenMinor = amountMinor - fromCreditMinor;
    const postings = movements.refundLate({ fromCreditMinor, givenMinor, credit: 'wallet' });
    await post(tx, { ...movement, type: 'refund', postings, grants: { changes: taken(parts) } });
    return fromCreditMinor > 0n ? 'wallet.updated' : undefined;
  }
  const changes = giveBack(await takenFor(em, accountId, referenceId), { amountMinor, now });
  const backMinor = changes.reduce((sum, part) => sum + part.amountMinor, 0n);
  const [type, postings] =
    before === 'PENDING'
      ? (['refund_failed', movements.failTopUpRefund(amountMinor)] as const)
      : ([
          'refund_returned',
          movements.returnRefund({ fromCreditMinor: backMinor, givenMinor: amountMinor - backMinor, credit: 'wallet' }),
        ] as const);
  await post(tx, { ...movement, type, postings, grants: { changes } });
  return backMinor > 0n ? 'wallet.credited' : undefined;
}

async function emitWallet(tx: Tx, wallet: Wallet, type: 'wallet.credited' | 'wallet.updated'): Promise<void> {
  const balanceMinor = await walletBalance(tx.em, { accountId: tx.accountId, currency: wallet.currency });
  tx.emit({ type, data: presentWallet({ wallet, balanceMinor }) });
}
