import { createHash } from 'node:crypto';
import type Stripe from 'stripe';
import type {
  AttachOutcome,
  CardDetails,
  ChargeInput,
  ChargeOutcome,
  PaymentProvider,
  RefundOutcome,
} from './provider.js';
import { ProviderMisuse, ProviderStillWorking, ProviderUnavailable } from './provider.js';
import { holdsCardNumber } from './sandboxCards.js';
import { stripeAmount } from './stripeAmount.js';
import {
  type AskStripe,
  createStripeClient,
  isCardError,
  isReplayed,
  type StripeAccess,
  StripeRefusal,
} from './stripeClient.js';
import { createStripeEvents } from './stripeEvents.js';

export interface StripeOptions extends StripeAccess {
  /** `whsec_…` of the webhook endpoint; without it nothing sent to us can be believed. */
  webhookSecret?: string | undefined;
}

/** Objects looked through before the search index is asked: what is being looked for is nearly always among the newest. */
const newest = 100;

/**
 * Stripe, by PaymentIntents and SetupIntents for cards, off-session. Every object bears `account_id` and our own id in its
 * metadata, because Stripe forgets idempotency keys after a day and then only they tell what an object was made for.
 */
export function createStripeProvider({ webhookSecret, ...access }: StripeOptions): PaymentProvider {
  const { ask, stripe } = createStripeClient(access);

  return {
    name: 'stripe',

    /** The name comes second, and under a key of its own: an account that was renamed since still gets its customer. */
    async createCustomer({ accountId, name, key }) {
      const { id } = await ask((stripe) =>
        stripe.customers.create({ metadata: { account_id: accountId } }, { idempotencyKey: key }),
      );
      const named = createHash('sha256').update(name).digest('hex').slice(0, 16);
      await ask((stripe) => stripe.customers.update(id, { name }, { idempotencyKey: `${key}-name-${named}` }));
      return { customerRef: id };
    },

    attachPaymentMethod: (input) => attach(ask, input),
    findAttachment: ({ setupRef }) => findAttachment(ask, setupRef),

    async detachPaymentMethod({ methodRef }) {
      try {
        await ask((stripe) => stripe.paymentMethods.detach(methodRef, {}, { idempotencyKey: `detach-${methodRef}` }));
      } catch (error) {
        const isDetached = error instanceof StripeRefusal && error.code !== 'resource_missing';
        if (!isDetached) throw error;
      }
    },

    charge: (input) => charge(ask, input),

    async findCharge({ key, paymentId, chargeRef, customerRef }) {
      const known = chargeRef ? await unlessMissing(retrieveIntent(ask, chargeRef)) : undefined;
      if (known?.metadata.payment_id === paymentId) return outcomeOf(known);
      const found = await findIntents(ask, { paymentId, customerRef });
      // By key; else by payment, but only what moved money or still may: another key's decline is not this one's answer.
      const own = found.find((intent) => intent.metadata.charge_key === key);
      const outcomes = (own ? [own] : found).map(outcomeOf);
      return (
        outcomes.find((outcome) => outcome?.status === 'succeeded') ??
        outcomes.find((outcome) => own || outcome?.status !== 'declined')
      );
    },

    async refund({ key, accountId, refundId, chargeRef, amount }) {
      const sent = stripeAmount(amount);
      if ('refused' in sent) throw new ProviderMisuse(sent.refused);
      const refund = await ask((stripe) =>
        stripe.refunds.create(
          {
            payment_intent: chargeRef,
            amount: sent.amount,
            metadata: { account_id: accountId, refund_id: refundId },
          },
          { idempotencyKey: key },
        ),
      );
      const isOld = isReplayed(refund.lastResponse.headers);
      return refundOutcome(isOld ? await ask((stripe) => stripe.refunds.retrieve(refund.id)) : refund);
    },

    async findRefund({ refundId, chargeRef }) {
      const refunds = await ask((stripe) =>
        stripe.refunds.list({ ...(chargeRef ? { payment_intent: chargeRef } : {}), limit: newest }),
      );
      const refund = refunds.data.find(({ metadata }) => metadata?.refund_id === refundId);
      return refund && refundOutcome(refund);
    },

    events: createStripeEvents({ ask, stripe, webhookSecret }),
  };
}

