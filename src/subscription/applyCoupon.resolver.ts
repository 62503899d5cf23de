import { Arg, Ctx, Field, InputType, Mutation, Resolver } from 'type-graphql';
import { appliedCoupon } from '../invoice/appliedCoupons.js';
import { AppliedCouponPayload } from '../invoice/coupon.resolver.js';
import type { Context } from '../platform/context.js';
import { IdempotentInput, payload } from '../platform/graphqlTypes.js';
import { applyCouponAsShown, type ApplyCouponInput as Command } from './applyCouponAsShown.js';

@InputType('ApplyCouponInput')
export class ApplyCouponInput extends IdempotentInput {
  @Field(() => String)
  couponCode!: string;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

export const applyCouponCommand = (input: ApplyCouponInput): Command => ({
  idempotencyKey: input.idempotencyKey,
  couponCode: input.couponCode,
  previewToken: input.previewToken ?? undefined,
});

@Resolver()
export class ApplyCouponResolver {
  @Mutation(() => AppliedCouponPayload)
  applyCoupon(
    @Arg('input', () => ApplyCouponInput) input: ApplyCouponInput,
    @Ctx() { deps, actor, scope }: Context,
  ): Promise<AppliedCouponPayload> {
    return payload(async () => {
      const { appliedCouponId, replayed } = await applyCouponAsShown(deps, actor, applyCouponCommand(input));
      return { appliedCoupon: await appliedCoupon(scope.em, actor.accountId, appliedCouponId), replayed };
    });
  }
}
