import { LockMode } from '@mikro-orm/postgresql';
import { accountById } from '../account/createAccount.js';
import { BillingError, invalid } from '../domain/errors.js';
import { type AttachOutcome, ProviderMisuse, ProviderUnavailable } from '../integrations/payments/provider.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, inFlight } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { PaymentCustomer, PaymentMethod } from './payment.entity.js';
import { presentPaymentMethod } from './payment.present.js';
import { makeDefault } from './paymentMethods.js';

export interface AddPaymentMethodInput {
  idempotencyKey?: string | undefined;
  type: string;
  /** A token of the payment provider, `tok_visa`; never a card number. */
  token: string;
  makeDefault: boolean;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments'>;

/**
 * Attaches a card to the account; the first one becomes the default. Declined: PAYMENT_DECLINED with the decline code.
 * The row is written before the provider is asked, so that a repeat with the same key never attaches a second card.
 */
export async function addPaymentMethod(
  deps: Needs,
  actor: Actor,
  input: AddPaymentMethodInput,
): Promise<{ paymentMethodId: string; replayed: boolean }> {
  requireScope(actor, 'payment_methods:write');
  if (input.type !== 'card')
    throw invalid(`'${input.type.slice(0, 40)}' is not a payment method type: expected 'card'`, 'type');
  if (input.token.length === 0 || input.token.length > 255) throw invalid('token has 1 to 255 characters', 'token');
  const { accountId } = actor;

  const { answer, replayed } = await transact(deps, accountId, async (tx) => {
    const { idempotencyKey, ...request } = input;
    const claim = await claimKey(tx, {
      operation: 'addPaymentMethod',
      key: idempotencyKey,
      input: request,
      answer: { id: newId() },
    });
    if (!claim.replayed) {
      tx.em.create(PaymentMethod, {
        accountId,
        id: claim.answer.id,
        status: 'PENDING',
        type: input.type,
        isDefault: false,
        createdAt: tx.now,
      });
    }
    return claim;
  });

  // A repeat finishes what a crash left undone: the provider knows the method's key and attaches no second card.
  const { status } = await deps.db.orm.em.fork().findOneOrFail(PaymentMethod, { accountId, id: answer.id });
  if (status === 'PENDING') {
    const outcome = await attach(deps, accountId, { methodId: answer.id, token: input.token });
    await settleAttach(deps, accountId, { methodId: answer.id, outcome, wantsDefault: input.makeDefault });
  }
  return answerOf(deps, accountId, answer.id, replayed);
}

async function attach(
  deps: Needs,
  accountId: string,
  { methodId, token }: { methodId: string; token: string },
): Promise<AttachOutcome> {
  try {
    const customerRef = await ensureCustomer(deps, accountId);
    return await deps.payments.attachPaymentMethod({ accountId, customerRef, token, key: `pm-${methodId}` });
  } catch (error) {
    if (error instanceof ProviderMisuse) return { status: 'invalid', message: error.message };
    if (!(error instanceof ProviderUnavailable)) throw error;
    // Attaching moves no money: the caller may try again, with a new key.
    return { status: 'invalid', message: 'The payment provider could not be reached; try again' };
  }
}

/** The account's customer at the provider, made at its first use. The key makes two parallel first uses one customer. */
async function ensureCustomer(deps: Needs, accountId: string): Promise<string> {
  const provider = deps.payments.name;
  const em = deps.db.orm.em.fork();
  const known = await em.findOne(PaymentCustomer, { accountId, provider });
  if (known) return known.customerRef;
  const { name } = await accountById(em, accountId);
  const { customerRef } = await deps.payments.createCustomer({ accountId, name, key: `cus-${accountId}` });
  await transact(deps, accountId, async (tx) => {
    await tx.em.upsert(
      PaymentCustomer,
      { accountId, id: newId(), provider, customerRef, createdAt: tx.now },
      { onConflictFields: ['accountId', 'provider'], onConflictAction: 'ignore' },
    );
  });
  return customerRef;
}

async function settleAttach(
  deps: Needs,
  accountId: string,
  { methodId, outcome, wantsDefault }: { methodId: string; outcome: AttachOutcome; wantsDefault: boolean },
): Promise<void> {
  await transact(deps, accountId, async (tx) => {
    const method = await tx.em.findOneOrFail(
      PaymentMethod,
      { accountId, id: methodId },
      { lockMode: LockMode.PESSIMISTIC_WRITE },
    );
    if (method.status !== 'PENDING') return;
    if (outcome.status !== 'attached') {
      method.status = 'FAILED';
      method.declineCode = outcome.status === 'declined' ? outcome.declineCode : null;
      method.failureMessage = outcome.message;
      return;
    }
    Object.assign(method, outcome.card, { status: 'ACTIVE', methodRef: outcome.methodRef });
    const others = await tx.em.count(PaymentMethod, { accountId, status: 'ACTIVE' });
    if (wantsDefault || others === 0) {
      await makeDefault(tx.em, accountId, methodId);
      await tx.em.refresh(method);
    }
    tx.emit({ type: 'payment_method.added', data: presentPaymentMethod(method) });
  });
}

async function answerOf(
  deps: Needs,
  accountId: string,
  id: string,
  replayed: boolean,
): Promise<{ paymentMethodId: string; replayed: boolean }> {
  const method = await deps.db.orm.em.fork().findOneOrFail(PaymentMethod, { accountId, id });
  if (method.status === 'PENDING') throw inFlight();
  if (method.status === 'FAILED') {
    const message = method.failureMessage ?? 'The payment method was refused';
    throw method.declineCode
      ? new BillingError('PAYMENT_DECLINED', message, { declineCode: method.declineCode, field: ['token'] })
      : invalid(message, 'token');
  }
  return { paymentMethodId: id, replayed };
}