/** Cards never lead away to another site and back; without this Stripe asks where to come back to. */
const withoutRedirects = { enabled: true, allow_redirects: 'never' } as const;

/** A SetupIntent tells the bank that the card will be charged while its holder is away; a plain attach doesn't. */
async function attach(
  ask: AskStripe,
  { accountId, customerRef, token, key }: Parameters<PaymentProvider['attachPaymentMethod']>[0],
): Promise<AttachOutcome> {
  if (holdsCardNumber(token)) return { status: 'invalid', message: 'Card numbers are not accepted: expected a token' };
  if (!/^(tok|pm)_\w+$/.test(token)) {
    return { status: 'invalid', message: `'${token.slice(0, 60)}' is no token of Stripe's: expected tok_… or pm_…` };
  }
  const metadata = { account_id: accountId, attach_key: key };
  try {
    const methodRef = token.startsWith('pm_')
      ? token
      : (
          await ask((stripe) =>
            stripe.paymentMethods.create(
              { type: 'card', card: { token }, metadata },
              { idempotencyKey: `${key}-card` },
            ),
          )
        ).id;
    const setup = await ask((stripe) =>
      stripe.setupIntents.create(
        {
          customer: customerRef,
          payment_method: methodRef,
          automatic_payment_methods: withoutRedirects,
          usage: 'off_session',
          confirm: true,
          use_stripe_sdk: true,
          metadata,
        },
        { idempotencyKey: key },
      ),
    );
    return isReplayed(setup.lastResponse.headers)
      ? await findAttachment(ask, setup.id)
      : await attachOutcome(ask, setup);
  } catch (error) {
    if (isCardError(error)) return declined(error);
    // A token that is unknown, used up, or somebody else's card: the caller's to correct.
    if (error instanceof StripeRefusal && error.param !== 'customer')
      return { status: 'invalid', message: error.message };
    throw error;
  }
}

export const findAttachment = async (ask: AskStripe, setupRef: string): Promise<AttachOutcome> =>
  attachOutcome(ask, await ask((stripe) => stripe.setupIntents.retrieve(setupRef)));

async function attachOutcome(ask: AskStripe, setup: Stripe.SetupIntent): Promise<AttachOutcome> {
  switch (setup.status) {
    case 'succeeded': {
      const method = await ask((stripe) => stripe.paymentMethods.retrieve(idOf(setup.payment_method)!));
      const card = cardOf(method);
      if (!card)
        return { status: 'invalid', message: `Expected a card, found a payment method of type ${method.type}` };
      return { status: 'attached', methodRef: method.id, card };
    }
    case 'requires_action':
      return { status: 'requires_action', setupRef: setup.id, clientSecret: setup.client_secret! };
    case 'canceled':
      return { status: 'declined', declineCode: 'setup_canceled', message: 'The set-up of the card was canceled' };
    case 'processing':
      throw new ProviderStillWorking(`Stripe is still setting up ${setup.id}`);
    default:
      return declined(setup.last_setup_error ?? {});
  }
}

const declined = ({
  decline_code,
  code,
  message,
}: {
  decline_code?: string | undefined;
  code?: string | undefined;
  message?: string | undefined;
}) =>
  ({
    status: 'declined',
    declineCode: decline_code ?? code ?? 'card_declined',
    message: message ?? 'Your card was declined.',
  }) as const;

export function cardOf({ card }: Stripe.PaymentMethod): CardDetails | undefined {
  if (!card) return undefined;
  return { type: 'card', brand: card.brand, last4: card.last4, expMonth: card.exp_month, expYear: card.exp_year };
}

/** What Stripe says of amounts it doesn't take; the minimum depends on the currency the seller is paid out in. */
const amountRefusals: ReadonlySet<string | undefined> = new Set([
  'amount_too_small',
  'amount_too_large',
  'invalid_charge_amount',
]);

