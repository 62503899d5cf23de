import { accountById } from '../account/createAccount.js';
import { BillingError, invalid } from '../domain/errors.js';
import { type AttachOutcome, ProviderMisuse, ProviderUnavailable } from '../integrations/payments/provider.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { accountNow } from '../platform/clock.js';
import { type Tx, transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, inFlight } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { callProvider } from './callProvider.js';
import { PaymentCustomer, PaymentMethod } from './payment.entity.js';
import { lockAccount } from './paymentMethods.js';
import { attachKey, settleAttachment } from './settleAttachment.js';

export interface AddPaymentMethodInput {
  idempotencyKey?: string | undefined;
  type: string;
  /** A token of the payment provider, `tok_visa`; never a card number. */
  token: string;
  makeDefault: boolean;
}

/** Active methods an account may have at once. */
export const maxPaymentMethods = 50;

/** A method handed to the provider longer ago than two calls last was left behind, and takes up no place. */
const underWayMs = 60_000;

type Needs = Pick<Deps, 'db' | 'clock' | 'payments'>;

/**
 * Attaches a card to the account; the first one becomes the default. Declined: PAYMENT_DECLINED with the decline code;
 * REQUIRES_ACTION with a client secret where its holder must confirm first: the card is added when they have.
 * LIMIT_EXCEEDED past 50 cards; UNAVAILABLE while the provider is away, and a repeat with the key then finishes it.
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
      await refuseBeyondLimit(tx);
      tx.em.create(PaymentMethod, {
        accountId,
        id: claim.answer.id,
        status: 'PENDING',
        type: input.type,
        isDefault: false,
        wantsDefault: input.makeDefault,
        createdAt: tx.now,
      });
    }
    return claim;
  });

  // A repeat finishes what a crash left undone: the provider knows the method's key and attaches no second card.
  const method = await deps.db.orm.em.fork().findOneOrFail(PaymentMethod, { accountId, id: answer.id });
  if (method.status === 'PENDING') {
    const outcome = await attach(deps, method, input.token);
    await settleAttachment(deps, { accountId, methodId: answer.id, outcome });
  }
  return answerOf(deps, accountId, answer.id, replayed);
}

/** Counts under the account's lock, with those under way, so that many at once don't slip past. */
async function refuseBeyondLimit({ em, accountId, now }: Tx): Promise<void> {
  await lockAccount(em, accountId);
  const count = await em.count(PaymentMethod, {
    accountId,
    $or: [{ status: 'ACTIVE' }, { status: 'PENDING', createdAt: { $gt: new Date(now.getTime() - underWayMs) } }],
  });
  if (count >= maxPaymentMethods) {
    throw new BillingError('LIMIT_EXCEEDED', `The account already has ${maxPaymentMethods} payment methods`);
  }
}

async function attach(deps: Needs, method: PaymentMethod, token: string): Promise<AttachOutcome> {
  const { accountId, id, setupRef } = method;
  const { payments } = deps;
  try {
    if (setupRef && payments.findAttachment) return await callProvider(payments.findAttachment({ setupRef }));
    const customerRef = await ensureCustomer(deps, accountId);
    const key = attachKey(id);
    const now = await accountNow(deps.db.orm.em.fork(), deps.clock, accountId);
    return await callProvider(payments.attachPaymentMethod({ accountId, customerRef, token, key, now }));
  } catch (error) {
    if (error instanceof ProviderMisuse) return { status: 'invalid', message: error.message };
    if (!(error instanceof ProviderUnavailable)) throw error;
    // The method stays PENDING: a repeat with the key asks again, and no second card is attached.
    throw new BillingError('UNAVAILABLE', 'The payment provider could not be reached; try again with the same key', {
      retryable: true,
      retryAfterSeconds: 30,
    });
  }
}

/** The account's customer at the provider, made at its first use. The key makes two parallel first uses one customer. */
async function ensureCustomer(deps: Needs, accountId: string): Promise<string> {
  const provider = deps.payments.name;
  const em = deps.db.orm.em.fork();
  const known = await em.findOne(PaymentCustomer, { accountId, provider });
  if (known) return known.customerRef;
  const { name } = await accountById(em, accountId);
  const { customerRef } = await callProvider(
    deps.payments.createCustomer({ accountId, name, key: `cus-${accountId}` }),
  );
  await transact(deps, accountId, async (tx) => {
    await tx.em.upsert(
      PaymentCustomer,
      { accountId, id: newId(), provider, customerRef, createdAt: tx.now },
      { onConflictFields: ['accountId', 'provider'], onConflictAction: 'ignore' },
    );
  });
  return customerRef;
}

async function answerOf(
  deps: Needs,
  accountId: string,
  id: string,
  replayed: boolean,
): Promise<{ paymentMethodId: string; replayed: boolean }> {
  const method = await deps.db.orm.em.fork().findOneOrFail(PaymentMethod, { accountId, id });
  if (method.status === 'PENDING' && method.clientSecret) {
    throw new BillingError('REQUIRES_ACTION', 'The card asks its holder to confirm that it is kept (3-D Secure)', {
      clientSecret: method.clientSecret,
      field: ['token'],
    });
  }
  if (method.status === 'PENDING') throw inFlight();
  if (method.status === 'FAILED') {
    const message = method.failureMessage ?? 'The payment method was refused';
    throw method.declineCode
      ? new BillingError('PAYMENT_DECLINED', message, { declineCode: method.declineCode, field: ['token'] })
      : invalid(message, 'token');
  }
  return { paymentMethodId: id, replayed };
}
