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
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { BillingEventType, loggedEventsByIds } from '../platform/event.resolver.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { enumOf, IdempotentInput, MutationPayload, NodeType, payload } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime } from '../platform/scalars.js';
import { attemptsByDeliveryIds, loadDeliveries } from './deliveries.js';
import { createWebhookEndpoint, deleteWebhookEndpoint, endpointsByIds, listWebhookEndpoints } from './endpoints.js';
import { deliveryStatuses, type WebhookAttempt, type WebhookDelivery, type WebhookEndpoint } from './webhook.entity.js';

const DeliveryStatus = enumOf(deliveryStatuses);
registerEnumType(DeliveryStatus, { name: 'DeliveryStatus' });

@ObjectType('WebhookAttempt', { description: 'One attempt to deliver' })
export class WebhookAttemptType {
  @Field(() => DateTime)
  attemptedAt!: Date;

  @Field(() => Int, { nullable: true })
  responseStatus?: number | null;

  @Field(() => Int)
  durationMs!: number;

  @Field(() => String, { description: 'The first 1 kB of the answer' })
  responseExcerpt!: string;

  @Field(() => String, { nullable: true, description: 'Why it failed, e.g. timeout' })
  error?: string | null;
}

@ObjectType('WebhookDelivery', { implements: NodeType })
export class WebhookDeliveryType extends NodeType {
  @Field(() => DeliveryStatus)
  status!: WebhookDelivery['status'];

  @Field(() => Int)
  attempts!: number;

  @Field(() => DateTime, { nullable: true })
  nextAttemptAt?: Date | null;

  @Field(() => Int, { nullable: true })
  responseStatus?: number | null;

  @Field(() => Int, { nullable: true })
  durationMs?: number | null;
}

const WebhookDeliveryConnection = connectionType('WebhookDelivery', () => WebhookDeliveryType);

@ObjectType('WebhookEndpoint', { implements: NodeType })
export class WebhookEndpointType extends NodeType {
  @Field(() => String)
  url!: string;

  @Field(() => [String], { description: 'Event types it gets; empty: all' })
  events!: string[];

  @Field(() => Boolean)
  enabled!: boolean;
}

@ObjectType('WebhookEndpointPayload')
class WebhookEndpointPayload extends MutationPayload {
  @Field(() => WebhookEndpointType, { nullable: true })
  webhookEndpoint?: WebhookEndpoint;
}

@InputType('WebhookEndpointInput')
class WebhookEndpointInput extends IdempotentInput {
  @Field(() => String)
  url!: string;

  @Field(() => [String], { nullable: true })
  events?: string[] | null;
}

@InputType('WebhookEndpointIdInput')
class WebhookEndpointIdInput extends IdempotentInput {
  @Field(() => ID)
  webhookEndpointId!: string;
}

/** An endpoint in the answer that creates it carries its secret under another name than the column's. */
type EndpointView = WebhookEndpoint & { shownSecret?: string };

@Resolver(() => WebhookDeliveryType)
export class WebhookDeliveryResolver {
  @FieldResolver(() => ID)
  id(@Root() delivery: WebhookDelivery): string {
    return publicId('webhookDelivery', delivery.id);
  }

  @FieldResolver(() => BillingEventType)
  event(@Root() delivery: WebhookDelivery, @Ctx() { scope, actor }: Context): Promise<LoggedEvent | undefined> {
    requireScope(actor, 'events:read');
    return load(scope, loggedEventsByIds, delivery.accountId, delivery.eventId);
  }

  @FieldResolver(() => [WebhookAttemptType], { description: 'The log of attempts, oldest first' })
  async log(@Root() delivery: WebhookDelivery, @Ctx() { scope }: Context): Promise<WebhookAttempt[]> {
    return (await load(scope, attemptsByDeliveryIds, delivery.accountId, delivery.id)) ?? [];
  }
}

@Resolver(() => WebhookEndpointType)
export class WebhookEndpointResolver {
  @FieldResolver(() => ID)
  id(@Root() endpoint: EndpointView): string {
    return publicId('webhookEndpoint', endpoint.id);
  }

  @FieldResolver(() => String, { nullable: true, description: 'Shown once, in the answer that creates or rotates it' })
  secret(@Root() endpoint: EndpointView): string | null {
    return endpoint.shownSecret ?? null;
  }

  @FieldResolver(() => WebhookDeliveryConnection)
  deliveries(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Root() endpoint: EndpointView,
    @Ctx() { scope }: Context,
  ): Promise<Connection<WebhookDelivery>> {
    return loadDeliveries(scope, { accountId: endpoint.accountId, endpointId: endpoint.id }, { first, after });
  }

  @Query(() => [WebhookEndpointType])
  webhookEndpoints(@Ctx() { scope, actor }: Context): Promise<WebhookEndpoint[]> {
    requireScope(actor, 'webhooks:read');
    return listWebhookEndpoints(scope.em, actor.accountId);
  }

  @Mutation(() => WebhookEndpointPayload)
  createWebhookEndpoint(
    @Arg('input', () => WebhookEndpointInput) { idempotencyKey, url, events }: WebhookEndpointInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookEndpointPayload> {
    return payload(async () => {
      const { endpointId, secret, replayed } = await createWebhookEndpoint(deps, actor, {
        idempotencyKey,
        url,
        events: events ?? [],
      });
      const endpoint = await load(scope, endpointsByIds, actor.accountId, endpointId);
      return { webhookEndpoint: { ...endpoint!, shownSecret: secret }, replayed };
    });
  }

  @Mutation(() => WebhookEndpointPayload)
  deleteWebhookEndpoint(
    @Arg('input', () => WebhookEndpointIdInput) input: WebhookEndpointIdInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookEndpointPayload> {
    return payload(async () => {
      const { endpointId, replayed } = await deleteWebhookEndpoint(deps, actor, { ...input });
      return { webhookEndpoint: (await load(scope, endpointsByIds, actor.accountId, endpointId))!, replayed };
    });
  }
}