async function charge(ask: AskStripe, input: ChargeInput): Promise<ChargeOutcome> {
  const { key, accountId, paymentId, customerRef, methodRef, amount, description } = input;
  if (amount.minorUnits <= 0n) throw new ProviderMisuse(`Cannot charge ${amount.minorUnits} minor units`);
  const sent = stripeAmount(amount);
  if ('refused' in sent) {
    return { status: 'declined', chargeRef: '', declineCode: 'amount_not_chargeable', message: sent.refused };
  }
  let intent: Stripe.PaymentIntent;
  let isOld: boolean;
  try {
    const answer = await ask((stripe) =>
      stripe.paymentIntents.create(
        {
          amount: sent.amount,
          currency: amount.currency.toLowerCase(),
          customer: customerRef,
          payment_method: methodRef,
          automatic_payment_methods: withoutRedirects,
          confirm: true,
          off_session: true,
          description,
          metadata: { account_id: accountId, payment_id: paymentId, charge_key: key },
        },
        { idempotencyKey: key },
      ),
    );
    [intent, isOld] = [answer, isReplayed(answer.lastResponse.headers)];
  } catch (error) {
    if (error instanceof StripeRefusal && amountRefusals.has(error.code)) {
      return { status: 'declined', chargeRef: '', declineCode: error.code!, message: error.message };
    }
    if (!isCardError(error)) throw error;
    if (!error.payment_intent) return { chargeRef: '', ...declined(error) };
    [intent, isOld] = [error.payment_intent, isReplayed(error.headers)];
  }
  const outcome = outcomeOf(isOld ? await retrieveIntent(ask, intent.id) : intent);
  if (!outcome) throw new ProviderUnavailable(`Stripe made ${intent.id} and did not try to charge it`);
  return outcome;
}

export const retrieveIntent = (ask: AskStripe, id: string): Promise<Stripe.PaymentIntent> =>
  ask((stripe) => stripe.paymentIntents.retrieve(id));

/** The list is up to date, and the search index up to minutes behind; but the list only tells the newest. */
async function findIntents(
  ask: AskStripe,
  { paymentId, customerRef }: { paymentId: string; customerRef: string | undefined },
): Promise<Stripe.PaymentIntent[]> {
  const isIts = ({ metadata }: Stripe.PaymentIntent): boolean => metadata.payment_id === paymentId;
  if (customerRef !== undefined) {
    const list = await ask((stripe) => stripe.paymentIntents.list({ customer: customerRef, limit: newest }));
    const listed = list.data.filter(isIts);
    if (listed.length > 0 || !list.has_more) return listed;
  }
  const query = `metadata['payment_id']:'${paymentId.replace(/[^\w-]/g, '')}'`;
  return (await ask((stripe) => stripe.paymentIntents.search({ query, limit: newest }))).data.filter(isIts);
}

/**
 * `undefined`: made, but never tried. An off-session charge that needs its holder fails at Stripe with
 * `authentication_required`; the holder then confirms the same PaymentIntent by its client secret.
 */
export function outcomeOf(intent: Stripe.PaymentIntent): ChargeOutcome | undefined {
  const { id: chargeRef, status, last_payment_error: error } = intent;
  switch (status) {
    case 'succeeded':
      return { status: 'succeeded', chargeRef };
    case 'requires_action':
      return { status: 'requires_action', chargeRef, clientSecret: intent.client_secret! };
    case 'requires_payment_method':
      if (error?.code === 'authentication_required') {
        return { status: 'requires_action', chargeRef, clientSecret: intent.client_secret! };
      }
      return error ? { chargeRef, ...declined(error) } : undefined;
    case 'canceled':
      return { status: 'declined', chargeRef, declineCode: 'canceled', message: 'The payment was canceled' };
    case 'requires_confirmation':
      return undefined;
    default:
      throw new ProviderStillWorking(`Stripe has not finished ${chargeRef}: it is ${status}`);
  }
}

export function refundOutcome({ id: refundRef, status, failure_reason }: Stripe.Refund): RefundOutcome {
  if (status === 'succeeded') return { status: 'succeeded', refundRef };
  if (status === 'failed' || status === 'canceled') {
    return { status: 'failed', refundRef, failureCode: failure_reason ?? status };
  }
  throw new ProviderStillWorking(`Stripe has not finished ${refundRef}: it is ${status}`);
}

export const idOf = (of: string | { id: string } | null | undefined): string | undefined =>
  typeof of === 'string' ? of : of?.id;

/** `undefined` where Stripe knows no such object. */
export async function unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof StripeRefusal && error.code === 'resource_missing') return undefined;
    throw error;
  }
}
