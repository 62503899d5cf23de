import { Arg, Ctx, ID, Query, Resolver } from 'type-graphql';
import { accountsByIds } from '../account/account.resolver.js';
import { Metric } from '../catalog/plan.entity.js';
import { plansByIds } from '../catalog/plans.js';
import { creditNotesByIds } from '../invoice/creditNotes.js';
import { invoicesByIds, linesByIds } from '../invoice/invoices.js';
import { paymentMethodsByIds, paymentsByIds, refundsByIds } from '../payment/paymentMethods.js';
import { requireScope, type Scope } from '../platform/actor.js';
import { type BatchFunction, load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { loggedEventsByIds } from '../platform/event.resolver.js';
import { NodeType } from '../platform/graphqlTypes.js';
import { anyIdOf, type IdKind } from '../platform/ids.js';
import { subscriptionsByIds } from '../subscription/subscriptions.js';
import { grantsByIds } from '../wallet/grants.js';
import { holdsByIds } from '../wallet/holds.js';
import { ledgerMovementsByIds } from '../wallet/ledgerStatement.js';
import { walletTransactionsByIds, walletView } from '../wallet/wallets.js';
import { deliveriesByIds } from '../webhook/deliveries.js';
import { endpointsByIds } from '../webhook/endpoints.js';

type Find = (context: Context, uuid: string) => Promise<object | null | undefined>;

const byBatch =
  <Value extends object>(scope: Scope | undefined, batch: BatchFunction<Value>): Find =>
  async (context, uuid) => {
    if (scope) requireScope(context.actor, scope);
    return load(context.scope, batch, context.actor.accountId, uuid);
  };

/** How each kind of id is found, among what belongs to the actor's account. Total: a new kind must say how. */
const finders: Record<IdKind, { type: string; find: Find }> = {
  account: {
    type: 'Account',
    find: async (context, uuid) =>
      uuid === context.actor.accountId ? load(context.scope, accountsByIds, uuid, uuid) : undefined,
  },
  apiKey: { type: '', find: async () => undefined },
  plan: { type: 'Plan', find: byBatch(undefined, plansByIds) },
  metric: {
    type: 'Metric',
    find: ({ scope }, uuid) => scope.em.findOne(Metric, { id: uuid }, { disableIdentityMap: true }),
  },
  dispute: { type: '', find: async () => undefined },
  paymentMethod: { type: 'PaymentMethod', find: byBatch('payment_methods:read', paymentMethodsByIds) },
  payment: { type: 'Payment', find: byBatch('invoices:read', paymentsByIds) },
  wallet: {
    type: 'Wallet',
    find: async ({ deps, scope, actor }, uuid) => {
      requireScope(actor, 'wallet:read');
      const view = await walletView(deps, scope.em, actor.accountId);
      return view.wallet.id === uuid ? view : undefined;
    },
  },
  creditGrant: { type: 'CreditGrant', find: byBatch('wallet:read', grantsByIds) },
  hold: { type: 'Hold', find: byBatch('wallet:read', holdsByIds) },
  walletTransaction: { type: 'WalletTransaction', find: byBatch('wallet:read', walletTransactionsByIds) },
  ledgerMovement: {
    type: 'LedgerMovement',
    find: (context, uuid) => {
      requireScope(context.actor, 'wallet:read');
      return byBatch('invoices:read', ledgerMovementsByIds)(context, uuid);
    },
  },
  invoice: { type: 'Invoice', find: byBatch('invoices:read', invoicesByIds) },
  invoiceLine: {
    type: 'InvoiceLine',
    find: async (context, uuid) => {
      const line = await byBatch('invoices:read', linesByIds)(context, uuid);
      if (!line) return undefined;
      const invoice = await load(
        context.scope,
        invoicesByIds,
        context.actor.accountId,
        (line as { invoiceId: string }).invoiceId,
      );
      return { ...line, currency: invoice?.currency };
    },
  },
  invoiceItem: { type: '', find: async () => undefined },
  creditNote: { type: 'CreditNote', find: byBatch('invoices:read', creditNotesByIds) },
  appliedCoupon: { type: '', find: async () => undefined },
  refund: { type: 'Refund', find: byBatch('invoices:read', refundsByIds) },
  subscription: { type: 'BillingSubscription', find: byBatch('subscriptions:read', subscriptionsByIds) },
  event: { type: 'BillingEvent', find: byBatch('events:read', loggedEventsByIds) },
  webhookEndpoint: { type: 'WebhookEndpoint', find: byBatch('webhooks:read', endpointsByIds) },
  webhookDelivery: { type: 'WebhookDelivery', find: byBatch('webhooks:read', deliveriesByIds) },
};

@Resolver()
export class NodeResolver {
  @Query(() => NodeType, { nullable: true })
  async node(@Arg('id', () => ID) id: string, @Ctx() context: Context): Promise<object | null> {
    const named = anyIdOf(id);
    if (!named) return null;
    const { type, find } = finders[named.kind];
    const found = await find(context, named.uuid);
    return found ? Object.assign(found, { __typename: type }) : null;
  }
}
