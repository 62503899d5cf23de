import { accountById } from '../account/createAccount.js';
import { plansByIds } from '../catalog/plans.js';
import { presentCreditNotes } from '../invoice/creditNote.present.js';
import { listCreditNotes, ownCreditNote } from '../invoice/creditNotes.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { presentInvoice } from '../invoice/invoice.present.js';
import { linesByInvoiceIds, linesOf, listInvoices, ownInvoice } from '../invoice/invoices.js';
import { payInvoice } from '../invoice/payInvoice.js';
import { creditNotePdf } from '../invoice/renderCreditNote.js';
import { invoicePdf } from '../invoice/renderInvoice.js';
import { addPaymentMethod } from '../payment/addPaymentMethod.js';
import { presentPaymentMethod } from '../payment/payment.present.js';
import { activePaymentMethods, ownPaymentMethod, paymentMethodsByIds } from '../payment/paymentMethods.js';
import { removePaymentMethod } from '../payment/removePaymentMethod.js';
import { setDefaultPaymentMethod } from '../payment/setDefaultPaymentMethod.js';
import { publicId } from '../platform/ids.js';
import { cancelSubscription } from '../subscription/cancelSubscription.js';
import { changePlan } from '../subscription/changePlan.js';
import { subscribe } from '../subscription/subscribe.js';
import type { Subscription } from '../subscription/subscription.entity.js';
import { presentSubscription } from '../subscription/subscription.present.js';
import { listSubscriptions, ownSubscription } from '../subscription/subscriptions.js';
import {
  cancelQuery,
  changePlanBody,
  invoicesQuery,
  pageQuery,
  paymentMethodBody,
  readQuery,
  subscribeBody,
} from './parseRest.js';
import { presentCatalog } from './presentRest.js';
import { type Answer, type Call, outcome, type Route, route } from './restRoute.js';

