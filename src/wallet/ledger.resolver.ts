import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  ID,
  Int,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import type { Period } from '../domain/period.js';
import { requireScope } from '../platform/actor.js';
import { type Connection, connectionType } from '../platform/connection.js';
import type { Context } from '../platform/context.js';
import { enumOf, MoneyType, moneyOf, NodeType, PeriodType } from '../platform/graphqlTypes.js';
import { publicId } from '../platform/ids.js';
import { CurrencyScalar, DateTime } from '../platform/scalars.js';
import {
  checkPeriod,
  type LedgerMovement,
  type LedgerStatementLine,
  ledgerMovements,
  ledgerStatement,
} from './ledgerStatement.js';
import { documentIdOf } from './movementDocuments.js';
import { ledgerAccountKinds } from './wallet.entity.js';

const LedgerAccountKindEnum = enumOf(ledgerAccountKinds.map((kind) => kind.toUpperCase()));
registerEnumType(LedgerAccountKindEnum, {
  name: 'LedgerAccountKind',
  description: 'An account of the chart. Credits make its balance grow: RECEIVABLE is below zero by what is owed',
});

@ObjectType('LedgerAccountStatement', { description: 'opening + credits - debits = closing' })
class LedgerAccountStatementType {
  @Field(() => LedgerAccountKindEnum)
  account!: string;

  @Field(() => CurrencyScalar)
  currency!: string;

  @Field(() => MoneyType)
  opening!: MoneyType;

  @Field(() => MoneyType)
  debits!: MoneyType;

  @Field(() => MoneyType)
  credits!: MoneyType;

  @Field(() => MoneyType)
  closing!: MoneyType;
}

@ObjectType('LedgerPosting')
class LedgerPostingType {
  @Field(() => LedgerAccountKindEnum)
  account!: string;

  @Field(() => MoneyType, { description: 'Credits are positive, debits negative' })
  amount!: MoneyType;
}

@ObjectType('LedgerMovement', {
  implements: NodeType,
  description: 'Postings that sum to zero; never changed, never removed',
})
export class LedgerMovementType extends NodeType {
  @Field(() => String)
  type!: string;

  @Field(() => DateTime)
  createdAt!: Date;
}

const LedgerMovementConnection = connectionType('LedgerMovement', () => LedgerMovementType);

@ObjectType('LedgerStatement')
class LedgerStatementType {
  @Field(() => PeriodType)
  period!: Period;
}

@Resolver(() => LedgerMovementType)
export class LedgerMovementResolver {
  @FieldResolver(() => ID)
  id(@Root() { id }: LedgerMovement): string {
    return publicId('ledgerMovement', id);
  }

  @FieldResolver(() => ID, { nullable: true, description: 'The payment, invoice, credit note or refund behind it' })
  referenceId(@Root() movement: LedgerMovement): string | null {
    return documentIdOf(movement);
  }

  @FieldResolver(() => [LedgerPostingType])
  postings(@Root() { postings, currency }: LedgerMovement): LedgerPostingType[] {
    return postings.map(({ kind, amountMinor }) => ({
      account: kind.toUpperCase(),
      amount: moneyOf(amountMinor, currency),
    }));
  }
}

/** The books of one account over a period. Whoever reads them sees invoices as well as the wallet. */
@Resolver(() => LedgerStatementType)
export class LedgerStatementResolver {
  @Query(() => LedgerStatementType, { description: 'What was booked from `from` on and before `to`' })
  ledgerStatement(
    @Arg('from', () => DateTime) start: Date,
    @Arg('to', () => DateTime) end: Date,
    @Ctx() { actor }: Context,
  ): LedgerStatementType {
    requireScope(actor, 'wallet:read');
    requireScope(actor, 'invoices:read');
    checkPeriod({ start, end });
    return { period: { start, end } };
  }

  @FieldResolver(() => [LedgerAccountStatementType], {
    description: 'Every account of the chart that ever had a posting',
  })
  async accounts(
    @Root() { period }: LedgerStatementType,
    @Ctx() { scope, actor: { accountId } }: Context,
  ): Promise<LedgerAccountStatementType[]> {
    return (await ledgerStatement(scope.em, { accountId, ...period })).map(presentLine);
  }

  @FieldResolver(() => LedgerMovementConnection, { description: 'Oldest first' })
  movements(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Root() { period }: LedgerStatementType,
    @Ctx() { scope, actor: { accountId } }: Context,
  ): Promise<Connection<LedgerMovement>> {
    return ledgerMovements(scope.em, { accountId, ...period }, { first, after });
  }
}

const presentLine = ({ kind, currency, ...line }: LedgerStatementLine): LedgerAccountStatementType => ({
  account: kind.toUpperCase(),
  currency,
  opening: moneyOf(line.openingMinor, currency),
  debits: moneyOf(line.debitsMinor, currency),
  credits: moneyOf(line.creditsMinor, currency),
  closing: moneyOf(line.closingMinor, currency),
});
