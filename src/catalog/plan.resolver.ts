import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  ID,
  Int,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import { Decimal } from '../domain/decimal.js';
import type { ChargeModel } from '../domain/rating.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { enumOf, MoneyType, moneyOf, NodeType } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DecimalScalar } from '../platform/scalars.js';
import { ChargeType } from './charge.type.js';
import {
  aggregations,
  billingAnchors,
  intervals,
  type Metric,
  overagePolicies,
  type Plan,
  type PlanFeature,
} from './plan.entity.js';
import { currentPlans, featuresByPlanIds, metricsByCodes } from './plans.js';

const Interval = enumOf(intervals);
const Aggregation = enumOf(aggregations);
const OveragePolicy = enumOf(overagePolicies);
const BillingAnchor = enumOf(billingAnchors);
registerEnumType(Interval, { name: 'Interval' });
registerEnumType(Aggregation, { name: 'Aggregation' });
registerEnumType(OveragePolicy, { name: 'OveragePolicy' });
registerEnumType(BillingAnchor, { name: 'BillingAnchor' });

@ObjectType('Metric', { implements: NodeType })
export class MetricType extends NodeType {
  @Field(() => String)
  code!: string;

  @Field(() => String)
  name!: string;

  @Field(() => String, { nullable: true })
  unit?: string | null;

  @Field(() => Aggregation)
  aggregation!: Metric['aggregation'];

  @Field(() => String, { nullable: true, description: 'With UNIQUE: the event property whose values are counted' })
  property?: string | null;
}

@ObjectType('PlanFeature')
export class PlanFeatureType {
  @Field(() => String)
  code!: string;

  @Field(() => String)
  name!: string;

  @Field(() => OveragePolicy)
  overage!: PlanFeature['overage'];
}

@ObjectType('Plan', { implements: NodeType })
export class PlanType extends NodeType {
  @Field(() => String, { description: '"plan_starter"' })
  code!: string;

  @Field(() => Int)
  version!: number;

  @Field(() => String)
  name!: string;

  @Field(() => Interval)
  interval!: Plan['interval'];

  @Field(() => Int)
  intervalCount!: number;

  @Field(() => Int)
  trialDays!: number;

  @Field(() => BillingAnchor, {
    description: "Where periods begin: on the day one subscribed (ANNIVERSARY), or on the calendar's own boundaries",
  })
  anchor!: Plan['anchor'];
}

const PlanConnection = connectionType('Plan', () => PlanType);

@Resolver(() => MetricType)
export class MetricResolver {
  @FieldResolver(() => ID)
  id(@Root() metric: Metric): string {
    return publicId('metric', metric.id);
  }
}

@Resolver(() => PlanFeatureType)
export class PlanFeatureResolver {
  @FieldResolver(() => DecimalScalar, { nullable: true, description: 'Null: unlimited' })
  limit(@Root() feature: PlanFeature): Decimal | null {
    return feature.limit == null ? null : new Decimal(feature.limit);
  }

  @FieldResolver(() => ChargeType, {
    nullable: true,
    description: 'With overage CHARGE: how use over the limit is priced, or all use where there is no limit',
  })
  charge(@Root() feature: PlanFeature): ChargeModel | null {
    return feature.charge ?? null;
  }

  @FieldResolver(() => MetricType, { nullable: true })
  metric(@Root() feature: PlanFeature, @Ctx() { scope, actor }: Context): Promise<Metric | undefined> | null {
    return feature.metricCode == null ? null : load(scope, metricsByCodes, actor.accountId, feature.metricCode);
  }
}

@Resolver(() => PlanType)
export class PlanResolver {
  @FieldResolver(() => ID)
  id(@Root() plan: Plan): string {
    return publicId('plan', plan.id);
  }

  @FieldResolver(() => MoneyType)
  price(@Root() plan: Plan): MoneyType {
    return moneyOf(plan.priceMinor, plan.currency);
  }

  @FieldResolver(() => MoneyType, { nullable: true, description: 'What the usage of a period costs at the least' })
  minimumSpend(@Root() plan: Plan): MoneyType | null {
    return plan.minimumSpendMinor == null ? null : moneyOf(plan.minimumSpendMinor, plan.currency);
  }

  @FieldResolver(() => [PlanFeatureType])
  async features(@Root() plan: Plan, @Ctx() { scope, actor }: Context): Promise<PlanFeature[]> {
    return (await load(scope, featuresByPlanIds, actor.accountId, plan.id)) ?? [];
  }

  @Query(() => PlanConnection, { description: 'The plans on offer, each in its current version' })
  plans(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Ctx() { scope }: Context,
  ): Promise<Connection<Plan>> {
    return currentPlans(scope.em, { first, after });
  }
}
