import { Field, Int, ObjectType, registerEnumType } from 'type-graphql';
import type { ChargeModel } from '../domain/rating.js';
import { DecimalScalar } from '../platform/scalars.js';

/** Names of the API to those of the domain. */
const ChargeModelKind = {
  UNIT: 'unit',
  FLAT: 'flat',
  GRADUATED: 'graduated',
  VOLUME: 'volume',
  PACKAGE: 'package',
  PERCENTAGE: 'percentage',
} as const satisfies Record<string, ChargeModel['model']>;
registerEnumType(ChargeModelKind, { name: 'ChargeModelKind' });

@ObjectType('PriceTier', { description: 'Begins where the tier before it ends' })
export class PriceTierType {
  @Field(() => DecimalScalar, { nullable: true, description: 'The last quantity in it; null: it has no end' })
  upTo?: string | null;

  @Field(() => DecimalScalar)
  unitPrice!: string;

  @Field(() => DecimalScalar, { description: 'Charged once when the tier is used' })
  flatFee!: string;
}

/** Read straight off a `ChargeModel`: what its model doesn't have is null. */
@ObjectType('Charge', { description: "How use is priced, in major units of the plan's currency" })
export class ChargeType {
  @Field(() => ChargeModelKind)
  model!: ChargeModel['model'];

  @Field(() => DecimalScalar, { nullable: true, description: 'UNIT' })
  unitPrice?: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'FLAT: once, when there was any use' })
  amount?: string;

  @Field(() => [PriceTierType], {
    nullable: true,
    description: 'GRADUATED: each prices the units in it. VOLUME: the one that is reached prices all',
  })
  tiers?: PriceTierType[];

  @Field(() => DecimalScalar, { name: 'packageSize', nullable: true, description: 'PACKAGE' })
  size?: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'PACKAGE: for each one that is started' })
  packagePrice?: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'PERCENTAGE: of the amount used; 2.9 for 2.9 %' })
  percent?: string;

  @Field(() => DecimalScalar, { nullable: true, description: 'PERCENTAGE: for each event beyond the free ones' })
  fixedFee?: string;

  @Field(() => Int, { nullable: true, description: 'PERCENTAGE: events without the fixed fee' })
  freeEvents?: number;

  @Field(() => DecimalScalar, { description: 'Off the quantity before anything is priced' })
  freeUnits!: string;

  @Field(() => DecimalScalar, { description: 'What a period costs at the least, without any use too' })
  minimum!: string;
}
