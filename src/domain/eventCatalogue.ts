import { z } from 'zod';
import { type EventType, eventTypes } from './events.js';
import {
  appliedCoupon,
  correction,
  creditNote,
  dispute,
  grant,
  hold,
  invoice,
  paymentMethod,
  refund,
  subscription,
  threshold,
  wallet,
  webhookEndpoint,
} from './resources.js';
import { amount, flag, id, instant, type JsonSchema, jsonSchemaOf, text, whole } from './shape.js';

/** What is to be said of a type of event: when it happens, of what its data is, and in which shape. */
export interface EventEntry {
  /** One sentence without a full stop, in the past tense. */
  readonly when: string;
  readonly resource: string;
  /** `data` as it is emitted; the log adds `sequence`. */
  readonly data: z.ZodObject;
}

/** Entries about one kind of object, by what happened to it. */
const about =
  (resource: string, data: z.ZodObject) =>
  (when: string, more: z.ZodRawShape = {}): EventEntry => ({ when, resource, data: data.extend(more) });

const ofSubscription = about('subscription', subscription);
const ofInvoice = about('invoice', invoice);
const ofMethod = about('payment_method', paymentMethod);
const ofCoupon = about('applied_coupon', appliedCoupon);
const ofNote = about('credit_note', creditNote);
const ofRefund = about('refund', refund);
const ofDispute = about('dispute', dispute);
const ofThreshold = about('usage_threshold', threshold);
const ofWallet = about('wallet', wallet);
const ofHold = about('wallet_hold', hold);
const ofEndpoint = about('webhook_endpoint', webhookEndpoint);

const payment = { payment_id: id('pay') };
/** Only where the refund pays a credit note out; that of a top-up has none. */
const note = { credit_note_id: id('cn').optional() };

