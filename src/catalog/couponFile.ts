import { z } from 'zod';
import { Decimal } from '../domain/decimal.js';
import { parseMoney } from '../domain/money.js';
import { aboveZero, canonical, code, oneOf, whole } from './fileValues.js';
import { couponDurations } from './plan.entity.js';

/** As a coupon is published: what it takes off, for how long, and from what. */
export interface CatalogCoupon {
  code: string;
  name: string;
  /** In minor units of `currency`; null: `percent` is off. */
  amountMinor: bigint | null;
  currency: string | null;
  percent: string | null;
  duration: (typeof couponDurations)[number];
  durationPeriods: number | null;
  planCodes: string[];
  metricCodes: string[];
  redeemBy: Date | null;
  archived: boolean;
}

const calendarDate = /^\d{4}-\d{2}-\d{2}$/;
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;

/** The last moment of a date, as UTC has it (the catalog belongs to no account's zone); an RFC 3339 instant is itself. */
function lastMoment(text: string): Date | undefined {
  if (!calendarDate.test(text) && !instant.test(text)) return undefined;
  const day = text.slice(0, 10);
  const endOfDay = new Date(`${day}T23:59:59.999Z`);
  const at = calendarDate.test(text) ? endOfDay : new Date(text);
  // A Date takes 30 February for 2 March.
  const exists = !Number.isNaN(endOfDay.getTime()) && endOfDay.toISOString().startsWith(day);
  return exists && !Number.isNaN(at.getTime()) ? at : undefined;
}

/** A coupon as the file spells it. */
export const couponInFile = z
  .strictObject({
    code: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, 'expected letters, digits, _ and -, at most 63'),
    name: z.string().min(1),
    amount_off: aboveZero.optional(),
    currency: z.string().optional(),
    percent_off: aboveZero
      .transform(canonical)
      .refine((text) => new Decimal(text).lessThanOrEqualTo(100), 'expected at most 100')
      .optional(),
    duration: oneOf(couponDurations).default('ONCE'),
    periods: whole(1).optional(),
    plans: z.array(code).default([]),
    metrics: z.array(code).default([]),
    redeem_by: z
      .string()
      .refine(
        (text) => lastMoment(text) !== undefined,
        'expected a date such as 2027-01-01, or an instant with its zone',
      )
      .optional(),
    archived: z.enum(['true', 'false'], 'expected true or false').default('false'),
  })
  .superRefine((coupon, { addIssue }) => {
    const mistake = (field: string, message: string): void => addIssue({ code: 'custom', path: [field], message });
    const { amount_off, percent_off, currency, duration, periods } = coupon;
    if ((amount_off === undefined) === (percent_off === undefined))
      mistake('amount_off', 'expected either amount_off or percent_off');
    if (amount_off === undefined && currency !== undefined) mistake('currency', 'currency needs amount_off');
    if (amount_off !== undefined && currency === undefined) mistake('currency', 'amount_off needs a currency');
    if (amount_off !== undefined && currency !== undefined) {
      try {
        parseMoney(amount_off, currency);
      } catch (error) {
        mistake('amount_off', (error as Error).message);
      }
    }
    if (duration === 'REPEATING' && periods === undefined) mistake('periods', 'duration: repeating needs periods');
    if (duration !== 'REPEATING' && periods !== undefined) mistake('periods', 'periods needs duration: repeating');
  })
  .transform(
    (c): CatalogCoupon => ({
      code: c.code,
      name: c.name,
      amountMinor: c.amount_off === undefined ? null : parseMoney(c.amount_off, c.currency!).minorUnits,
      currency: c.currency ?? null,
      percent: c.percent_off ?? null,
      duration: c.duration,
      durationPeriods: c.periods ?? null,
      planCodes: [...new Set(c.plans)].sort(),
      metricCodes: [...new Set(c.metrics)].sort(),
      redeemBy: c.redeem_by === undefined ? null : lastMoment(c.redeem_by)!,
      archived: c.archived === 'true',
    }),
  );
