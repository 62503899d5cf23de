import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Resolver } from 'type-graphql';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { IdempotentInput, MutationPayload, payload } from '../platform/graphqlTypes.js';
import { DateTime } from '../platform/scalars.js';
import { deliveriesByIds } from './deliveries.js';
import { endpointsByIds } from './endpoints.js';
import { redeliverWebhook, redeliverWebhooks } from './redeliver.js';
import { sendTestEvent } from './sendTestEvent.js';
import type { WebhookDelivery, WebhookEndpoint } from './webhook.entity.js';
import { WebhookDeliveryType, WebhookEndpointType } from './webhook.resolver.js';

@InputType('RedeliverWebhookInput')
class RedeliverWebhookInput extends IdempotentInput {
  @Field(() => ID)
  webhookDeliveryId!: string;
}

@InputType('RedeliverWebhooksInput')
class RedeliverWebhooksInput extends IdempotentInput {
  @Field(() => ID)
  webhookEndpointId!: string;

  @Field(() => DateTime, { description: 'Events that happened from then on' })
  from!: Date;

  @Field(() => DateTime, { nullable: true, description: 'and before; left out: until now' })
  to?: Date | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      'Only those whose delivery has failed; else all that the endpoint wants, delivered, failed or never sent',
  })
  onlyFailed?: boolean | null;
}

@InputType('SendTestEventInput')
class SendTestEventInput extends IdempotentInput {
  @Field(() => ID)
  webhookEndpointId!: string;

  @Field(() => String, { nullable: true, description: 'Left out: invoice.paid, or the first type the endpoint gets' })
  type?: string | null;
}

@ObjectType('WebhookDeliveryPayload')
class WebhookDeliveryPayload extends MutationPayload {
  @Field(() => WebhookDeliveryType, { nullable: true })
  webhookDelivery?: WebhookDelivery | undefined;
}

@ObjectType('RedeliverWebhooksPayload')
class RedeliverWebhooksPayload extends MutationPayload {
  @Field(() => WebhookEndpointType, { nullable: true })
  webhookEndpoint?: WebhookEndpoint | undefined;

  @Field(() => Int, { nullable: true, description: 'How many deliveries are due because of this' })
  count?: number | undefined;
}

@Resolver()
export class RedeliverResolver {
  @Mutation(() => WebhookDeliveryPayload, { description: 'Sends it again, with the same webhook-id' })
  redeliverWebhook(
    @Arg('input', () => RedeliverWebhookInput) input: RedeliverWebhookInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookDeliveryPayload> {
    return payload(async () => {
      const { deliveryId, replayed } = await redeliverWebhook(deps, actor, { ...input });
      return { webhookDelivery: await load(scope, deliveriesByIds, actor.accountId, deliveryId), replayed };
    });
  }

  @Mutation(() => RedeliverWebhooksPayload, {
    description: 'Sends the events of a time again, or for the first time, at most 10,000 at once',
  })
  redeliverWebhooks(
    @Arg('input', () => RedeliverWebhooksInput) { to, onlyFailed, ...input }: RedeliverWebhooksInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<RedeliverWebhooksPayload> {
    return payload(async () => {
      const { endpointId, count, replayed } = await redeliverWebhooks(deps, actor, {
        ...input,
        to: to ?? undefined,
        onlyFailed: onlyFailed ?? false,
      });
      return { webhookEndpoint: await load(scope, endpointsByIds, actor.accountId, endpointId), count, replayed };
    });
  }

  @Mutation(() => WebhookDeliveryPayload, {
    description: 'Sends an example to this endpoint alone, with `"test": true` in its data; it is not in the event log',
  })
  sendTestEvent(
    @Arg('input', () => SendTestEventInput) { type, ...input }: SendTestEventInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookDeliveryPayload> {
    return payload(async () => {
      const { deliveryId, replayed } = await sendTestEvent(deps, actor, { ...input, type: type ?? undefined });
      return { webhookDelivery: await load(scope, deliveriesByIds, actor.accountId, deliveryId), replayed };
    });
  }
}
