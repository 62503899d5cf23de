import { z } from 'zod';
import { Decimal } from '../domain/decimal.js';
import type { ChargeModel } from '../domain/rating.js';
import { aboveZero, atLeastZero, canonical, whole } from './fileValues.js';

const price = atLeastZero.transform(canonical);
const shared = { free_units: price.default('0'), minimum: price.default('0') };

const tiers = z
  .array(
    z.strictObject({
      up_to: aboveZero.transform(canonical).nullish(),
      unit_price: price.default('0'),
      flat_fee: price.default('0'),
    }),
  )
  .min(1, 'expected at least one tier')
  .max(100, 'expected at most 100 tiers')
  .superRefine((all, { addIssue }) => {
    for (const [i, { up_to }] of all.entries()) {
      const before = all[i - 1]?.up_to;
      const last = i === all.length - 1;
      const mistake = (message: string): void => addIssue({ code: 'custom', path: [i, 'up_to'], message });
      if (last && up_to != null) mistake(`${up_to} leaves what is over it without a price: the last tier has no up_to`);
      if (!last && up_to == null) mistake('only the last tier has no up_to');
      if (up_to != null && before != null && new Decimal(up_to).lessThanOrEqualTo(before))
        mistake(`${up_to} is not more than ${before}, where the tier before ends`);
    }
  });

const models = [
  z.strictObject({ model: z.literal('unit'), unit_price: price, ...shared }),
  z.strictObject({ model: z.literal('flat'), amount: price, ...shared }),
  z.strictObject({ model: z.literal('graduated'), tiers, ...shared }),
  z.strictObject({ model: z.literal('volume'), tiers, ...shared }),
  z.strictObject({ model: z.literal('package'), size: aboveZero.transform(canonical), price, ...shared }),
  z.strictObject({
    model: z.literal('percentage'),
    percent: price,
    fixed_fee: price.default('0'),
    free_events: whole(0, 2_147_483_647).default(0),
    ...shared,
  }),
] as const;

/** A feature's `charge` as the file spells it, read into the domain's model. */
export const chargeInFile = z
  .discriminatedUnion('model', models, {
    error: ({ code, input }) =>
      code === 'invalid_union'
        ? `${JSON.stringify((input as { model?: unknown }).model) ?? 'no model'} found; expected model: ${models
            .map(({ shape }) => shape.model.value)
            .join(', ')}`
        : undefined,
  })
  .transform((charge): ChargeModel => {
    const { free_units: freeUnits, minimum } = charge;
    switch (charge.model) {
      case 'unit':
        return { model: 'unit', unitPrice: charge.unit_price, freeUnits, minimum };
      case 'flat':
        return { model: 'flat', amount: charge.amount, freeUnits, minimum };
      case 'graduated':
      case 'volume':
        return {
          model: charge.model,
          tiers: charge.tiers.map((tier) => ({
            upTo: tier.up_to ?? null,
            unitPrice: tier.unit_price,
            flatFee: tier.flat_fee,
          })),
          freeUnits,
          minimum,
        };
      case 'package':
        return { model: 'package', size: charge.size, packagePrice: charge.price, freeUnits, minimum };
      case 'percentage':
        return {
          model: 'percentage',
          percent: charge.percent,
          fixedFee: charge.fixed_fee,
          freeEvents: charge.free_events,
          freeUnits,
          minimum,
        };
    }
  });

export const unitCharge = (unitPrice: string): ChargeModel => ({
  model: 'unit',
  unitPrice,
  freeUnits: '0',
  minimum: '0',
});
