import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  Float,
  ID,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
  Subscription,
} from 'type-graphql';
import type { Metric } from '../catalog/plan.entity.js';
import { MetricType } from '../catalog/plan.resolver.js';
import { metricsByCodes } from '../catalog/plans.js';
import { Decimal } from '../domain/decimal.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { sequenceAfter } from '../platform/event.resolver.js';
import type { LoggedEvent } from '../platform/eventLog.js';
import { enumOf, MoneyType, moneyOf, PeriodType, payload, UserErrorType } from '../platform/graphqlTypes.js';
import { hintedBy, logSource, stateSource } from '../platform/liveSource.js';
import { DateTime, DecimalScalar, JSONScalar } from '../platform/scalars.js';
import { usageTopic } from '../platform/topics.js';
import { recordUsage, type UsageEventResult } from './recordUsage.js';
import { type UsageItem, type UsageSummary, usageHistory, usageSummary } from './usageSummary.js';

const UsageEventStatus = enumOf(['ACCEPTED', 'DUPLICATE', 'REJECTED'] as const);
registerEnumType(UsageEventStatus, { name: 'UsageEventStatus' });

@ObjectType('UsageItem')
export class UsageItemType {
  @Field(() => MetricType)
  metric!: Metric;

  @Field(() => DecimalScalar)
  used!: Decimal;

  @Field(() => DecimalScalar, { nullable: true })
  limit?: Decimal | null;

  @Field(() => Float, { nullable: true })
  percent?: number | null;
}

@ObjectType('UsageSummary')
export class UsageSummaryType {
  @Field(() => PeriodType)
  period!: PeriodType;

  @Field(() => String, {
    description: 'Read your own write: contains every event recorded with a watermark up to this one',
  })
  watermark!: string;
}

@ObjectType('UsageThresholdEvent')
export class UsageThresholdEventType {
  @Field(() => String)
  cursor!: string;

  @Field(() => Float, { description: '80 for 80 %' })
  thresholdPercent!: number;

  @Field(() => DecimalScalar)
  limit!: Decimal;

  @Field(() => DecimalScalar)
  used!: Decimal;

  @Field(() => PeriodType)
  period!: PeriodType;
}

@ObjectType('UsageEventResult')
class UsageEventResultType {
  @Field(() => String)
  transactionId!: string;

  @Field(() => UsageEventStatus)
  status!: UsageEventResult['status'];

  @Field(() => UserErrorType, { nullable: true })
  error?: UserErrorType;
}

@ObjectType('RecordUsagePayload')
class RecordUsagePayload {
  @Field(() => [UsageEventResultType], { description: 'One for each event, in order' })
  results!: UsageEventResultType[];

  @Field(() => String)
  watermark!: string;

  @Field(() => [UserErrorType])
  userErrors!: UserErrorType[];
}

@InputType('UsageEventInput')
class UsageEventInput {
  @Field(() => String, { description: "The caller's own id: the same id counts once, whatever happens" })
  transactionId!: string;

  @Field(() => ID, { nullable: true })
  accountId?: string | null;

  @Field(() => String, { description: "The metric's code" })
  metric!: string;

  @Field(() => DecimalScalar, { nullable: true, defaultValue: new Decimal(1) })
  value?: Decimal | null;

  @Field(() => DateTime, { nullable: true })
  timestamp?: Date | null;

  @Field(() => JSONScalar, { nullable: true })
  properties?: object | null;
}

@InputType('RecordUsageInput')
class RecordUsageInput {
  @Field(() => [UsageEventInput])
  events!: UsageEventInput[];
}

@Resolver(() => UsageItemType)
export class UsageItemResolver {
  @FieldResolver(() => MoneyType)
  charge(@Root() item: UsageItem & { currency: string }): MoneyType {
    return moneyOf(item.chargeMinor, item.currency);
  }
}

@Resolver(() => UsageSummaryType)
export class UsageResolver {
  @FieldResolver(() => [UsageItemType])
  items(@Root() summary: UsageSummary): (UsageItem & { currency: string })[] {
    return summary.items.map((item) => ({ ...item, currency: summary.currency }));
  }

  @FieldResolver(() => MoneyType, { description: 'What the usage so far adds to the next invoice' })
  charges(@Root() summary: UsageSummary): MoneyType {
    return moneyOf(summary.chargesMinor, summary.currency);
  }

