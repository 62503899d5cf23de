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
import { AccountType } from '../account/account.resolver.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import {
  enumOf,
  IdempotentInput,
  MoneyType,
  MutationPayload,
  moneyOf,
  NodeType,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime } from '../platform/scalars.js';
import { addPaymentMethod } from './addPaymentMethod.js';
import { type Payment, type PaymentMethod, paymentStatuses } from './payment.entity.js';
import { activePaymentMethods, paymentMethodsByIds } from './paymentMethods.js';
import { removePaymentMethod } from './removePaymentMethod.js';
import { setDefaultPaymentMethod } from './setDefaultPaymentMethod.js';

const PaymentStatus = enumOf(paymentStatuses);
registerEnumType(PaymentStatus, { name: 'PaymentStatus' });

@ObjectType('PaymentMethod', { implements: NodeType })
export class PaymentMethodType extends NodeType {
  @Field(() => String)
  type!: string;

  @Field(() => String, { nullable: true })
  brand?: string | null;

  @Field(() => String, { nullable: true })
  last4?: string | null;

  @Field(() => Int, { nullable: true })
  expMonth?: number | null;

  @Field(() => Int, { nullable: true })
  expYear?: number | null;

  @Field(() => Boolean)
  isDefault!: boolean;
}

@ObjectType('Payment', { implements: NodeType })
export class PaymentType extends NodeType {
  @Field(() => PaymentStatus)
  status!: Payment['status'];

  @Field(() => String, { nullable: true })
  declineCode?: string | null;

  @Field(() => DateTime)
  createdAt!: Date;
}

@ObjectType('PaymentMethodPayload')
export class PaymentMethodPayload extends MutationPayload {
  @Field(() => PaymentMethodType, { nullable: true })
  paymentMethod?: PaymentMethod;
}

@InputType('AddPaymentMethodInput')
class AddPaymentMethodInput extends IdempotentInput {
  @Field(() => String, { defaultValue: 'card' })
  type!: string;

  @Field(() => String)
  token!: string;

  @Field(() => Boolean, { nullable: true, defaultValue: false })
  makeDefault?: boolean | null;
}

@InputType('PaymentMethodIdInput')
class PaymentMethodIdInput extends IdempotentInput {
  @Field(() => ID)
  paymentMethodId!: string;
}

@Resolver(() => PaymentMethodType)
export class PaymentMethodResolver {
  @FieldResolver(() => ID)
  id(@Root() method: PaymentMethod): string {
    return publicId('paymentMethod', method.id);
  }

  @Query(() => [PaymentMethodType])
  paymentMethods(@Ctx() { scope, actor }: Context): Promise<PaymentMethod[]> {
    requireScope(actor, 'payment_methods:read');
    return activePaymentMethods(scope.em, actor.accountId);
  }

  @Mutation(() => PaymentMethodPayload)
  addPaymentMethod(
    @Arg('input', () => AddPaymentMethodInput) input: AddPaymentMethodInput,
    @Ctx() context: Context,
  ): Promise<PaymentMethodPayload> {
    const { idempotencyKey, type, token, makeDefault } = input;
    return answer(
      context,
      addPaymentMethod(context.deps, context.actor, { idempotencyKey, type, token, makeDefault: makeDefault ?? false }),
    );
  }

  @Mutation(() => PaymentMethodPayload)
  setDefaultPaymentMethod(
    @Arg('input', () => PaymentMethodIdInput) input: PaymentMethodIdInput,
    @Ctx() context: Context,
  ): Promise<PaymentMethodPayload> {
    return answer(context, setDefaultPaymentMethod(context.deps, context.actor, { ...input }));
  }

  @Mutation(() => PaymentMethodPayload)
  removePaymentMethod(
    @Arg('input', () => PaymentMethodIdInput) input: PaymentMethodIdInput,
    @Ctx() context: Context,
  ): Promise<PaymentMethodPayload> {
    return answer(context, removePaymentMethod(context.deps, context.actor, { ...input }));
  }
}

const answer = (
  { scope, actor }: Context,
  change: Promise<{ paymentMethodId: string; replayed: boolean }>,
): Promise<PaymentMethodPayload> =>
  payload(async () => {
    const { paymentMethodId, replayed } = await change;
    const paymentMethod = await load(scope, paymentMethodsByIds, actor.accountId, paymentMethodId);
    return { ...(paymentMethod ? { paymentMethod } : {}), replayed };
  });

@Resolver(() => PaymentType)
export class PaymentResolver {
  @FieldResolver(() => ID)
  id(@Root() payment: Payment): string {
    return publicId('payment', payment.id);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() payment: Payment): MoneyType {
    return moneyOf(payment.amountMinor, payment.currency);
  }

  @FieldResolver(() => PaymentMethodType, { nullable: true })
  method(@Root() payment: Payment, @Ctx() { scope, actor }: Context): Promise<PaymentMethod | undefined> {
    requireScope(actor, 'payment_methods:read');
    return load(scope, paymentMethodsByIds, payment.accountId, payment.paymentMethodId);
  }
}

@Resolver(() => AccountType)
export class AccountPaymentMethodsResolver {
  @FieldResolver(() => [PaymentMethodType])
  paymentMethods(@Ctx() { scope, actor }: Context): Promise<PaymentMethod[]> {
    requireScope(actor, 'payment_methods:read');
    return activePaymentMethods(scope.em, actor.accountId);
  }
}
