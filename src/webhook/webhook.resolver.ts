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
import { rotateWebhookSecret } from './rotateSecret.js';
import { updateWebhookEndpoint } from './updateEndpoint.js';
import {
  deliveryStatuses,
  disabledReasons,
  type WebhookAttempt,
  type WebhookDelivery,
  type WebhookEndpoint,
} from './webhook.entity.js';
import { testEventOf } from './webhookBody.js';

const DeliveryStatus = enumOf(deliveryStatuses);
registerEnumType(DeliveryStatus, { name: 'DeliveryStatus' });
const DisabledReason = enumOf(disabledReasons);
registerEnumType(DisabledReason, { name: 'WebhookDisabledReason' });

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

  @Field(() => DateTime)
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true })
  deliveredAt?: Date | null;
}

const WebhookDeliveryConnection = connectionType('WebhookDelivery', () => WebhookDeliveryType);

@ObjectType('WebhookEndpoint', { implements: NodeType })
export class WebhookEndpointType extends NodeType {
  @Field(() => String)
  url!: string;

  @Field(() => [String], { description: 'Event types it gets, or all of a kind as `invoice.*`; empty: all' })
  events!: string[];

  @Field(() => Boolean)
  enabled!: boolean;

  @Field(() => DateTime, { nullable: true })
  disabledAt?: Date | null;

  @Field(() => DisabledReason, {
    nullable: true,
    description: 'FAILING: every attempt of five days failed; GONE: it answered 410; OWNER: by updateWebhookEndpoint',
  })
  disabledReason?: WebhookEndpoint['disabledReason'];

  @Field(() => DateTime, { nullable: true, description: 'The first failed attempt since the last that succeeded' })
  failingSince?: Date | null;
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

  @Field(() => [String], { nullable: true, description: 'Event types, or all of a kind as `invoice.*`; empty: all' })
  events?: string[] | null;
}

@InputType('UpdateWebhookEndpointInput', { description: 'What is left out stays as it is' })
class UpdateWebhookEndpointInput extends IdempotentInput {
  @Field(() => ID)
  webhookEndpointId!: string;

  @Field(() => String, { nullable: true })
  url?: string | null;

  @Field(() => [String], { nullable: true })
  events?: string[] | null;

  @Field(() => Boolean, { nullable: true, description: 'true forgets that it failed' })
  enabled?: boolean | null;
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

  @FieldResolver(() => BillingEventType, { description: 'A test has an example here, which is not in the log' })
  async event(@Root() delivery: WebhookDelivery, @Ctx() { scope, actor }: Context): Promise<LoggedEvent | undefined> {
    requireScope(actor, 'events:read');
    if (delivery.eventId == null) return testEventOf(delivery);
    return load(scope, loggedEventsByIds, delivery.accountId, delivery.eventId);
  }

  @FieldResolver(() => Boolean, { description: 'Made by sendTestEvent' })
  test(@Root() delivery: WebhookDelivery): boolean {
    return delivery.eventId == null;
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

  @Mutation(() => WebhookEndpointPayload)
  updateWebhookEndpoint(
    @Arg('input', () => UpdateWebhookEndpointInput) { url, events, enabled, ...input }: UpdateWebhookEndpointInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookEndpointPayload> {
    return payload(async () => {
      const { endpointId, replayed } = await updateWebhookEndpoint(deps, actor, {
        ...input,
        url: url ?? undefined,
        events: events ?? undefined,
        enabled: enabled ?? undefined,
      });
      return { webhookEndpoint: (await load(scope, endpointsByIds, actor.accountId, endpointId))!, replayed };
    });
  }

  @Mutation(() => WebhookEndpointPayload, {
    description: 'A new secret, shown in this answer only; the one before it stays valid for 24 hours',
  })
  rotateWebhookSecret(
    @Arg('input', () => WebhookEndpointIdInput) input: WebhookEndpointIdInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<WebhookEndpointPayload> {
    return payload(async () => {
      const { endpointId, secret, replayed } = await rotateWebhookSecret(deps, actor, { ...input });
      const endpoint = await load(scope, endpointsByIds, actor.accountId, endpointId);
      return { webhookEndpoint: { ...endpoint!, shownSecret: secret }, replayed };
    });
  }
}
