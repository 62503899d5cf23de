import 'reflect-metadata';
import { Field, ID, InputType, InterfaceType, ObjectType, registerEnumType } from 'type-graphql';
import type { Decimal } from '../domain/decimal.js';
import { BillingError, type UserErrorCode, userErrorCodes } from '../domain/errors.js';
import { type Money, majorUnits, parseMoney } from '../domain/money.js';
import { BigIntScalar, CurrencyScalar, DateTime, DecimalScalar } from './scalars.js';

/** `registerEnumType` wants an object; our enums are lists of their own names. */
export const enumOf = <Name extends string>(names: readonly Name[]): { readonly [K in Name]: K } =>
  Object.fromEntries(names.map((name) => [name, name])) as { readonly [K in Name]: K };

export const ErrorCodeEnum = enumOf(userErrorCodes);
registerEnumType(ErrorCodeEnum, { name: 'ErrorCode' });

// Our resolvers return rows, not instances of the type classes; `node` says which type it found.
@InterfaceType('Node', { resolveType: (found: { __typename?: string }) => found.__typename })
export abstract class NodeType {
  @Field(() => ID)
  id!: string;
}

@ObjectType('Money')
export class MoneyType {
  @Field(() => DecimalScalar, {
    description: `Major units with exactly the currency's decimals: "49.00", "1500" (JPY), "1.250" (KWD)`,
  })
  amount!: string;

  @Field(() => BigIntScalar)
  minorUnits!: bigint;

  @Field(() => CurrencyScalar)
  currency!: string;
}

export const moneyOf = (minorUnits: bigint, currency: string): MoneyType => ({
  amount: majorUnits({ minorUnits, currency }),
  minorUnits,
  currency,
});

@InputType('MoneyInput')
export class MoneyInput {
  @Field(() => DecimalScalar)
  amount!: Decimal;

  @Field(() => CurrencyScalar)
  currency!: string;
}

/** The amount as the domain wants it; INVALID when it has more decimals than the currency. */
export const moneyFrom = (input: MoneyInput, ...field: string[]): Money =>
  parseMoney(input.amount.toFixed(), input.currency, ...field);

@ObjectType('Period')
export class PeriodType {
  @Field(() => DateTime)
  start!: Date;

  @Field(() => DateTime)
  end!: Date;
}

@ObjectType('UserError')
export class UserErrorType {
  @Field(() => ErrorCodeEnum)
  code!: UserErrorCode;

  @Field(() => String)
  message!: string;

  @Field(() => [String], { nullable: true, description: 'Path of the input field at fault' })
  field?: string[];

  @Field(() => String, {
    nullable: true,
    description: `The provider's decline code, e.g. card_declined, insufficient_funds`,
  })
  declineCode?: string;

  @Field(() => Boolean)
  retryable!: boolean;

  @Field(() => String, {
    nullable: true,
    description: 'With REQUIRES_ACTION: what the client needs to finish 3-D Secure',
  })
  clientSecret?: string;
}

/** What every mutation answers beside the object it changed. */
@ObjectType()
export abstract class MutationPayload {
  @Field(() => [UserErrorType])
  userErrors!: UserErrorType[];

  @Field(() => Boolean, { description: 'This is the stored answer to an earlier request with the same key' })
  replayed!: boolean;
}

/** What every mutation that moves money or state takes: the same key and input replays the first answer. */
@InputType()
export abstract class IdempotentInput {
  @Field(() => String)
  idempotencyKey!: string;
}

const actionable: ReadonlySet<string> = new Set(
  userErrorCodes.filter((code) => code !== 'FORBIDDEN' && code !== 'UNAVAILABLE'),
);

export const userErrorOf = (error: BillingError): UserErrorType => ({
  code: error.code as UserErrorCode,
  message: error.message,
  ...(error.details.field ? { field: error.details.field.map(String) } : {}),
  ...(error.details.declineCode ? { declineCode: error.details.declineCode } : {}),
  ...(error.details.clientSecret ? { clientSecret: error.details.clientSecret } : {}),
  retryable: error.retryable,
});

/**
 * Turns what the caller can act on into `userErrors` of the payload. Everything else (authorisation, limits, faults)
 * stays an error of the request.
 */
export async function payload<P extends object>(
  work: () => Promise<P & { error?: BillingError | undefined }>,
): Promise<P & { userErrors: UserErrorType[] }> {
  try {
    const { error, ...result } = await work();
    return { ...(result as unknown as P), userErrors: error ? [userErrorOf(error)] : [] };
  } catch (error) {
    if (!(error instanceof BillingError) || !actionable.has(error.code)) throw error;
    return { replayed: false, userErrors: [userErrorOf(error)] } as unknown as P & { userErrors: UserErrorType[] };
  }
}
