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
import { accountById } from '../account/createAccount.js';
import type { Plan } from '../catalog/plan.entity.js';
import { PlanType } from '../catalog/plan.resolver.js';
import { plansByIds } from '../catalog/plans.js';
import type { Decimal } from '../domain/decimal.js';
import type { Invoice } from '../invoice/invoice.entity.js';
import { InvoiceType } from '../invoice/invoice.resolver.js';
import { invoicesByIds } from '../invoice/invoices.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { enumOf, IdempotentInput, MutationPayload, NodeType, PeriodType, payload } from '../platform/graphqlTypes.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { DateTime, DecimalScalar } from '../platform/scalars.js';
import { UsageSummaryType } from '../usage/usage.resolver.js';
import { type UsageSummary, usageSummary } from '../usage/usageSummary.js';
import { type CancelSubscriptionInput as CancelCommand, cancelSubscription } from './cancelSubscription.js';
import { type ChangePlanInput as ChangeCommand, changePlan } from './changePlan.js';
import { type Entitlement, entitlements } from './entitlements.js';
import { readState } from './state.js';
import { type SubscribeInput as SubscribeCommand, type SubscriptionAnswer, subscribe } from './subscribe.js';
import { type Subscription as SubscriptionRow, subscriptionStatuses } from './subscription.entity.js';
import { liveSubscription, subscriptionsByIds } from './subscriptions.js';
import { upcomingInvoice } from './upcomingInvoice.js';

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

  @Field(() => Int, { description: "The plan's price counts once for each" })
  quantity!: number;

  @Field(() => Int, { nullable: true, description: 'Takes over when the period ends' })
  pendingQuantity?: number | null;

  @Field(() => DateTime, { nullable: true })
  trialEndsAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  cancelAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  canceledAt?: Date | null;

  @Field(() => DateTime, { nullable: true })
  pausedAt?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When a pause ends by itself' })
  resumeAt?: Date | null;
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
export class SubscriptionPayload extends MutationPayload {
  @Field(() => BillingSubscriptionType, { nullable: true })
  subscription?: SubscriptionRow | undefined;

  /** Shown by a resolver of its own, because it takes another scope. */
  invoice?: Invoice | undefined;
}

@InputType('SubscribeInput')
export class SubscribeInput extends IdempotentInput {
  @Field(() => String)
  planCode!: string;

  @Field(() => Int, { nullable: true, description: '1 to 1,000,000; absent: 1' })
  quantity?: number | null;

  @Field(() => ID, { nullable: true })
  paymentMethodId?: string | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

@InputType('ChangePlanInput')
export class ChangePlanInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => String)
  planCode!: string;

  @Field(() => Int, { nullable: true, description: 'Absent: as it is' })
  quantity?: number | null;

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
export class CancelSubscriptionInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => ChangeTiming, { nullable: true, defaultValue: 'PERIOD_END' })
  timing?: CancelCommand['timing'] | null;

  @Field(() => Int, { nullable: true })
  expectedVersion?: number | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

// One command for a change and its preview: the preview's token is bound to it.
export const subscribeCommand = (input: SubscribeInput): SubscribeCommand => ({
  idempotencyKey: input.idempotencyKey,
  planCode: input.planCode,
  quantity: input.quantity ?? undefined,
  paymentMethodId: input.paymentMethodId ?? undefined,
  previewToken: input.previewToken ?? undefined,
});
export const changeCommand = (input: ChangePlanInput): ChangeCommand => ({
  idempotencyKey: input.idempotencyKey,
  subscriptionId: input.subscriptionId,
  planCode: input.planCode,
  quantity: input.quantity ?? undefined,
  timing: input.timing ?? 'AUTO',
  proration: input.proration ?? 'PER_DAY',
  expectedVersion: input.expectedVersion ?? undefined,
  previewToken: input.previewToken ?? undefined,
});
export const cancelCommand = (input: CancelSubscriptionInput): CancelCommand => ({
  idempotencyKey: input.idempotencyKey,
  subscriptionId: input.subscriptionId,
  timing: input.timing ?? 'PERIOD_END',
  expectedVersion: input.expectedVersion ?? undefined,
  previewToken: input.previewToken ?? undefined,
});

/** Answers a change with the rows it made. */
export const changed = ({ scope, actor }: Context, change: Promise<SubscriptionAnswer>): Promise<SubscriptionPayload> =>
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

  @FieldResolver(() => InvoiceType, {
    nullable: true,
    description: 'What comes next by itself, with the usage so far; null when nothing does',
  })
  async upcomingInvoice(
    @Root() subscription: SubscriptionRow,
    @Ctx() { scope: { em }, actor }: Context,
  ): Promise<Invoice | null> {
    requireScope(actor, 'invoices:read');
    const account = await accountById(em, subscription.accountId);
    return upcomingInvoice(em, { account, state: await readState(em, subscription) });
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
