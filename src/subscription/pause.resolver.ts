import { Arg, Ctx, Field, ID, InputType, Int, Mutation, Resolver } from 'type-graphql';
import type { Context } from '../platform/context.js';
import { IdempotentInput } from '../platform/graphqlTypes.js';
import { DateTime } from '../platform/scalars.js';
import { type PauseSubscriptionInput as PauseCommand, pauseSubscription } from './pauseSubscription.js';
import { type ResumeSubscriptionInput as ResumeCommand, resumeSubscription } from './resumeSubscription.js';
import { BillingSubscriptionType, changed, SubscriptionPayload } from './subscription.resolver.js';
import { undoScheduledChange } from './undoScheduledChange.js';

@InputType('UndoScheduledChangeInput')
class UndoScheduledChangeInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => Int, { nullable: true })
  expectedVersion?: number | null;
}

@InputType('ResumeSubscriptionInput')
export class ResumeSubscriptionInput extends IdempotentInput {
  @Field(() => ID)
  subscriptionId!: string;

  @Field(() => Int, { nullable: true })
  expectedVersion?: number | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

@InputType('PauseSubscriptionInput')
export class PauseSubscriptionInput extends ResumeSubscriptionInput {
  @Field(() => DateTime, {
    nullable: true,
    description: 'When it goes on by itself; absent: when it is resumed by hand',
  })
  resumeAt?: Date | null;
}

export const resumeCommand = (input: ResumeSubscriptionInput): ResumeCommand => ({
  idempotencyKey: input.idempotencyKey,
  subscriptionId: input.subscriptionId,
  expectedVersion: input.expectedVersion ?? undefined,
  previewToken: input.previewToken ?? undefined,
});
export const pauseCommand = (input: PauseSubscriptionInput): PauseCommand => ({
  ...resumeCommand(input),
  resumeAt: input.resumeAt ?? undefined,
});

@Resolver(() => BillingSubscriptionType)
export class PauseResolver {
  @Mutation(() => SubscriptionPayload, {
    description:
      'At once: the usage so far is billed, unused days become credit, no fee and no usage until it is resumed',
  })
  pauseSubscription(
    @Arg('input', () => PauseSubscriptionInput) input: PauseSubscriptionInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    return changed(context, pauseSubscription(context.deps, context.actor, pauseCommand(input)));
  }

  @Mutation(() => SubscriptionPayload, { description: 'A new period begins now, once its fee is paid' })
  resumeSubscription(
    @Arg('input', () => ResumeSubscriptionInput) input: ResumeSubscriptionInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    return changed(context, resumeSubscription(context.deps, context.actor, resumeCommand(input)));
  }

  @Mutation(() => SubscriptionPayload, {
    description: "Takes back what is scheduled: a change or cancellation at the period's end, the end of a pause",
  })
  undoScheduledChange(
    @Arg('input', () => UndoScheduledChangeInput) input: UndoScheduledChangeInput,
    @Ctx() context: Context,
  ): Promise<SubscriptionPayload> {
    const { idempotencyKey, subscriptionId, expectedVersion } = input;
    const command = { idempotencyKey, subscriptionId, expectedVersion: expectedVersion ?? undefined };
    return changed(context, undoScheduledChange(context.deps, context.actor, command));
  }
}
