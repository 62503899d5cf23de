import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  ID,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import { AccountType } from '../account/account.resolver.js';
import type { Plan } from '../catalog/plan.entity.js';
import { PlanType } from '../catalog/plan.resolver.js';
import { plansByIds } from '../catalog/plans.js';
import type { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { InvoiceLineType, InvoiceType, type LineView } from '../invoice/invoice.resolver.js';
import { invoicesByIds } from '../invoice/invoices.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import {
  enumOf,
  IdempotentInput,
  MoneyType,
  MutationPayload,
  moneyOf,
  NodeType,
  PeriodType,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { DateTime, DecimalScalar } from '../platform/scalars.js';
import { UsageSummaryType } from '../usage/usage.resolver.js';
import { type UsageSummary, usageSummary } from '../usage/usageSummary.js';
import { type CancelSubscriptionInput as CancelCommand, cancelSubscription } from './cancelSubscription.js';
import { type ChangePlanInput as ChangeCommand, changePlan } from './changePlan.js';
import { type Entitlement, entitlements } from './entitlements.js';
import { type PreviewAnswer, preview } from './preview.js';
import { type SubscribeInput as SubscribeCommand, type SubscriptionAnswer, subscribe } from './subscribe.js';
import { type Subscription as SubscriptionRow, subscriptionStatuses } from './subscription.entity.js';
import { liveSubscription, subscriptionsByIds } from './subscriptions.js';
import { draftLine } from './upcomingInvoice.js';

const SubscriptionStatus = enumOf(subscriptionStatuses);
const ChangeTiming = enumOf(['AUTO', 'IMMEDIATE', 'PERIOD_END'] as const);
const Proration = enumOf(['PER_DAY', 'PER_SECOND', 'NONE'] as const);
registerEnumType(SubscriptionStatus, { name: 'SubscriptionStatus' });
registerEnumType(ChangeTiming, { name: 'ChangeTiming' });
registerEnumType(Proration, { name: 'Proration' });

@ObjectType('BillingSubscription', { implements: NodeType })
export class BillingSubscriptionType extends NodeType {
  @Field(() => Int)
  version!: number;

  @Field(() => SubscriptionStatus)
  status!: SubscriptionRow['status'];

  @Field(() => DateTime, { nullable: true })
  trialEndsAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  cancelAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  canceledAt?: Date | null;
}

@ObjectType('Entitlement')
export class EntitlementType {
  @Field(() => String)
  feature!: string;

  @Field(() => Boolean)
  allowed!: boolean;

  @Field(() => DecimalScalar, { nullable: true })
  limit?: Decimal | null;

  @Field(() => DecimalScalar)
  used!: Decimal;

  @Field(() => DecimalScalar, { nullable: true })
  remaining?: Decimal | null;

  @Field(() => DateTime, { nullable: true })
  resetsAt?: Date | null;
}

@ObjectType('SubscriptionPayload')
class SubscriptionPayload extends MutationPayload {
  @Field(() => BillingSubscriptionType, { nullable: true })
  subscription?: SubscriptionRow | undefined;

  /** Shown by a resolver of its own, because it takes another scope. */
  invoice?: Invoice | undefined;
}

@ObjectType('Preview')
class PreviewType {
  @Field(() => String)
  token!: string;

  @Field(() => DateTime)
  validUntil!: Date;
}

@InputType('SubscribeInput')
class SubscribeInput extends IdempotentInput {
  @Field(() => String)
  planCode!: string;

  @Field(() => ID, { nullable: true })
  paymentMethodId?: string | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

@InputType('ChangePlanInput')
class ChangePlanInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => String)
  planCode!: string;

  @Field(() => ChangeTiming, {
    nullable: true,
    defaultValue: 'AUTO',
    description: "AUTO: an upgrade now, a downgrade at the period's end",
  })
  timing?: ChangeCommand['timing'] | null;

  @Field(() => Proration, { nullable: true })
  proration?: ChangeCommand['proration'] | null;

  @Field(() => Int, { nullable: true })
  expectedVersion?: number | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

@InputType('CancelSubscriptionInput')
class CancelSubscriptionInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => ChangeTiming, { nullable: true, defaultValue: 'PERIOD_END' })
  timing?: CancelCommand['timing'] | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

