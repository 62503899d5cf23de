import { z } from 'zod';
import { creditNote, invoice, paymentMethod, subscription, wallet, webhookEndpoint } from '../domain/resources.js';
import { text, whole } from '../domain/shape.js';
import { cancelQuery, eventsQuery, historyQuery, invoicesQuery, pageQuery } from './parseRest.js';
import * as shapes from './restShapes.js';

/** What `openapi.json` says of a route beside what the route itself says. */
export interface RouteDescription {
  /** The `operationId`: what a generated client calls it. */
  readonly name: string;
  readonly summary: string;
  readonly query?: z.ZodObject;
  /** 200 unless said. */
  readonly status?: 201 | 204;
  /** The body of that answer; `pdf`: a document; none: no body. */
  readonly answer?: z.ZodType | 'pdf';
  /** What the same body means with 202: it isn't settled yet. */
  readonly unsettled?: string;
}

const list = (name: string, of: z.ZodType) => z.strictObject({ [name]: z.array(of) });
/** The payment provider hasn't answered; who asked may look again, but must not pay again. */
const unpaid = 'The payment provider has not answered yet: it settles by itself, ask for the object again';

/** By `METHOD path` of the route table; a route without an entry is an error when the document is made. */
export const restDescriptions: Readonly<Record<string, RouteDescription>> = {
  'GET /plans': { name: 'listPlans', summary: 'Plans that can be subscribed to', answer: list('plans', shapes.plan) },
  'POST /subscriptions': {
    name: 'createSubscription',
    summary: 'Subscribes the account to a plan, and collects the first invoice',
    status: 201,
    answer: subscription,
    unsettled: unpaid,
  },
  'GET /subscriptions': {
    name: 'listSubscriptions',
    summary: 'Subscriptions of the account, those that have ended too',
    answer: list('subscriptions', subscription),
  },
  'GET /subscriptions/:id': { name: 'getSubscription', summary: 'One subscription', answer: subscription },
  'PATCH /subscriptions/:id': {
    name: 'changePlan',
    summary: 'Changes plan or quantity, at once or when the period ends',
    answer: subscription,
    unsettled: unpaid,
  },
  'DELETE /subscriptions/:id': {
    name: 'cancelSubscription',
    summary: 'Cancels at once or when the period ends',
    query: cancelQuery,
    answer: subscription,
    unsettled: unpaid,
  },
  'POST /payment-methods': {
    name: 'addPaymentMethod',
    summary: 'Adds a payment method by a token of the provider',
    status: 201,
    answer: paymentMethod,
  },
  'GET /payment-methods': {
    name: 'listPaymentMethods',
    summary: 'Payment methods that can be charged',
    answer: list('payment_methods', paymentMethod),
  },
  'GET /payment-methods/:id': { name: 'getPaymentMethod', summary: 'One payment method', answer: paymentMethod },
  'DELETE /payment-methods/:id': { name: 'removePaymentMethod', summary: 'Removes a payment method', status: 204 },
  'POST /payment-methods/:id/default': {
    name: 'setDefaultPaymentMethod',
    summary: 'Makes it the one that invoices are collected from',
    answer: paymentMethod,
  },
  'GET /invoices': {
    name: 'listInvoices',
    summary: 'Invoices, newest first',
    query: invoicesQuery,
    answer: list('invoices', invoice),
  },
  'GET /invoices/:id': { name: 'getInvoice', summary: 'One invoice with its lines', answer: invoice },
  'GET /invoices/:id/pdf': { name: 'getInvoicePdf', summary: 'The invoice as a PDF', answer: 'pdf' },
  'POST /invoices/:id/pay': {
    name: 'payInvoice',
    summary: 'Collects an open invoice now, from the default payment method',
    answer: invoice,
    unsettled: unpaid,
  },
  'GET /credit-notes': {
    name: 'listCreditNotes',
    summary: 'Credit notes, newest first',
    query: pageQuery('creditNote'),
    answer: list('credit_notes', creditNote),
  },
  'GET /credit-notes/:id': { name: 'getCreditNote', summary: 'One credit note', answer: creditNote },
  'GET /credit-notes/:id/pdf': { name: 'getCreditNotePdf', summary: 'The credit note as a PDF', answer: 'pdf' },
  'GET /usage': { name: 'getUsage', summary: 'Use and limits of the current period', answer: shapes.usage },
  'GET /usage/history': {
    name: 'getUsageHistory',
    summary: 'Use of past periods',
    query: historyQuery,
    answer: list('history', shapes.usage),
  },
  'POST /usage/events': {
    name: 'recordUsage',
    summary: 'Records usage, each event once by its transaction_id: one, a list, {"events": […]}, or lines of JSON',
    answer: z.strictObject({
      results: z.array(shapes.usageResult),
      watermark: text.meta({ description: 'Usage summaries that say at least this include these events' }),
    }),
  },
  'POST /usage/corrections': {
    name: 'correctUsage',
    summary: 'Takes usage events back or replaces them, and says what that means for invoices that are final',
    answer: z.strictObject({
      usage: shapes.usage,
      corrections: z.array(shapes.madeCorrection),
      proposals: z.array(shapes.proposal),
    }),
  },
  'GET /wallet': { name: 'getWallet', summary: 'Balance and automatic recharge', answer: wallet },
  'POST /wallet/top-up': {
    name: 'topUpWallet',
    summary: 'Charges a payment method and credits the wallet',
    status: 201,
    answer: shapes.topUp,
    unsettled: unpaid,
  },
  'PUT /wallet/auto-recharge': {
    name: 'configureAutoRecharge',
    summary: 'Refills the wallet by itself when it falls below a threshold',
    answer: wallet,
  },
  'GET /wallet/transactions': {
    name: 'listWalletTransactions',
    summary: 'Movements of the wallet, newest first',
    query: pageQuery('walletTransaction'),
    answer: list('transactions', shapes.walletTransaction),
  },
  'POST /webhooks': {
    name: 'createWebhookEndpoint',
    summary: 'Registers a URL for signed events',
    status: 201,
    answer: shapes.webhookEndpointWithSecret,
  },
  'GET /webhooks': {
    name: 'listWebhookEndpoints',
    summary: 'Webhook endpoints of the account',
    answer: list('webhooks', webhookEndpoint),
  },
  'PATCH /webhooks/:id': {
    name: 'updateWebhookEndpoint',
    summary: 'Changes the URL or the events, disables or enables; enabling forgets the failures of before',
    answer: webhookEndpoint,
  },
  'DELETE /webhooks/:id': { name: 'deleteWebhookEndpoint', summary: 'Sends nothing more to an endpoint', status: 204 },
  'POST /webhooks/:id/rotate-secret': {
    name: 'rotateWebhookSecret',
    summary: 'Makes a new secret; for a day deliveries are signed with the old one as well',
    answer: shapes.webhookEndpointWithSecret,
  },
  'POST /webhooks/:id/test': {
    name: 'sendTestEvent',
    summary: 'Sends an example of an event to this endpoint alone',
    status: 201,
    answer: shapes.webhookDelivery,
  },
  'POST /webhooks/:id/redeliver': {
    name: 'redeliverWebhooks',
    summary: 'Sends the events of a time again, or those that failed; with the same webhook-id',
    answer: z.strictObject({ count: whole }),
  },
  'GET /webhooks/:id/deliveries': {
    name: 'listWebhookDeliveries',
    summary: 'What was and will be sent to an endpoint, newest first',
    query: pageQuery('webhookDelivery'),
    answer: list('deliveries', shapes.webhookDelivery),
  },
  'GET /webhooks/:id/deliveries/:delivery': {
    name: 'getWebhookDelivery',
    summary: 'One delivery with its log of attempts',
    answer: shapes.loggedDelivery,
  },
  'POST /webhooks/:id/deliveries/:delivery/redeliver': {
    name: 'redeliverWebhook',
    summary: 'Sends one delivery again, with the same webhook-id',
    answer: shapes.webhookDelivery,
  },
  'GET /events': {
    name: 'listEvents',
    summary: 'The event log, oldest first: for whoever missed a webhook',
    query: eventsQuery,
    answer: list('events', shapes.event),
  },
  'GET /test-clock': { name: 'getTestClock', summary: 'The time the account lives in', answer: shapes.testClock },
  'POST /test-clock': {
    name: 'createTestClock',
    summary: 'Gives an account without a history a clock of its own',
    status: 201,
    answer: shapes.testClock,
  },
  'POST /test-clock/advance': {
    name: 'advanceTestClock',
    summary: 'Lets time go by for the account, with all that is due in it',
    answer: shapes.testClock,
    unsettled: 'The rest of the time goes by in the background',
  },
};
