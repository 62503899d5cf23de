import { z } from 'zod';
import { Decimal, parseDecimal } from '../domain/decimal.js';

// The values that a catalog file is made of. Its scalars are all read as text, so that 49.00 never becomes a binary float.

export const code = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, 'expected lower-case letters, digits and _, starting with a letter');

export const decimal = z
  .string('expected a plain decimal such as 49.00')
  .refine((text) => parseDecimal(text) !== undefined, 'expected a plain decimal such as 49.00');
export const atLeastZero = decimal.refine((text) => !text.startsWith('-'), 'expected zero or more');
export const aboveZero = decimal.refine(
  (text) => parseDecimal(text)?.greaterThan(0) !== false,
  'expected more than zero',
);

/** One text for one number, so that 10 and 10.00 are the same content. Only of a text that is a decimal. */
export const canonical = (text: string): string => new Decimal(text).toFixed();

export const oneOf = <const T extends readonly string[]>(names: T) =>
  z.preprocess((value) => (typeof value === 'string' ? value.toUpperCase() : value), z.enum(names));

export const whole = (min: number, max = 1_000) => z.coerce.number().int().min(min).max(max);
