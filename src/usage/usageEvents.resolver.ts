import { Arg, Ctx, Field, FieldResolver, Int, ObjectType, Resolver, Root, registerEnumType } from 'type-graphql';
import type { Metric } from '../catalog/plan.entity.js';
import { MetricType } from '../catalog/plan.resolver.js';
import { metricsByCodes } from '../catalog/plans.js';
import { Decimal } from '../domain/decimal.js';
import { InvoiceLineType, type LineView } from '../invoice/invoice.resolver.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { enumOf } from '../platform/graphqlTypes.js';
import { DateTime, DecimalScalar, JSONScalar } from '../platform/scalars.js';
import { correctionsByTransactionIds } from './corrections.js';
import type { UsageCorrection } from './usage.entity.js';
import { eventsOfWindow, type UsageEvent } from './usageEvents.js';

export const CorrectionAction = enumOf(['VOID', 'REPLACE'] as const);
registerEnumType(CorrectionAction, { name: 'UsageCorrectionAction' });

@ObjectType('UsageCorrection')
export class UsageCorrectionType {
  @Field(() => String)
  transactionId!: string;

  @Field(() => CorrectionAction)
  action!: UsageCorrection['action'];

  @Field(() => JSONScalar, { description: 'What the event said before: value, timestamp, properties' })
  before!: object;

  @Field(() => JSONScalar, { nullable: true, description: 'What it says since; null when it was voided' })
  after?: object | null;

  @Field(() => String, { nullable: true })
  reason?: string | null;

  @Field(() => DateTime)
  createdAt!: Date;
}

@ObjectType('UsageEvent')
export class UsageEventType {
  @Field(() => Boolean, { description: 'It came after its own period was invoiced, and counts in a later one' })
  late!: boolean;

  @Field(() => JSONScalar, { nullable: true })
  properties?: object | null;

  @Field(() => DateTime)
  recordedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'Set when a correction took it back: it counts nowhere' })
  voidedAt?: Date | null;
}

const UsageEventConnection = connectionType('UsageEvent', () => UsageEventType);

@Resolver(() => UsageEventType)
export class UsageEventResolver {
  @FieldResolver(() => String)
  transactionId(@Root() event: UsageEvent): string {
    return event.id;
  }

  @FieldResolver(() => MetricType)
  metric(@Root() event: UsageEvent, @Ctx() { scope }: Context): Promise<Metric | undefined> {
    return load(scope, metricsByCodes, event.accountId, event.metricCode);
  }

  @FieldResolver(() => DecimalScalar)
  value(@Root() event: UsageEvent): Decimal {
    return new Decimal(event.value);
  }

  @FieldResolver(() => DateTime)
  timestamp(@Root() event: UsageEvent): Date {
    return event.occurredAt;
  }

  @FieldResolver(() => [UsageCorrectionType])
  async corrections(@Root() event: UsageEvent, @Ctx() { scope }: Context): Promise<UsageCorrection[]> {
    return (await load(scope, correctionsByTransactionIds, event.accountId, event.id)) ?? [];
  }
}

/** Usage stands right of the invoice, so the way from a line to its events is added from here. */
@Resolver(() => InvoiceLineType)
export class InvoiceLineEventsResolver {
  @FieldResolver(() => UsageEventConnection, {
    nullable: true,
    description: 'The usage events behind the line, newest first; null for a line that bills no usage',
  })
  async events(
    @Root() line: LineView,
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Ctx() { scope, actor }: Context,
  ): Promise<Connection<UsageEvent> | null> {
    requireScope(actor, 'usage:read');
    const { accountId, windowId } = line;
    return windowId == null ? null : eventsOfWindow(scope, { accountId, windowId }, { first, after });
  }
}
