import { Ctx, Field, FieldResolver, ID, ObjectType, Resolver, Root, registerEnumType } from 'type-graphql';
import { load } from '../platform/batch.js';
import type { Context } from '../platform/context.js';
import { enumOf, MoneyType, moneyOf, NodeType } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime } from '../platform/scalars.js';
import { type Payment, type Refund, refundStatuses } from './payment.entity.js';
import { PaymentType } from './payment.resolver.js';
import { paymentsByIds } from './paymentMethods.js';

const RefundStatus = enumOf(refundStatuses);
registerEnumType(RefundStatus, { name: 'RefundStatus' });

@ObjectType('Refund', { implements: NodeType })
export class RefundType extends NodeType {
  @Field(() => RefundStatus)
  status!: Refund['status'];

  @Field(() => String, {
    nullable: true,
    description: `The provider's code; the amount is then credit of the note, or in the wallet again`,
  })
  failureCode?: string | null;

  @Field(() => DateTime)
  createdAt!: Date;
}

@Resolver(() => RefundType)
export class RefundResolver {
  @FieldResolver(() => ID)
  id(@Root() refund: Refund): string {
    return publicId('refund', refund.id);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() refund: Refund): MoneyType {
    return moneyOf(refund.amountMinor, refund.currency);
  }

  @FieldResolver(() => PaymentType)
  async payment(@Root() refund: Refund, @Ctx() { scope }: Context): Promise<Payment> {
    return (await load(scope, paymentsByIds, refund.accountId, refund.paymentId))!;
  }
}