  @Query(() => UsageSummaryType)
  usage(@Ctx() { deps, scope, actor }: Context): Promise<UsageSummary> {
    requireScope(actor, 'usage:read');
    return usageSummary(scope.em, { accountId: actor.accountId, clock: deps.clock });
  }

  @Query(() => [UsageSummaryType], { description: 'The last periods, the current one first' })
  usageHistory(
    @Arg('last', () => Int, { nullable: true, defaultValue: 6 }) last: number | null,
    @Ctx() { scope, actor }: Context,
  ): Promise<UsageSummary[]> {
    requireScope(actor, 'usage:read');
    return usageHistory(scope.em, { accountId: actor.accountId, last: last ?? 6 });
  }

  @Mutation(() => RecordUsagePayload)
  recordUsage(
    @Arg('input', () => RecordUsageInput) { events }: RecordUsageInput,
    @Ctx() { deps, actor }: Context,
  ): Promise<RecordUsagePayload> {
    return payload(async () => {
      const { results, watermark } = await recordUsage(
        deps,
        actor,
        events.map((event) => ({ ...event, value: event.value?.toFixed() })),
      );
      return {
        results: results.map(({ error, ...result }) => ({
          ...result,
          ...(error ? { error: { ...error, retryable: error.code === 'UNAVAILABLE' } } : {}),
        })),
        watermark,
      };
    }).then((answer) => ({ ...answer, results: answer.results ?? [], watermark: answer.watermark ?? '0' }));
  }

  @Subscription(() => UsageSummaryType, {
    description: 'The summary now, and again whenever usage changes',
    subscribe: ({ context: { deps, actor } }: { context: Context }) => {
      requireScope(actor, 'usage:read');
      return stateSource({
        ...hintedBy(deps.pubsub, [usageTopic(actor.accountId)], () =>
          usageSummary(deps.db.orm.em.fork(), { accountId: actor.accountId, clock: deps.clock }),
        ),
        fingerprint: (summary) =>
          [
            summary.watermark,
            summary.period.start.getTime(),
            summary.period.end.getTime(),
            ...summary.items.map((item) => `${item.metric.code} ${item.used} ${item.limit}`),
          ].join(),
      });
    },
  })
  usageUpdated(@Root() summary: UsageSummary): UsageSummary {
    return summary;
  }

  @Subscription(() => UsageThresholdEventType, {
    description: 'Thresholds as they are reached; with `after` (the cursor of an event) from there on',
    subscribe: ({ args, context: { actor } }: { args: { after?: string }; context: Context }) => {
      requireScope(actor, 'usage:read');
      return logSource({
        accountId: actor.accountId,
        after: sequenceAfter(args.after),
        passes: (event) => event.type === 'usage.threshold',
      });
    },
  })
  usageThreshold(
    @Arg('after', () => String, { nullable: true }) _after: string | undefined,
    @Root() event: LoggedEvent,
  ) {
    return event;
  }
}

/** Reads the event's `data`, as `presentThreshold` wrote it. */
@Resolver(() => UsageThresholdEventType)
export class UsageThresholdEventResolver {
  @FieldResolver(() => String)
  cursor(@Root() event: LoggedEvent): string {
    return event.seq.toString();
  }

  @FieldResolver(() => MetricType)
  metric(@Root() event: LoggedEvent, @Ctx() { scope }: Context): Promise<Metric | undefined> {
    return load(scope, metricsByCodes, event.accountId, String(event.data.metric));
  }

  @FieldResolver(() => Float, { description: '80 for 80 %' })
  thresholdPercent(@Root() event: LoggedEvent): number {
    return Number(textOf(event.data.threshold_percent));
  }

  @FieldResolver(() => DecimalScalar)
  limit(@Root() event: LoggedEvent): Decimal {
    return new Decimal(textOf(event.data.limit));
  }

  @FieldResolver(() => DecimalScalar)
  used(@Root() event: LoggedEvent): Decimal {
    return new Decimal(textOf(event.data.used));
  }

  @FieldResolver(() => PeriodType)
  period(@Root() event: LoggedEvent): PeriodType {
    return { start: new Date(String(event.data.starts_at)), end: new Date(String(event.data.ends_at)) };
  }
}

/** A number of the log as its digits (see exactJson). */
const textOf = (number: unknown): string => JSON.stringify(number);
