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
import { captureHold } from './captureHold.js';
import { createHold, type HoldAnswer } from './createHold.js';
import { holdsByIds, listHolds } from './holds.js';
import { releaseHold } from './releaseHold.js';
import { holdStatuses, type WalletHold } from './wallet.entity.js';
import { WalletType } from './wallet.resolver.js';
import { type WalletView, walletView } from './wallets.js';

const HoldStatus = enumOf(holdStatuses);
registerEnumType(HoldStatus, { name: 'HoldStatus' });

@ObjectType('Hold', { implements: NodeType, description: 'Credit that is kept for work in progress' })
export class HoldType extends NodeType {
  @Field(() => HoldStatus)
  status!: WalletHold['status'];

  @Field(() => String)
  description!: string;

  @Field(() => DateTime, { description: 'It ends by itself then, and what it keeps is free again' })
  expiresAt!: Date;

  @Field(() => DateTime)
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true })
  endedAt?: Date | null;
}

const HoldConnection = connectionType('Hold', () => HoldType);

@ObjectType('HoldPayload')
class HoldPayload extends MutationPayload {
  @Field(() => HoldType, { nullable: true })
  hold?: WalletHold | undefined;

  @Field(() => WalletType, { nullable: true })
  wallet?: WalletView;
}

@InputType('CreateHoldInput')
class CreateHoldInput extends IdempotentInput {
  @Field(() => MoneyInput)
  amount!: MoneyInput;

  @Field(() => String, { description: 'What it is for, as the account reads it; 1 to 500 characters' })
  description!: string;

  @Field(() => DateTime, { nullable: true, description: 'At most 90 days ahead; absent: in 7 days' })
  expiresAt?: Date | null;
}

@InputType('CaptureHoldInput')
class CaptureHoldInput extends IdempotentInput {
  @Field(() => ID)
  holdId!: string;

  @Field(() => MoneyInput, {
    nullable: true,
    description: 'What the work came to; absent: all of it. The rest is free again',
  })
  amount?: MoneyInput | null;
}

@InputType('HoldIdInput')
class HoldIdInput extends IdempotentInput {
  @Field(() => ID)
  holdId!: string;
}

@Resolver(() => HoldType)
export class HoldResolver {
  @FieldResolver(() => ID)
  id(@Root() hold: WalletHold): string {
    return publicId('hold', hold.id);
  }

  @FieldResolver(() => MoneyType)
  amount(@Root() hold: WalletHold): MoneyType {
    return moneyOf(hold.amountMinor, hold.currency);
  }

  @FieldResolver(() => MoneyType)
  captured(@Root() hold: WalletHold): MoneyType {
    return moneyOf(hold.capturedMinor, hold.currency);
  }

  @Mutation(() => HoldPayload, {
    description: 'Keeps credit for work in progress; INSUFFICIENT_BALANCE when it is more than what is available',
  })
  createHold(
    @Arg('input', () => CreateHoldInput) input: CreateHoldInput,
    @Ctx() context: Context,
  ): Promise<HoldPayload> {
    return answer(context, () =>
      createHold(context.deps, context.actor, {
        idempotencyKey: input.idempotencyKey,
        amount: moneyFrom(input.amount, 'amount'),
        description: input.description,
        expiresAt: input.expiresAt ?? undefined,
      }),
    );
  }

  @Mutation(() => HoldPayload, {
    description: 'The work is done: the wallet pays (part of) what was held for it, once',
  })
  captureHold(
    @Arg('input', () => CaptureHoldInput) input: CaptureHoldInput,
    @Ctx() context: Context,
  ): Promise<HoldPayload> {
    return answer(context, () =>
      captureHold(context.deps, context.actor, {
        idempotencyKey: input.idempotencyKey,
        holdId: input.holdId,
        amount: input.amount ? moneyFrom(input.amount, 'amount') : undefined,
      }),
    );
  }

  @Mutation(() => HoldPayload, { description: 'What was held is free again' })
  releaseHold(@Arg('input', () => HoldIdInput) input: HoldIdInput, @Ctx() context: Context): Promise<HoldPayload> {
    return answer(context, () => releaseHold(context.deps, context.actor, { ...input }));
  }
}

const answer = ({ deps, scope, actor }: Context, change: () => Promise<HoldAnswer>): Promise<HoldPayload> =>
  payload(async () => {
    const { holdId, replayed } = await change();
    return {
      hold: await load(scope, holdsByIds, actor.accountId, holdId),
      wallet: await walletView(deps, scope.em, actor.accountId),
      replayed,
    };
  });

@Resolver(() => WalletType)
export class WalletHoldsResolver {
  @FieldResolver(() => HoldConnection, { description: 'Newest first' })
  holds(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Arg('status', () => [HoldStatus], { nullable: true }) status: WalletHold['status'][] | undefined,
    @Root() { wallet }: WalletView,
    @Ctx() { scope }: Context,
  ): Promise<Connection<WalletHold>> {
    return listHolds(scope.em, wallet.accountId, { first, after, status });
  }
}
