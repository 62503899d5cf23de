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
  Subscription,
} from 'type-graphql';
import { AccountType } from '../account/account.resolver.js';
import type { Payment } from '../payment/payment.entity.js';
import { PaymentType } from '../payment/payment.resolver.js';
import { paymentsByIds } from '../payment/paymentMethods.js';
import { requireScope } from '../platform/actor.js';
import { load } from '../platform/batch.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { eventsTopic } from '../platform/eventFeed.js';
import {
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
import { hintedBy, stateSource } from '../platform/liveSource.js';
import { DateTime } from '../platform/scalars.js';
import { usageTopic } from '../platform/topics.js';
import { configureAutoRecharge } from './configureAutoRecharge.js';
import { setLowBalanceThreshold } from './setLowBalanceThreshold.js';
import { type TopUpInput as TopUpCommand, topUp } from './topUp.js';
import type { LedgerTransaction } from './wallet.entity.js';
import { lowThreshold, type WalletView, walletTransactions, walletView } from './wallets.js';

@ObjectType('AutoRecharge')
export class AutoRechargeType {
  @Field(() => Boolean)
  enabled!: boolean;

  @Field(() => MoneyType, { nullable: true })
  threshold?: MoneyType | null;

  @Field(() => MoneyType, { nullable: true })
  amount?: MoneyType | null;

  @Field(() => MoneyType, {
    nullable: true,
    description: "The most that recharges may come to in a calendar month of the account's time zone; null: no limit",
  })
  monthlyLimit?: MoneyType | null;
}

@ObjectType('WalletTransaction', { implements: NodeType })
export class WalletTransactionType extends NodeType {
  @Field(() => String)
  type!: string;

  @Field(() => DateTime)
  createdAt!: Date;
}

const WalletTransactionConnection = connectionType('WalletTransaction', () => WalletTransactionType);

@ObjectType('Wallet', { implements: NodeType })
export class WalletType extends NodeType {}

@ObjectType('WalletPayload')
class WalletPayload extends MutationPayload {
  @Field(() => WalletType, { nullable: true })
  wallet?: WalletView;
}

@ObjectType('TopUpPayload')
class TopUpPayload extends MutationPayload {
  @Field(() => WalletType, { nullable: true })
  wallet?: WalletView;

  @Field(() => PaymentType, { nullable: true })
  payment?: Payment | undefined;
}

@InputType('TopUpInput')
export class TopUpInput extends IdempotentInput {
  @Field(() => MoneyInput)
  amount!: MoneyInput;

  @Field(() => ID, { nullable: true })
  paymentMethodId?: string | null;

  @Field(() => String, { nullable: true })
  previewToken?: string | null;
}

@InputType('AutoRechargeInput')
class AutoRechargeInput extends IdempotentInput {
  @Field(() => Boolean)
  enabled!: boolean;

  @Field(() => MoneyInput, { nullable: true })
  threshold?: MoneyInput | null;

  @Field(() => MoneyInput, { nullable: true })
  amount?: MoneyInput | null;

  @Field(() => MoneyInput, { nullable: true, description: 'At least one amount. Absent: as it was; null: no limit' })
  monthlyLimit?: MoneyInput | null;
}

@InputType('LowBalanceThresholdInput')
class LowBalanceThresholdInput extends IdempotentInput {
  @Field(() => MoneyInput, {
    nullable: true,
    description: 'More than 0. Null: the auto-recharge threshold while that is on, else none',
  })
  threshold?: MoneyInput | null;
}

export const topUpCommand = (input: TopUpInput): TopUpCommand => ({
  idempotencyKey: input.idempotencyKey,
  amount: moneyFrom(input.amount, 'amount'),
  paymentMethodId: input.paymentMethodId ?? undefined,
  previewToken: input.previewToken ?? undefined,
});

const readWallet = ({ deps, scope, actor }: Context): Promise<WalletView> => {
  requireScope(actor, 'wallet:read');
  return walletView(deps, scope.em, actor.accountId);
};

@Resolver(() => WalletTransactionType)
export class WalletTransactionResolver {
  @FieldResolver(() => ID)
  id(@Root() transaction: LedgerTransaction): string {
    return publicId('walletTransaction', transaction.id);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() transaction: LedgerTransaction): MoneyType {
    return moneyOf(transaction.walletAmountMinor, transaction.currency);
  }

  @FieldResolver(() => MoneyType)
  balanceAfter(@Root() transaction: LedgerTransaction): MoneyType {
    return moneyOf(transaction.walletBalanceAfterMinor ?? 0n, transaction.currency);
  }
}

@Resolver(() => WalletType)
export class WalletResolver {
  @FieldResolver(() => ID)
  id(@Root() { wallet }: WalletView): string {
    return publicId('wallet', wallet.id);
  }

  @FieldResolver(() => MoneyType)
  balance(@Root() { wallet, balanceMinor }: WalletView): MoneyType {
    return moneyOf(balanceMinor, wallet.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Balance less holds and usage not yet invoiced' })
  available(@Root() { wallet, availableMinor }: WalletView): MoneyType {
    return moneyOf(availableMinor, wallet.currency);
  }

  @FieldResolver(() => MoneyType, { description: 'Of the balance: kept for holds' })
  held(@Root() { wallet, heldMinor }: WalletView): MoneyType {
    return moneyOf(heldMinor, wallet.currency);
  }

  @FieldResolver(() => MoneyType, {
    nullable: true,
    description: 'When available falls below it, wallet.low is told; null: never',
  })
  lowBalanceThreshold(@Root() { wallet }: WalletView): MoneyType | null {
    const threshold = lowThreshold(wallet);
    return threshold === null ? null : moneyOf(threshold, wallet.currency);
  }

  @FieldResolver(() => AutoRechargeType)
  autoRecharge(@Root() { wallet }: WalletView): AutoRechargeType {
    const amount = (minorUnits: bigint | null | undefined) =>
      minorUnits == null ? null : moneyOf(minorUnits, wallet.currency);
    return {
      enabled: wallet.autoRechargeEnabled,
      threshold: amount(wallet.autoRechargeThresholdMinor),
      amount: amount(wallet.autoRechargeAmountMinor),
      monthlyLimit: amount(wallet.autoRechargeMonthlyLimitMinor),
    };
  }

  @FieldResolver(() => WalletTransactionConnection)
  transactions(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Root() { wallet }: WalletView,
    @Ctx() { scope }: Context,
  ): Promise<Connection<LedgerTransaction>> {
    return walletTransactions(scope.em, wallet.accountId, { first, after });
  }

  @Query(() => WalletType)
  wallet(@Ctx() context: Context): Promise<WalletView> {
    return readWallet(context);
  }

  @Mutation(() => TopUpPayload)
  topUp(@Arg('input', () => TopUpInput) input: TopUpInput, @Ctx() context: Context): Promise<TopUpPayload> {
    return payload(async () => {
      const { paymentId, replayed, error } = await topUp(context.deps, context.actor, topUpCommand(input));
      const payment = await load(context.scope, paymentsByIds, context.actor.accountId, paymentId);
      return {
        wallet: await walletView(context.deps, context.scope.em, context.actor.accountId),
        payment,
        replayed,
        error,
      };
    });
  }

  @Mutation(() => WalletPayload)
  configureAutoRecharge(
    @Arg('input', () => AutoRechargeInput) input: AutoRechargeInput,
    @Ctx() context: Context,
  ): Promise<WalletPayload> {
    return payload(async () => {
      const { replayed } = await configureAutoRecharge(context.deps, context.actor, {
        idempotencyKey: input.idempotencyKey,
        enabled: input.enabled,
        threshold: input.threshold ? moneyFrom(input.threshold, 'threshold') : undefined,
        amount: input.amount ? moneyFrom(input.amount, 'amount') : undefined,
        monthlyLimit: input.monthlyLimit ? moneyFrom(input.monthlyLimit, 'monthlyLimit') : input.monthlyLimit,
      });
      return { wallet: await walletView(context.deps, context.scope.em, context.actor.accountId), replayed };
    });
  }

  @Mutation(() => WalletPayload, { description: 'Sets below what `available` the account is told wallet.low' })
  setLowBalanceThreshold(
    @Arg('input', () => LowBalanceThresholdInput) input: LowBalanceThresholdInput,
    @Ctx() context: Context,
  ): Promise<WalletPayload> {
    return payload(async () => {
      const { replayed } = await setLowBalanceThreshold(context.deps, context.actor, {
        idempotencyKey: input.idempotencyKey,
        threshold: input.threshold ? moneyFrom(input.threshold, 'threshold') : null,
      });
      return { wallet: await walletView(context.deps, context.scope.em, context.actor.accountId), replayed };
    });
  }

  @Subscription(() => WalletType, {
    description: 'The wallet now, and again whenever it changes',
    subscribe: ({ context: { deps, actor } }: { context: Context }) => {
      requireScope(actor, 'wallet:read');
      return stateSource({
        ...hintedBy(deps.pubsub, [eventsTopic(actor.accountId), usageTopic(actor.accountId)], () =>
          walletView(deps, deps.db.orm.em.fork(), actor.accountId),
        ),
        fingerprint: ({ wallet, balanceMinor, heldMinor, availableMinor }) =>
          [
            balanceMinor,
            heldMinor,
            availableMinor,
            wallet.autoRechargeEnabled,
            wallet.autoRechargeThresholdMinor,
            wallet.autoRechargeAmountMinor,
            wallet.autoRechargeMonthlyLimitMinor,
            wallet.lowThresholdMinor,
          ].join(),
      });
    },
  })
  walletUpdated(@Root() wallet: WalletView): WalletView {
    return wallet;
  }
}

@Resolver(() => AccountType)
export class AccountWalletResolver {
  @FieldResolver(() => WalletType)
  wallet(@Ctx() context: Context): Promise<WalletView> {
    return readWallet(context);
  }
}
