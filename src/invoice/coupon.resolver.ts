import { Arg, Ctx, Field, FieldResolver, ID, InputType, Int, Mutation, ObjectType, Resolver, Root } from 'type-graphql';
import { AccountType } from '../account/account.resolver.js';
import { Decimal } from '../domain/decimal.js';
import { requireScope } from '../platform/actor.js';
import type { Context } from '../platform/context.js';
import { IdempotentInput, MoneyType, MutationPayload, moneyOf, payload } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime, DecimalScalar } from '../platform/scalars.js';
import { type AppliedCouponView, appliedCoupon, liveCoupons } from './appliedCoupons.js';
import { removeCoupon } from './removeCoupon.js';

@ObjectType('AppliedCoupon', { description: 'A coupon that the account has taken' })
export class AppliedCouponType {}

@ObjectType('AppliedCouponPayload')
export class AppliedCouponPayload extends MutationPayload {
  @Field(() => AppliedCouponType, { nullable: true })
  appliedCoupon?: AppliedCouponView | undefined;
}

@InputType('AppliedCouponIdInput')
class AppliedCouponIdInput extends IdempotentInput {
  @Field(() => ID)
  appliedCouponId!: string;
}

@Resolver(() => AppliedCouponType)
export class AppliedCouponResolver {
  @FieldResolver(() => ID)
  id(@Root() { applied }: AppliedCouponView): string {
    return publicId('appliedCoupon', applied.id);
  }

  @FieldResolver(() => String)
  code(@Root() { coupon }: AppliedCouponView): string {
    return coupon.code;
  }

  @FieldResolver(() => String)
  name(@Root() { coupon }: AppliedCouponView): string {
    return coupon.name;
  }

  @FieldResolver(() => MoneyType, { nullable: true, description: 'Off each invoice; null: a percentage is off' })
  amountOff(@Root() { coupon }: AppliedCouponView): MoneyType | null {
    return coupon.amountMinor == null ? null : moneyOf(coupon.amountMinor, coupon.currency!);
  }

  @FieldResolver(() => DecimalScalar, { nullable: true, description: '25 for 25 %' })
  percentOff(@Root() { coupon }: AppliedCouponView): Decimal | null {
    return coupon.percent == null ? null : new Decimal(coupon.percent);
  }

  @FieldResolver(() => Int, {
    nullable: true,
    description: "Periods' invoices it still discounts, beside drafts that wait; null: without end",
  })
  periodsLeft(@Root() { applied }: AppliedCouponView): number | null {
    return applied.periodsLeft ?? null;
  }

  @FieldResolver(() => DateTime)
  appliedAt(@Root() { applied }: AppliedCouponView): Date {
    return applied.appliedAt;
  }

  @FieldResolver(() => DateTime, { nullable: true })
  endedAt(@Root() { applied }: AppliedCouponView): Date | null {
    return applied.endedAt ?? null;
  }

  @Mutation(() => AppliedCouponPayload)
  removeCoupon(
    @Arg('input', () => AppliedCouponIdInput) input: AppliedCouponIdInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<AppliedCouponPayload> {
    return payload(async () => {
      const { appliedCouponId, replayed } = await removeCoupon(deps, actor, { ...input });
      return { appliedCoupon: await appliedCoupon(scope.em, actor.accountId, appliedCouponId), replayed };
    });
  }
}

@Resolver(() => AccountType)
export class AccountCouponsResolver {
  @FieldResolver(() => [AppliedCouponType], { description: 'Those that live, in the order in which they discount' })
  coupons(@Ctx() { scope, actor }: Context): Promise<AppliedCouponView[]> {
    requireScope(actor, 'subscriptions:read');
    return liveCoupons(scope.em, actor.accountId);
  }
}
