import {
  Arg,
  Ctx,
  Field,
  FieldResolver,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import type { Decimal } from '../domain/decimal.js';
import { requireScope } from '../platform/actor.js';
import type { Context } from '../platform/context.js';
import { enumOf, IdempotentInput, MutationPayload, payload } from '../platform/graphqlTypes.js';
import { DecimalScalar } from '../platform/scalars.js';
import { type Account, dunningEnds } from './account.entity.js';
import { AccountType, viewerOf } from './account.resolver.js';
import { type BillingSettings, billingSettings } from './billingSettings.js';
import { type TaxRateInput as TaxRateCommand, updateBillingSettings } from './updateBillingSettings.js';

type DunningEndName = Uppercase<Account['dunningEnd']>;
const DunningEnd = enumOf(dunningEnds.map((end) => end.toUpperCase() as DunningEndName));
registerEnumType(DunningEnd, {
  name: 'DunningEnd',
  description: 'What becomes of the subscription when collecting gives up',
});

@ObjectType('TaxRate')
class TaxRateType {
  @Field(() => String)
  name!: string;

  @Field(() => DecimalScalar, { description: '19 for 19 %' })
  percent!: Decimal;

  @Field(() => Boolean, { description: 'Prices contain it; false: it comes on top' })
  inclusive!: boolean;
}

@ObjectType('BillingSettings', { description: 'How the account is billed' })
class BillingSettingsType {
  @Field(() => Int, { description: "Hours for which a renewal's invoice waits as DRAFT for late usage" })
  gracePeriodHours!: number;

  @Field(() => [Int], { description: 'Days after the first attempt at which a failed payment is tried again' })
  retryAfterDays!: number[];

  @Field(() => DunningEnd)
  dunningEnd!: DunningEndName;

  @Field(() => Boolean)
  taxExempt!: boolean;

  @Field(() => [TaxRateType])
  taxRates!: TaxRateType[];
}

@InputType('TaxRateInput')
class TaxRateInput {
  @Field(() => String)
  name!: string;

  @Field(() => DecimalScalar, { description: '19 for 19 %' })
  percent!: Decimal;

  @Field(() => Boolean, { nullable: true, defaultValue: false })
  inclusive?: boolean | null;
}

@InputType('BillingSettingsInput', { description: 'What is left out stays as it is' })
class BillingSettingsInput extends IdempotentInput {
  @Field(() => Int, { nullable: true, description: '0 to 72' })
  gracePeriodHours?: number | null;

  @Field(() => [Int], { nullable: true, description: 'At most 10, ascending, 1 to 60; none: no retries' })
  retryAfterDays?: number[] | null;

  @Field(() => DunningEnd, { nullable: true })
  dunningEnd?: DunningEndName | null;

  @Field(() => Boolean, { nullable: true })
  taxExempt?: boolean | null;

  @Field(() => [TaxRateInput], { nullable: true, description: 'All of them: they replace the ones before' })
  taxRates?: TaxRateInput[] | null;
}

@ObjectType('BillingSettingsPayload')
class BillingSettingsPayload extends MutationPayload {
  @Field(() => BillingSettingsType, { nullable: true })
  billingSettings?: BillingSettingsType | undefined;
}

const shown = ({ dunningEnd, ...settings }: BillingSettings): BillingSettingsType => ({
  ...settings,
  dunningEnd: dunningEnd.toUpperCase() as DunningEndName,
});

const rateOf = ({ name, percent, inclusive }: TaxRateInput): TaxRateCommand => ({
  name,
  percent,
  inclusive: inclusive ?? false,
});

@Resolver(() => AccountType)
export class BillingSettingsResolver {
  @FieldResolver(() => BillingSettingsType)
  async billingSettings(@Root() account: Account, @Ctx() { scope, actor }: Context): Promise<BillingSettingsType> {
    requireScope(actor, 'invoices:read');
    return shown(await billingSettings(scope.em, account));
  }

  @Mutation(() => BillingSettingsPayload, { description: 'For operators' })
  updateBillingSettings(
    @Arg('input', () => BillingSettingsInput) input: BillingSettingsInput,
    @Ctx() context: Context,
  ): Promise<BillingSettingsPayload> {
    return payload(async () => {
      const { replayed } = await updateBillingSettings(context.deps, context.actor, {
        idempotencyKey: input.idempotencyKey,
        gracePeriodHours: input.gracePeriodHours ?? undefined,
        retryAfterDays: input.retryAfterDays ?? undefined,
        dunningEnd: input.dunningEnd ? (input.dunningEnd.toLowerCase() as Account['dunningEnd']) : undefined,
        taxExempt: input.taxExempt ?? undefined,
        taxRates: input.taxRates?.map(rateOf),
      });
      return { billingSettings: shown(await billingSettings(context.scope.em, await viewerOf(context))), replayed };
    });
  }
}