/** Plans, subscriptions, payment methods, invoices and credit notes. */
export const salesRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/plans',
    scope: undefined,
    anyAccount: true,
    handle: async ({ em, accountId }) => ({ body: { plans: await presentCatalog(em, accountId) } }),
  }),

  route({
    method: 'POST',
    path: '/subscriptions',
    scope: 'subscriptions:write',
    body: subscribeBody,
    handle: async (call, { plan_id, quantity, payment_method_id }) => {
      const { deps, actor, idempotencyKey } = call;
      const input = { idempotencyKey, planCode: plan_id, quantity, paymentMethodId: payment_method_id };
      const answer = await subscribe(deps, actor, input);
      return outcome(answer, { name: 'subscription', body: await subscriptionOf(call, answer), status: 201 });
    },
  }),
  route({
    method: 'GET',
    path: '/subscriptions',
    scope: 'subscriptions:read',
    handle: async (call) => {
      const found = await listSubscriptions(call.em, call.accountId);
      return { body: { subscriptions: await presentSubscriptions(call, found) } };
    },
  }),
  route({
    method: 'GET',
    path: '/subscriptions/:id',
    scope: 'subscriptions:read',
    handle: async (call) => {
      const found = await ownSubscription(call.em, call.accountId, call.id);
      const [body] = await presentSubscriptions(call, [found]);
      return { body: body! };
    },
  }),
  route({
    method: 'PATCH',
    path: '/subscriptions/:id',
    scope: 'subscriptions:write',
    body: changePlanBody,
    handle: async (call, { plan_id, quantity, timing, proration }) => {
      const { deps, actor, id, idempotencyKey } = call;
      const input = { idempotencyKey, subscriptionId: id, planCode: plan_id, quantity, timing, proration };
      const answer = await changePlan(deps, actor, input);
      return outcome(answer, { name: 'subscription', body: await subscriptionOf(call, answer) });
    },
  }),
  route({
    method: 'DELETE',
    path: '/subscriptions/:id',
    scope: 'subscriptions:write',
    handle: async (call) => {
      const { deps, actor, id, idempotencyKey } = call;
      const { timing } = readQuery(cancelQuery, call.query);
      const answer = await cancelSubscription(deps, actor, { idempotencyKey, subscriptionId: id, timing });
      return outcome(answer, { name: 'subscription', body: await subscriptionOf(call, answer) });
    },
  }),

  route({
    method: 'POST',
    path: '/payment-methods',
    scope: 'payment_methods:write',
    body: paymentMethodBody,
    handle: async (call, { type, token }) => {
      const { deps, actor, idempotencyKey } = call;
      const answer = await addPaymentMethod(deps, actor, { idempotencyKey, type, token, makeDefault: false });
      return { status: 201, body: await paymentMethodOf(call, answer), replayed: answer.replayed };
    },
  }),
  route({
    method: 'GET',
    path: '/payment-methods',
    scope: 'payment_methods:read',
    handle: async ({ em, accountId }) => ({
      body: { payment_methods: (await activePaymentMethods(em, accountId)).map(presentPaymentMethod) },
    }),
  }),
  route({
    method: 'GET',
    path: '/payment-methods/:id',
    scope: 'payment_methods:read',
    handle: async ({ em, accountId, id }) => ({
      body: presentPaymentMethod(await ownPaymentMethod(em, accountId, id)),
    }),
  }),
  route({
    method: 'DELETE',
    path: '/payment-methods/:id',
    scope: 'payment_methods:write',
    handle: async ({ deps, actor, id, idempotencyKey }) => {
      const { replayed } = await removePaymentMethod(deps, actor, { idempotencyKey, paymentMethodId: id });
      return { status: 204, replayed };
    },
  }),
  route({
    method: 'POST',
    path: '/payment-methods/:id/default',
    scope: 'payment_methods:write',
    handle: async (call) => {
      const { deps, actor, id, idempotencyKey } = call;
      const answer = await setDefaultPaymentMethod(deps, actor, { idempotencyKey, paymentMethodId: id });
      return { body: await paymentMethodOf(call, answer), replayed: answer.replayed };
    },
  }),

  route({
    method: 'GET',
    path: '/invoices',
    scope: 'invoices:read',
    handle: async ({ em, accountId, query }) => {
      const { limit, after, status } = readQuery(invoicesQuery, query);
      const { nodes, pageInfo } = await listInvoices(em, accountId, { first: limit, after, status });
      const ids = nodes.map((invoice) => invoice.id);
      const lines = await linesByInvoiceIds(em, accountId, ids);
      const invoices = nodes.map((invoice) => presentInvoice(invoice, lines.get(invoice.id) ?? []));
      return { body: { invoices }, next: pageInfo.hasNextPage ? invoices.at(-1)?.id : undefined };
    },
  }),
  route({
    method: 'GET',
    path: '/invoices/:id',
    scope: 'invoices:read',
    handle: async (call) => ({ body: await presentWithLines(call, call.id) }),
  }),
  route({
    method: 'GET',
    path: '/invoices/:id/pdf',
    scope: 'invoices:read',
    handle: async ({ deps, actor, id }) => answerPdf(await invoicePdf(deps, actor, id)),
  }),
  route({
    method: 'POST',
    path: '/invoices/:id/pay',
    scope: 'invoices:write',
    handle: async (call) => {
      const { deps, actor, id, idempotencyKey } = call;
      const answer = await payInvoice(deps, actor, { idempotencyKey, invoiceId: id });
      const body = await presentWithLines(call, publicId('invoice', answer.invoiceId));
      return outcome(answer, { name: 'invoice', body });
    },
  }),

  route({
    method: 'GET',
    path: '/credit-notes',
    scope: 'invoices:read',
    handle: async ({ em, accountId, query }) => {
      const { limit, after } = readQuery(pageQuery('creditNote'), query);
      const { nodes, pageInfo } = await listCreditNotes(em, accountId, { first: limit, after });
      const notes = await presentCreditNotes(em, accountId, nodes);
      return { body: { credit_notes: notes }, next: pageInfo.hasNextPage ? notes.at(-1)?.id : undefined };
    },
  }),
  route({
    method: 'GET',
    path: '/credit-notes/:id',
    scope: 'invoices:read',
    handle: async ({ em, accountId, id }) => {
      const [body] = await presentCreditNotes(em, accountId, [await ownCreditNote(em, accountId, id)]);
      return { body: body! };
    },
  }),
  route({
    method: 'GET',
    path: '/credit-notes/:id/pdf',
    scope: 'invoices:read',
    handle: async ({ deps, actor, id }) => answerPdf(await creditNotePdf(deps, actor, id)),
  }),
];

const answerPdf = ({ fileName, pdf }: { fileName: string; pdf: Buffer }): Answer => ({
  body: pdf,
  headers: { 'content-type': 'application/pdf', 'content-disposition': `inline; filename="${fileName}"` },
});

async function presentSubscriptions({ em, accountId }: Call, subscriptions: readonly Subscription[]) {
  const { timeZone } = await accountById(em, accountId);
  const planIds = subscriptions.flatMap(({ planId, pendingPlanId }) =>
    pendingPlanId == null ? [planId] : [planId, pendingPlanId],
  );
  const plans = await plansByIds(em, accountId, [...new Set(planIds)]);
  return subscriptions.map((subscription) =>
    presentSubscription({
      subscription,
      planCode: plans.get(subscription.planId)!.code,
      pendingPlanCode: subscription.pendingPlanId == null ? null : plans.get(subscription.pendingPlanId)!.code,
      timeZone,
    }),
  );
}

async function subscriptionOf(call: Call, { subscriptionId }: { subscriptionId: string }): Promise<object> {
  const found = await ownSubscription(call.em, call.accountId, publicId('subscription', subscriptionId));
  const [body] = await presentSubscriptions(call, [found]);
  return body!;
}

/** As it is now: a repeat of an older request may speak of a method that has since been removed. */
async function paymentMethodOf(
  { em, accountId }: Call,
  { paymentMethodId }: { paymentMethodId: string },
): Promise<object> {
  const methods = await paymentMethodsByIds(em, accountId, [paymentMethodId]);
  return presentPaymentMethod(methods.get(paymentMethodId)!);
}

async function presentWithLines({ em, accountId }: Call, id: string): Promise<object> {
  const invoice: Invoice = await ownInvoice(em, accountId, id);
  return presentInvoice(invoice, await linesOf(em, accountId, invoice.id));
}
