import { Ctx, Field, FieldResolver, ID, ObjectType, Query, Resolver, Root } from 'type-graphql';
import { BillingError } from '../domain/errors.js';
import type { BatchFunction } from '../platform/batch.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { NodeType } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { CurrencyScalar } from '../platform/scalars.js';
import { Account } from './account.entity.js';

@ObjectType('Account', { implements: NodeType })
export class AccountType extends NodeType {
  @Field(() => String)
  name!: string;

  @Field(() => CurrencyScalar)
  currency!: string;

  @Field(() => String)
  timeZone!: string;
}

/** Accounts by id: a batch of the actor's own, because nobody sees another. */
export const accountsByIds: BatchFunction<Account> = async (em, _accountId, ids) =>
  new Map(
    (await em.find(Account, { id: { $in: [...ids] } }, { disableIdentityMap: true })).map((account) => [
      account.id,
      account,
    ]),
  );

/** The actor's account; an operator that named none is told how. */
export async function viewerOf({ scope, actor }: Context): Promise<Account> {
  const account = await load(scope, accountsByIds, actor.accountId, actor.accountId);
  if (!account) {
    throw new BillingError(
      'INVALID',
      "An operator's token needs the account: header Billing-Account, or billingAccount in connection_init",
      {
        field: ['billingAccount'],
      },
    );
  }
  return account;
}

@Resolver(() => AccountType)
export class AccountResolver {
  @FieldResolver(() => ID)
  id(@Root() account: Account): string {
    return publicId('account', account.id);
  }

  @Query(() => AccountType)
  viewer(@Ctx() context: Context): Promise<Account> {
    return viewerOf(context);
  }
}