/** Every type of event, described once: GraphQL, OpenAPI and the README say what stands here. Total: a type without an entry doesn't compile. */
export const eventCatalogue: Readonly<Record<EventType, EventEntry>> = {
  'subscription.created': ofSubscription('A subscription began, in trial or with its first invoice paid'),
  'subscription.updated': ofSubscription(
    'Plan, quantity or what is scheduled was changed, or one that was past due is paid up',
  ),
  'subscription.canceled': ofSubscription('A subscription has ended, by its owner, its schedule or unpaid invoices'),
  'invoice.paid': ofInvoice('Nothing is due of an invoice any more: a card, the wallet or credit paid it'),
  'invoice.failed': ofInvoice('A payment of an invoice was declined, or there was nothing to pay it with', {
    decline_code: text,
  }),
  'usage.threshold': ofThreshold(
    'Usage reached a percentage of its limit, told once for each threshold, metric and period',
  ),
  'usage.threshold_cleared': ofThreshold(
    'A higher limit or corrected usage took use below a threshold that had been told',
  ),
  'subscription.renewed': ofSubscription('A new period began'),
  'subscription.past_due': ofSubscription(
    'An invoice of the subscription could not be paid; its features stay until retries end',
  ),
  'invoice.finalized': ofInvoice('An invoice got its number, and does not change any more'),
  'invoice.payment_action_required': ofInvoice('The holder of the card has to confirm the payment of an invoice'),
  'invoice.uncollectible': ofInvoice('The last retry of an invoice failed'),
  'invoice.voided': ofInvoice('An invoice was taken back, and is owed by nobody'),
  'payment_method.added': ofMethod('A payment method can be charged'),
  'payment_method.updated': ofMethod('A payment method became the default, or its card was renewed'),
  'payment_method.removed': ofMethod('A payment method was removed, here or at the payment provider'),
  'payment_method.expiring': ofMethod('A card expires within 30 days'),
  'subscription.trial_ending': ofSubscription('A trial ends within three days'),
  'subscription.paused': ofSubscription('A subscription was paused'),
  'subscription.resumed': ofSubscription('A paused subscription goes on, in a new period'),
  'invoice.created': ofInvoice('An invoice waits as a draft for late usage'),
  'credit_note.created': ofNote('A credit note was issued'),
  'credit_note.voided': ofNote('A credit note was taken back'),
  'refund.succeeded': ofRefund('A refund arrived at the method that had paid', note),
  'refund.failed': ofRefund('A refund could not be made; its amount is credit again', note),
  'dispute.opened': ofDispute('The holder of a card claims a payment back through the bank'),
  'dispute.closed': ofDispute('A dispute was decided'),
  'coupon.applied': ofCoupon('The account took a coupon'),
  'coupon.removed': ofCoupon('A coupon was taken from the account before it was used up'),
  'usage.corrected': about('usage_correction', correction)('A usage event was taken back or replaced'),
  'wallet.topped_up': ofWallet('A payment was credited to the wallet', payment),
  'wallet.top_up_failed': ofWallet('The payment of a top-up or recharge was declined', {
    ...payment,
    decline_code: text.nullable(),
  }),
  'wallet.credited': ofWallet('Credit was given to the wallet or put back into it', { grant: grant.optional() }),
  'wallet.drawn_down': ofWallet('The wallet paid (part of) an invoice', { invoice_id: id('inv') }),
  'wallet.updated': ofWallet('Settings of the wallet were changed, or the refund of a top-up took credit out of it'),
  'wallet.recharge_failed': ofWallet('An automatic recharge was declined, and is tried again later', {
    decline_code: text,
    next_attempt_at: instant,
  }),
  'wallet.recharge_capped': ofWallet('The monthly limit holds automatic recharges back until the next month', {
    next_attempt_at: instant,
  }),
  'wallet.low': ofWallet('What is available fell below the threshold, told once until it has been above it again', {
    held: amount,
    available: amount,
    threshold: amount,
  }),
  'wallet.credit_expired': ofWallet('Credit expired unused', { expired: amount, grant }),
  'wallet.hold_created': ofHold('Credit was set aside for work in progress'),
  'wallet.hold_captured': ofHold('A hold was charged, all of it or a part'),
  'wallet.hold_released': ofHold('A hold was given up, and its credit is available again'),
  'wallet.hold_expired': ofHold('A hold was neither captured nor released in time'),
  'webhook_endpoint.disabled': ofEndpoint('An endpoint only failed for five days, or answered that it is gone', {
    reason: z.enum(['failing', 'gone']),
  }),
};

/** What an event's `data` is wherever it is read: with its place in the log. */
export const loggedData = (type: EventType): z.ZodObject =>
  eventCatalogue[type].data.extend({
    sequence: whole.meta({ description: "The event's place in the account's log: 1, 2, 3 … without gaps" }),
  });

/** The same as a receiver may get it: a body that would be larger than 20 kB leaves the lines of its document out. */
function deliveredData(type: EventType): z.ZodObject {
  const data = loggedData(type);
  if (!('lines' in data.shape)) return data;
  return data.partial({ lines: true }).extend({
    lines_omitted: flag
      .optional()
      .meta({ description: 'true: the document has more lines than a webhook carries; ask for them by its id' }),
  });
}

/** JSON Schema of an event's `data`. */
export const dataSchemaOf = (type: EventType): JsonSchema => jsonSchemaOf(deliveredData(type));

/** What is not as the catalogue says in an event as it was emitted (without `sequence`) or logged; empty: all is. */
export function differencesFromCatalogue({ type, data }: { type: EventType; data: object }): string[] {
  const shape = 'sequence' in data ? loggedData(type) : eventCatalogue[type].data;
  const { error } = shape.safeParse(data);
  return (error?.issues ?? []).map(({ path, message }) => `${type}: ${path.join('.') || 'data'}: ${message}`);
}

/** The catalogue as the README shows it, a line for each type. */
export const eventTable = (): string =>
  [
    '| event | happens when | `data` is |',
    '| --- | --- | --- |',
    ...eventTypes.map((type) => {
      const { when, resource } = eventCatalogue[type];
      return `| \`${type}\` | ${when} | ${resource.replaceAll('_', ' ')} |`;
    }),
  ].join('\n');