/** `@oneOf` is set on the built schema (see api/schema), because TypeGraphQL has no option for it. */
@InputType('PreviewInput')
class PreviewInput {
  @Field(() => SubscribeInput, { nullable: true })
  subscribe?: SubscribeInput | null;

  @Field(() => ChangePlanInput, { nullable: true })
  changePlan?: ChangePlanInput | null;

  @Field(() => CancelSubscriptionInput, { nullable: true })
  cancelSubscription?: CancelSubscriptionInput | null;
}

// One command for a change and its preview: the preview's token is bound to it.
const subscribeCommand = (input: SubscribeInput): SubscribeCommand => ({
  idempotencyKey: input.idempotencyKey,
  planCode: input.planCode,
  paymentMethodId: input.paymentMethodId ?? undefined,
  previewToken: input.previewToken ?? undefined,
});
const changeCommand = (input: ChangePlanInput): ChangeCommand => ({
  idempotencyKey: input.idempotencyKey,
  subscriptionId: input.subscriptionId,
  planCode: input.planCode,
  timing: input.timing ?? 'AUTO',
  proration: input.proration ?? 'PER_DAY',
  expectedVersion: input.expectedVersion ?? undefined,
  previewToken: input.previewToken ?? undefined,
});
const cancelCommand = (input: CancelSubscriptionInput): CancelCommand => ({
  idempotencyKey: input.idempotencyKey,
  subscriptionId: input.subscriptionId,
  timing: input.timing ?? 'PERIOD_END',
  previewToken: input.previewToken ?? undefined,
});

const changed = ({ scope, actor }: Context, change: Promise<SubscriptionAnswer>): Promise<SubscriptionPayload> =>
  payload(async () => {
    const { subscriptionId, invoiceId, replayed, error } = await change;
    return {
      subscription: await load(scope, subscriptionsByIds, actor.accountId, subscriptionId),
      invoice: invoiceId === undefined ? undefined : await load(scope, invoicesByIds, actor.accountId, invoiceId),
      replayed,
      error,
    };
  });

@Resolver(() => BillingSubscriptionType)
export class SubscriptionResolver {
  @FieldResolver(() => ID)
  id(@Root() subscription: SubscriptionRow): string {
    return publicId('subscription', subscription.id);
  }

  @FieldResolver(() => PlanType)
  plan(@Root() subscription: SubscriptionRow, @Ctx() { scope }: Context): Promise<Plan | undefined> {
    return load(scope, plansByIds, subscription.accountId, subscription.planId);
  }

  @FieldResolver(() => PlanType, { nullable: true })
  pendingPlan(@Root() subscription: SubscriptionRow, @Ctx() { scope }: Context): Promise<Plan | undefined> | null {
    return subscription.pendingPlanId
      ? load(scope, plansByIds, subscription.accountId, subscription.pendingPlanId)
      : null;
  }

  @FieldResolver(() => PeriodType)
  currentPeriod(@Root() subscription: SubscriptionRow): PeriodType {
    return { start: subscription.periodStart, end: subscription.periodEnd };
  }

  @FieldResolver(() => UsageSummaryType)
  usage(@Root() subscription: SubscriptionRow, @Ctx() { scope, deps, actor }: Context): Promise<UsageSummary> {
    requireScope(actor, 'usage:read');
    return usageSummary(scope.em, { accountId: subscription.accountId, clock: deps.clock });
  }

  @Query(() => BillingSubscriptionType, { nullable: true })
  async subscription(
    @Arg('id', () => ID) id: string,
    @Ctx() { scope, actor }: Context,
  ): Promise<SubscriptionRow | null> {
    requireScope(actor, 'subscriptions:read');
    const uuid = uuidOf('subscription', id);
    return uuid === undefined ? null : ((await load(scope, subscriptionsByIds, actor.accountId, uuid)) ?? null);
  }

