import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  InputType,
  Mutation,
  ObjectType,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import type { Context } from '../platform/context.js';
import { enumOf, IdempotentInput, MutationPayload, payload } from '../platform/graphqlTypes.js';
import { DateTime } from '../platform/scalars.js';
import type { Account } from './account.entity.js';
import { AccountType } from './account.resolver.js';
import { advanceTestClock } from './advanceTestClock.js';
import { accountById } from './createAccount.js';
import { createTestClock } from './createTestClock.js';
import { type TestClock, testClockOf } from './testClock.js';

const TestClockStatus = enumOf(['READY', 'ADVANCING']);
registerEnumType(TestClockStatus, { name: 'TestClockStatus' });

@ObjectType('TestClock', { description: "The account's own time, which moves only by advanceTestClock" })
export class TestClockType {
  @Field(() => DateTime)
  now!: Date;

  @Field(() => DateTime, { description: 'Where an advance under way goes; equal to `now` when none is' })
  target!: Date;

  @Field(() => TestClockStatus)
  status!: TestClock['status'];
}

@ObjectType('TestClockPayload')
class TestClockPayload extends MutationPayload {
  @Field(() => AccountType, { nullable: true })
  account?: Account;

  @Field(() => TestClockType, { nullable: true })
  testClock?: TestClock | undefined;
}

@InputType('CreateTestClockInput')
class CreateTestClockInput extends IdempotentInput {
  @Field(() => DateTime)
  now!: Date;
}

@InputType('AdvanceTestClockInput')
class AdvanceTestClockInput extends IdempotentInput {
  @Field(() => DateTime)
  to!: Date;
}

/** The account as the change left it; a fresh read, because what was due may have changed it as well. */
async function changed({ deps, actor }: Context, { replayed }: { replayed: boolean }): Promise<TestClockPayload> {
  const account = await accountById(deps.db.orm.em.fork(), actor.accountId);
  return { account, testClock: testClockOf(account), replayed } as TestClockPayload;
}

@Resolver(() => AccountType)
export class TestClockResolver {
  @FieldResolver(() => TestClockType, { nullable: true, description: 'Null: the account lives by the wall clock' })
  testClock(@Root() account: Account): TestClock | undefined {
    return testClockOf(account);
  }

  @Mutation(() => TestClockPayload, { description: 'For an account without a history' })
  createTestClock(
    @Arg('input', () => CreateTestClockInput) input: CreateTestClockInput,
    @Ctx() context: Context,
  ): Promise<TestClockPayload> {
    return payload(async () => changed(context, await createTestClock(context.deps, context.actor, input)));
  }

  @Mutation(() => TestClockPayload, {
    description: 'Any distance forward in one step: what comes due in between happens in order, each at its own time',
  })
  advanceTestClock(
    @Arg('input', () => AdvanceTestClockInput) input: AdvanceTestClockInput,
    @Ctx() context: Context,
  ): Promise<TestClockPayload> {
    return payload(async () => changed(context, await advanceTestClock(context.deps, context.actor, input)));
  }
}
