import { Decimal as Base } from 'decimal.js';

/**
 * Exact decimals for quantities, unit prices and rates. 80 significant digits hold every product of a quantity and a
 * price that `parseDecimal` accepts (64), and room to sum a great many of them; HALF_UP is the only rounding the domain knows.
 */
export const Decimal = Base.clone({ precision: 80, rounding: Base.ROUND_HALF_UP, toExpNeg: -60, toExpPos: 60 });
export type Decimal = Base;

export const zero: Decimal = new Decimal(0);

const pattern = /^-?(0|[1-9]\d{0,19})(\.\d{1,12})?$/;

/** Parses `"45.7"`; `undefined` for anything but a plain decimal of at most 20 + 12 digits (no exponent, no NaN). */
export const parseDecimal = (text: string): Decimal | undefined => (pattern.test(text) ? new Decimal(text) : undefined);
