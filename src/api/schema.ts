import { type GraphQLInputObjectType, GraphQLSchema, lexicographicSortSchema, printSchema } from 'graphql';
import { buildSchemaSync } from 'type-graphql';
import { AccountResolver } from '../account/account.resolver.js';
import { BillingSettingsResolver } from '../account/billingSettings.resolver.js';
import { TestClockResolver } from '../account/testClock.resolver.js';
import { MetricResolver, PlanFeatureResolver, PlanResolver } from '../catalog/plan.resolver.js';
import { AccountCouponsResolver, AppliedCouponResolver } from '../invoice/coupon.resolver.js';
import {
  CreditNoteLineResolver,
  CreditNoteResolver,
  InvoiceCreditNotesResolver,
} from '../invoice/creditNote.resolver.js';
import {
  InvoiceDiscountResolver,
  InvoiceLineResolver,
  InvoiceResolver,
  InvoiceTaxResolver,
} from '../invoice/invoice.resolver.js';
import { AccountInvoiceItemsResolver, InvoiceItemResolver } from '../invoice/invoiceItem.resolver.js';
import { AccountPaymentMethodsResolver, PaymentMethodResolver, PaymentResolver } from '../payment/payment.resolver.js';
import { RefundResolver } from '../payment/refund.resolver.js';
import { EventResolver } from '../platform/event.resolver.js';
import { EventTypesResolver } from '../platform/eventTypes.resolver.js';
import { CalendarDate } from '../platform/scalars.js';
import { ApplyCouponResolver } from '../subscription/applyCoupon.resolver.js';
import { MigrateResolver } from '../subscription/migrate.resolver.js';
import { PauseResolver } from '../subscription/pause.resolver.js';
import { PreviewResolver } from '../subscription/preview.resolver.js';
import {
  AccountSubscriptionResolver,
  SubscriptionPayloadResolver,
  SubscriptionResolver,
} from '../subscription/subscription.resolver.js';
import { CorrectUsageResolver, UsageProposalResolver } from '../usage/correctUsage.resolver.js';
import { FinalizeInvoiceResolver } from '../usage/finalizeInvoice.resolver.js';
import { UsageItemResolver, UsageResolver, UsageThresholdEventResolver } from '../usage/usage.resolver.js';
import { InvoiceLineEventsResolver, UsageEventResolver } from '../usage/usageEvents.resolver.js';
import { CreditGrantResolver, WalletGrantsResolver } from '../wallet/grant.resolver.js';
import { HoldResolver, WalletHoldsResolver } from '../wallet/hold.resolver.js';
import { LedgerMovementResolver, LedgerStatementResolver } from '../wallet/ledger.resolver.js';
import { AccountWalletResolver, WalletResolver, WalletTransactionResolver } from '../wallet/wallet.resolver.js';
import { RedeliverResolver } from '../webhook/redeliver.resolver.js';
import { WebhookDeliveryResolver, WebhookEndpointResolver } from '../webhook/webhook.resolver.js';
import { NodeResolver } from './node.resolver.js';

const unused = (): never => {
  throw new Error('every subscription brings its own `subscribe`: see liveSource');
};
/** TypeGraphQL asks for one; our subscriptions read the event log instead. */
const unusedPubSub = { publish: unused, subscribe: unused };

/** The whole schema, from the resolver classes of the features. Needs no database. */
export function createSchema(): GraphQLSchema {
  const schema = buildSchemaSync({
    resolvers: [
      NodeResolver,
      AccountResolver,
      TestClockResolver,
      BillingSettingsResolver,
      AccountSubscriptionResolver,
      AccountWalletResolver,
      AccountPaymentMethodsResolver,
      PlanResolver,
      PlanFeatureResolver,
      MetricResolver,
      SubscriptionResolver,
      SubscriptionPayloadResolver,
      PauseResolver,
      ApplyCouponResolver,
      MigrateResolver,
      PreviewResolver,
      UsageResolver,
      UsageItemResolver,
      UsageThresholdEventResolver,
      UsageEventResolver,
      InvoiceLineEventsResolver,
      CorrectUsageResolver,
      UsageProposalResolver,
      InvoiceResolver,
      InvoiceLineResolver,
      InvoiceCreditNotesResolver,
      CreditNoteResolver,
      CreditNoteLineResolver,
      RefundResolver,
      InvoiceDiscountResolver,
      InvoiceTaxResolver,
      AppliedCouponResolver,
      AccountCouponsResolver,
      InvoiceItemResolver,
      AccountInvoiceItemsResolver,
      FinalizeInvoiceResolver,
      PaymentMethodResolver,
      PaymentResolver,
      WalletResolver,
      WalletTransactionResolver,
      LedgerStatementResolver,
      LedgerMovementResolver,
      WalletGrantsResolver,
      CreditGrantResolver,
      WalletHoldsResolver,
      HoldResolver,
      EventResolver,
      EventTypesResolver,
      WebhookEndpointResolver,
      WebhookDeliveryResolver,
      RedeliverResolver,
    ],
    validate: false,
    pubSub: unusedPubSub,
  });
  // TypeGraphQL has no option for @oneOf; graphql-js enforces and prints it from this flag.
  (schema.getType('PreviewInput') as GraphQLInputObjectType).isOneOf = true;
  // Part of the public contract, though no field of the core returns it.
  const config = schema.toConfig();
  return new GraphQLSchema({ ...config, types: [...config.types, CalendarDate] });
}

/** The text of schema.graphql. */
export const printedSchema = (): string => `${printSchema(lexicographicSortSchema(createSchema()))}\n`;
