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
import type { Payment, Refund } from '../payment/payment.entity.js';
import { PaymentType } from '../payment/payment.resolver.js';
import { paymentsByIds, refundsByIds } from '../payment/paymentMethods.js';
import { RefundType } from '../payment/refund.resolver.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import {
  enumOf,
  IdempotentInput,
  MoneyInput,
  MoneyType,
  MutationPayload,
  moneyFrom,
  moneyOf,
  NodeType,
  payload,
} from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { DateTime } from '../platform/scalars.js';
import { giveCredit } from './giveCredit.js';
import { grantsByIds, listGrants } from './grants.js';
import { refundTopUp } from './refundTopUp.js';
import type { WalletGrant } from './wallet.entity.js';
import { WalletType } from './wallet.resolver.js';
import { type WalletView, walletView } from './wallets.js';

type KindName = Uppercase<WalletGrant['kind']>;
const CreditGrantKind = enumOf<KindName>(['PURCHASED', 'GRANTED']);
registerEnumType(CreditGrantKind, {
  name: 'CreditGrantKind',
  description: 'Bought by a top-up, or given: by an operator, or by a change that left something over',
});

@ObjectType('CreditGrant', {
  implements: NodeType,
  description:
    'Credit that came into the wallet at once. Spent by priority, then what expires first, given before bought, oldest first',
})
export class CreditGrantType extends NodeType {
  @Field(() => Int, { description: '0 to 100; the lower number is spent first' })
  priority!: number;

  @Field(() => DateTime, { nullable: true, description: 'What is left then is gone; null: never' })
  expiresAt?: Date | null;

  @Field(() => String, { nullable: true, description: 'Why an operator gave it' })
  reason?: string | null;

  @Field(() => DateTime)
  createdAt!: Date;
}

const CreditGrantConnection = connectionType('CreditGrant', () => CreditGrantType);

@ObjectType('CreditGrantPayload')
class CreditGrantPayload extends MutationPayload {
  @Field(() => CreditGrantType, { nullable: true })
  creditGrant?: WalletGrant | undefined;

  @Field(() => WalletType, { nullable: true })
  wallet?: WalletView;
}

@ObjectType('RefundTopUpPayload')
class RefundTopUpPayload extends MutationPayload {
  @Field(() => RefundType, { nullable: true })
  refund?: Refund | undefined;

  @Field(() => WalletType, { nullable: true })
  wallet?: WalletView;
}

@InputType('GrantCreditInput')
class GrantCreditInput extends IdempotentInput {
  @Field(() => MoneyInput)
  amount!: MoneyInput;

  @Field(() => String, { description: 'Why, as the account reads it; 1 to 500 characters' })
  reason!: string;

  @Field(() => DateTime, { nullable: true, description: 'Absent: it never expires' })
  expiresAt?: Date | null;

  @Field(() => Int, { nullable: true, description: '0 to 100, the lower number is spent first; absent: 50' })
  priority?: number | null;
}

@InputType('RefundTopUpInput')
class RefundTopUpInput extends IdempotentInput {
  @Field(() => ID, { description: 'The payment that bought the credit' })
  paymentId!: string;

  @Field(() => MoneyInput, { nullable: true, description: 'Absent: all that is left of it and not held' })
  amount?: MoneyInput | null;
}

@Resolver(() => CreditGrantType)
export class CreditGrantResolver {
  @FieldResolver(() => ID)
  id(@Root() grant: WalletGrant): string {
    return publicId('creditGrant', grant.id);
  }

  @FieldResolver(() => CreditGrantKind)
  kind(@Root() grant: WalletGrant): KindName {
    return grant.kind.toUpperCase() as KindName;
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() grant: WalletGrant): MoneyType {
    return moneyOf(grant.amountMinor, grant.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'What is left of it, held or not' })
  remaining(@Root() grant: WalletGrant): MoneyType {
    return moneyOf(grant.remainingMinor, grant.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Of what is left: kept for holds' })
  held(@Root() grant: WalletGrant): MoneyType {
    return moneyOf(grant.heldMinor, grant.currency);
  }

  @FieldResolver(() => PaymentType, { nullable: true, description: 'What bought it' })
  async payment(@Root() grant: WalletGrant, @Ctx() { scope }: Context): Promise<Payment | undefined> {
    if (grant.kind !== 'purchased') return undefined;
    return load(scope, paymentsByIds, grant.accountId, grant.referenceId);
  }

  @Mutation(() => CreditGrantPayload, { description: 'Gives credit that costs the account nothing. For operators' })
  grantCredit(
    @Arg('input', () => GrantCreditInput) input: GrantCreditInput,
    @Ctx() { deps, scope, actor }: Context,
  ): Promise<CreditGrantPayload> {
    return payload(async () => {
      const { grantId, replayed } = await giveCredit(deps, actor, {
        idempotencyKey: input.idempotencyKey,
        amount: moneyFrom(input.amount, 'amount'),
        reason: input.reason,
        expiresAt: input.expiresAt ?? undefined,
        priority: input.priority ?? undefined,
      });
      return {
        creditGrant: await load(scope, grantsByIds, actor.accountId, grantId),
        wallet: await walletView(deps, scope.em, actor.accountId),
        replayed,
      };
    });
  }

  @Mutation(() => RefundTopUpPayload, {
    description: 'Sends what is left of a top-up back to the card that paid it. For operators',
  })
  refundTopUp(
    @Arg('input', () => RefundTopUpInput) input: RefundTopUpInput,
    @Ctx() { deps, scope, actor }: Context,
  ): Promise<RefundTopUpPayload> {
    return payload(async () => {
      const { refundId, replayed } = await refundTopUp(deps, actor, {
        idempotencyKey: input.idempotencyKey,
        paymentId: input.paymentId,
        amount: input.amount ? moneyFrom(input.amount, 'amount') : undefined,
      });
      return {
        refund: await load(scope, refundsByIds, actor.accountId, refundId),
        wallet: await walletView(deps, scope.em, actor.accountId),
        replayed,
      };
    });
  }
}

@Resolver(() => WalletType)
export class WalletGrantsResolver {
  @FieldResolver(() => CreditGrantConnection, { description: 'Newest first' })
  grants(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Arg('spent', () => Boolean, {
      nullable: true,
      defaultValue: true,
      description: 'False: only those that have something left',
    })
    spent: boolean | null,
    @Root() { wallet }: WalletView,
    @Ctx() { scope }: Context,
  ): Promise<Connection<WalletGrant>> {
    return listGrants(scope.em, wallet.accountId, { first, after, spent: spent ?? true });
  }
}
