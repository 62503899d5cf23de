import type Stripe from 'stripe';
import {
  type DisputeState,
  type ProviderEvent,
  type ProviderEvents,
  type ProviderNews,
  UntrustedEvent,
} from './provider.js';
import { cardOf, findAttachment, idOf, outcomeOf, refundOutcome, retrieveIntent, unlessMissing } from './stripe.js';
import { amountOfStripe } from './stripeAmount.js';
import type { AskStripe } from './stripeClient.js';

/** How far from now the time in a signature may be, in seconds: an old message is a replay. */
const toleranceSeconds = 300;

type Read = (ask: AskStripe, event: ProviderEvent) => Promise<ProviderNews | undefined>;

/**
 * Every type we know, and what it makes us look at. The payload is not looked at: events come late, twice and in any order.
 * `charge.refunded` says no more than the refund's own events.
 */
const readers: Readonly<Record<string, Read>> = {
  'payment_intent.succeeded': readCharge,
  'payment_intent.payment_failed': readCharge,
  'payment_intent.requires_action': readCharge,
  'payment_intent.canceled': readCharge,
  'refund.created': readRefund,
  'refund.updated': readRefund,
  'refund.failed': readRefund,
  'charge.dispute.created': readDispute,
  'charge.dispute.updated': readDispute,
  'charge.dispute.closed': readDispute,
  'payment_method.updated': readMethod,
  'payment_method.automatically_updated': readMethod,
  'payment_method.detached': readMethod,
  'setup_intent.succeeded': readSetup,
  'setup_intent.setup_failed': readSetup,
  'setup_intent.canceled': readSetup,
};

export function createStripeEvents({
  ask,
  stripe,
  webhookSecret,
}: {
  ask: AskStripe;
  stripe: () => Promise<Stripe>;
  webhookSecret: string | undefined;
}): ProviderEvents {
  return {
    verify:
      webhookSecret === undefined
        ? undefined
        : async ({ body, signature }) => {
            const { webhooks } = await stripe();
            try {
              return eventOf(await webhooks.constructEventAsync(body, signature, webhookSecret, toleranceSeconds));
            } catch {
              throw new UntrustedEvent('The signature does not fit the body, or its time is more than 5 minutes away');
            }
          },

    async list({ second, after }) {
      const page = await ask((stripe) =>
        stripe.events.list({
          types: Object.keys(readers),
          created: { gte: second },
          limit: 100,
          ...(after === undefined ? {} : { starting_after: after }),
        }),
      );
      return { events: page.data.map(eventOf), hasMore: page.has_more };
    },

    async read(event) {
      return readers[event.type]?.(ask, event);
    },
  };
}

function eventOf({ id: ref, created: second, type, data }: Stripe.Event): ProviderEvent {
  const object = data.object as { id?: string };
  const before = data.previous_attributes as { customer?: unknown } | undefined;
  return {
    ref,
    second,
    type,
    objectRef: object.id ?? '',
    ...(typeof before?.customer === 'string' ? { formerCustomerRef: before.customer } : {}),
  };
}

async function readCharge(ask: AskStripe, { objectRef }: ProviderEvent): Promise<ProviderNews | undefined> {
  const intent = await unlessMissing(retrieveIntent(ask, objectRef));
  const outcome = intent && outcomeOf(intent);
  const paymentId = intent?.metadata.payment_id;
  return outcome && paymentId ? { about: 'charge', ...ownerOf(intent), paymentId, outcome } : undefined;
}

async function readRefund(ask: AskStripe, { objectRef }: ProviderEvent): Promise<ProviderNews | undefined> {
  const refund = await unlessMissing(ask((stripe) => stripe.refunds.retrieve(objectRef)));
  const refundId = refund?.metadata?.refund_id;
  if (!refundId) return undefined;
  return { about: 'refund', accountId: refund.metadata?.account_id, refundId, outcome: refundOutcome(refund) };
}

async function readSetup(ask: AskStripe, { objectRef }: ProviderEvent): Promise<ProviderNews | undefined> {
  const setup = await unlessMissing(ask((stripe) => stripe.setupIntents.retrieve(objectRef)));
  const key = setup?.metadata?.attach_key;
  if (!key) return undefined;
  return { about: 'attachment', ...ownerOf(setup), key, outcome: await findAttachment(ask, objectRef) };
}

async function readMethod(
  ask: AskStripe,
  { objectRef, formerCustomerRef }: ProviderEvent,
): Promise<ProviderNews | undefined> {
  const method = await unlessMissing(ask((stripe) => stripe.paymentMethods.retrieve(objectRef)));
  if (!method) return undefined;
  // A payment method is made in the customer's browser, with whatever metadata they like: only whose it is counts.
  const customerRef = idOf(method.customer) ?? formerCustomerRef;
  return { about: 'method', customerRef, methodRef: method.id, card: method.customer ? cardOf(method) : undefined };
}

async function readDispute(ask: AskStripe, { objectRef }: ProviderEvent): Promise<ProviderNews | undefined> {
  const dispute = await unlessMissing(ask((stripe) => stripe.disputes.retrieve(objectRef)));
  const intentRef = idOf(dispute?.payment_intent);
  if (!dispute || !intentRef) return undefined;
  const intent = await retrieveIntent(ask, intentRef);
  const paymentId = intent.metadata.payment_id;
  if (!paymentId) return undefined;
  const state: DisputeState = {
    disputeRef: dispute.id,
    amount: amountOfStripe(dispute.amount, dispute.currency),
    reason: dispute.reason,
    status: disputeStatus(dispute.status),
  };
  return { about: 'dispute', ...ownerOf(intent), paymentId, dispute: state };
}

/** An inquiry that was closed took no money: the seller has won it. */
function disputeStatus(status: Stripe.Dispute['status']): DisputeState['status'] {
  if (status === 'lost') return 'LOST';
  return status === 'won' || status === 'warning_closed' || status === 'prevented' ? 'WON' : 'OPEN';
}

const ownerOf = ({
  metadata,
  customer,
}: {
  metadata: Stripe.Metadata | null;
  customer: string | { id: string } | null;
}): { accountId: string | undefined; customerRef: string | undefined } => ({
  accountId: metadata?.account_id,
  customerRef: idOf(customer),
});