  @Query(() => PreviewType, {
    description: 'What a change would cost, changing nothing; `token` makes the change charge exactly this',
  })
  preview(
    @Arg('input', () => PreviewInput) input: PreviewInput,
    @Ctx() { deps, actor }: Context,
  ): Promise<PreviewAnswer> {
    if (input.subscribe) return preview(deps, actor, { subscribe: subscribeCommand(input.subscribe) });
    if (input.changePlan) return preview(deps, actor, { changePlan: changeCommand(input.changePlan) });
    if (input.cancelSubscription)
      return preview(deps, actor, { cancelSubscription: cancelCommand(input.cancelSubscription) });
    throw invalid('preview needs exactly one of subscribe, changePlan, cancelSubscription', 'input');
  }

  @Mutation(() => SubscriptionPayload)
  subscribe(
    @Arg('input', () => SubscribeInput) input: SubscribeInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    return changed(context, subscribe(context.deps, context.actor, subscribeCommand(input)));
  }

  @Mutation(() => SubscriptionPayload)
  changePlan(
    @Arg('input', () => ChangePlanInput) input: ChangePlanInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    return changed(context, changePlan(context.deps, context.actor, changeCommand(input)));
  }

  @Mutation(() => SubscriptionPayload)
  cancelSubscription(
    @Arg('input', () => CancelSubscriptionInput) input: CancelSubscriptionInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    return changed(context, cancelSubscription(context.deps, context.actor, cancelCommand(input)));
  }
}

@Resolver(() => SubscriptionPayload)
export class SubscriptionPayloadResolver {
  @FieldResolver(() => InvoiceType, { nullable: true })
  invoice(@Root() { invoice }: SubscriptionPayload, @Ctx() { actor }: Context): Invoice | undefined {
    if (invoice) requireScope(actor, 'invoices:read');
    return invoice;
  }
}

@Resolver(() => PreviewType)
export class PreviewResolver {
  @FieldResolver(() => MoneyType)
  dueNow(@Root() quoted: PreviewAnswer): MoneyType {
    return moneyOf(quoted.dueNowMinor, quoted.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'What goes to the wallet as credit' })
  credit(@Root() quoted: PreviewAnswer): MoneyType {
    return moneyOf(quoted.creditMinor, quoted.currency);
  }

  @FieldResolver(() => [InvoiceLineType])
  lines(@Root() quoted: PreviewAnswer, @Ctx() { actor }: Context): LineView[] {
    const account = { id: actor.accountId, currency: quoted.currency };
    return quoted.lines.map((line, position) => draftLine(line, { account, invoiceId: '', position }));
  }

  @FieldResolver(() => InvoiceType, {
    nullable: true,
    description: 'The invoice it would issue, with coupons and taxes; null when there is nothing to invoice',
  })
  invoice(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.invoice;
  }

  @FieldResolver(() => InvoiceType, { nullable: true, description: 'The renewal that follows; null when none does' })
  nextInvoice(@Root() quoted: PreviewAnswer): Invoice | null {
    return quoted.nextInvoice;
  }
}

@Resolver(() => AccountType)
export class AccountSubscriptionResolver {
  @FieldResolver(() => BillingSubscriptionType, { nullable: true })
  subscription(@Ctx() { scope, actor }: Context): Promise<SubscriptionRow | null> {
    requireScope(actor, 'subscriptions:read');
    return liveSubscription(scope.em, actor.accountId);
  }

  @FieldResolver(() => [EntitlementType])
  entitlements(@Ctx() { scope, actor, deps }: Context): Promise<Entitlement[]> {
    requireScope(actor, 'usage:read');
    return entitlements(scope.em, { accountId: actor.accountId, clock: deps.clock });
  }
}
