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
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import { invalid } from '../domain/errors.js';
import { isPageSize } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { enumOf, IdempotentInput, MoneyType, MutationPayload, moneyOf, payload } from '../platform/graphqlTypes.js';
import { publicId, uuidOf } from '../platform/ids.js';
import { DateTime } from '../platform/scalars.js';
import { type Migration, migrateSubscribers } from './migrateSubscribers.js';

const MigrationTiming = enumOf(['PERIOD_END', 'IMMEDIATE'] as const);
const MigrationOutcome = enumOf(['PLANNED', 'MIGRATED', 'SKIPPED', 'FAILED'] as const);
registerEnumType(MigrationTiming, { name: 'MigrationTiming' });
registerEnumType(MigrationOutcome, { name: 'MigrationOutcome' });

@ObjectType('SubscriberMigration')
class SubscriberMigration {
  @Field(() => Int)
  fromVersion!: number;

  @Field(() => Int)
  toVersion!: number;

  @Field(() => DateTime, { nullable: true })
  effectiveAt?: Date | null;

  @Field(() => MigrationOutcome)
  outcome!: Migration['outcome'];

  @Field(() => String, { nullable: true, description: 'Why it was skipped or failed' })
  reason?: string | null;
}

@InputType('MigrateSubscribersInput')
class MigrateSubscribersInput extends IdempotentInput {
  @Field(() => String)
  planCode!: string;

  @Field(() => [Int], { nullable: true, description: 'Absent: of all versions but the newest' })
  fromVersions?: number[] | null;

  @Field(() => MigrationTiming, { nullable: true, defaultValue: 'PERIOD_END' })
  timing?: 'PERIOD_END' | 'IMMEDIATE' | null;

  @Field(() => Boolean, { nullable: true, defaultValue: false, description: 'Only say what would happen' })
  dryRun?: boolean | null;

  @Field(() => Int, { nullable: true, defaultValue: 20 })
  first?: number | null;

  @Field(() => ID, { nullable: true, description: "Continues behind this account: the last answer's `endCursor`" })
  after?: string | null;
}

@ObjectType('MigrateSubscribersPayload')
class MigrateSubscribersPayload extends MutationPayload {
  @Field(() => [SubscriberMigration], { nullable: true })
  subscribers?: Migration[];

  @Field(() => ID, { nullable: true })
  endCursor?: string | null;

  @Field(() => Boolean, { nullable: true })
  hasNextPage?: boolean;
}

@Resolver(() => SubscriberMigration)
export class MigrateResolver {
  @FieldResolver(() => ID)
  accountId(@Root() { accountId }: Migration): string {
    return publicId('account', accountId);
  }

  @FieldResolver(() => ID)
  subscriptionId(@Root() { subscriptionId }: Migration): string {
    return publicId('subscription', subscriptionId);
  }

  @FieldResolver(() => MoneyType, { description: 'The fee of a whole period on the old version' })
  oldFee(@Root() { oldFeeMinor, currency }: Migration): MoneyType {
    return moneyOf(oldFeeMinor, currency);
  }

  @FieldResolver(() => MoneyType)
  newFee(@Root() { newFeeMinor, currency }: Migration): MoneyType {
    return moneyOf(newFeeMinor, currency);
  }

  @FieldResolver(() => MoneyType)
  dueNow(@Root() { dueNowMinor, currency }: Migration): MoneyType {
    return moneyOf(dueNowMinor, currency);
  }

  @Mutation(() => MigrateSubscribersPayload, {
    description: 'For operators: moves subscribers of older versions of a plan to the newest one, over all accounts',
  })
  migrateSubscribers(
    @Arg('input', () => MigrateSubscribersInput) input: MigrateSubscribersInput,
    @Ctx() { deps, actor }: Context,
  ): Promise<MigrateSubscribersPayload> {
    return payload(async () => {
      const first = input.first ?? 20;
      if (!isPageSize(first)) throw invalid(`first is ${first}, expected 1 to 100`, 'first');
      const subscribers: Migration[] = [];
      const found = migrateSubscribers(deps, actor, {
        idempotencyKey: input.idempotencyKey,
        planCode: input.planCode,
        fromVersions: input.fromVersions ?? undefined,
        timing: input.timing ?? 'PERIOD_END',
        dryRun: input.dryRun ?? false,
        after: input.after == null ? undefined : accountUuid(input.after),
      });
      for await (const migration of found) {
        subscribers.push(migration);
        if (subscribers.length === first) break;
      }
      const last = subscribers.at(-1);
      return {
        subscribers,
        endCursor: last ? publicId('account', last.accountId) : null,
        hasNextPage: subscribers.length === first,
        replayed: false,
      };
    });
  }
}

function accountUuid(id: string): string {
  const uuid = uuidOf('account', id);
  if (uuid === undefined) throw invalid(`after is '${id.slice(0, 80)}', expected an account's id`, 'after');
  return uuid;
}
