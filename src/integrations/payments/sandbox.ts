import { randomBytes } from 'node:crypto';
import type { Pool, QueryResultRow } from 'pg';
import type {
  AttachOutcome,
  ChargeInput,
  ChargeOutcome,
  PaymentProvider,
  RefundInput,
  RefundOutcome,
} from './provider.js';
import { ProviderMisuse, ProviderUnavailable } from './provider.js';
import { declineMessage, holdsCardNumber, refundFailureCode, resolveTestCard, sampleTokens } from './sandboxCards.js';

/** The embedded default, plus what only a sandbox can do: play the card holder, and open its books. */
export interface SandboxProvider extends PaymentProvider {
  /**
   * Ends the 3-D Secure challenge of a `requires_action` charge; money moves on success. The first answer counts: on a
   * finished charge this only tells its outcome. Throws `ProviderMisuse` for an unknown charge.
   */
  authenticate(input: { chargeRef: string; success: boolean }): Promise<ChargeOutcome>;

  /** Charges of the account's cards, and the money truly taken by them less what went back: minor units, summed over currencies. */
  moved(input: { accountId: string }): Promise<{ charges: number; amountMinor: bigint }>;
}

interface MethodRow {
  ref: string;
  customer_ref: string;
  token: string;
  brand: string;
  last4: string;
  exp_month: number;
  exp_year: number;
  behaviour: 'frictionless' | 'challenge';
  decline_code: string | null;
  detached_at: Date | null;
}

interface ChargeRow {
  ref: string;
  payment_id: string;
  customer_ref: string;
  method_ref: string;
  amount_minor: string;
  currency: string;
  status: ChargeOutcome['status'];
  decline_code: string | null;
  client_secret: string | null;
}

interface RefundRow {
  ref: string;
  refund_id: string;
  charge_ref: string;
  amount_minor: string;
  currency: string;
  failure_code: string | null;
}

/** Stripe takes amounts of up to eight digits (docs.stripe.com/currencies#minimum-and-maximum-charge-amounts). */
const largestChargeMinor = 99_999_999n;

/**
 * A card processor inside the database: it keeps its own books in schema `sandbox` and moves no real money. Its pool must
 * be its own: every call commits by itself, as a processor elsewhere would, and billing's rollback takes nothing back.
 * Keys never expire, and a replay tells what the charge has become (Stripe forgets keys after a day and repeats the
 * first answer). A database that fails is a `ProviderUnavailable`, a wrong call a `ProviderMisuse`.
 */
export function createSandboxProvider({ pool, now }: { pool: Pick<Pool, 'query'>; now: () => Date }): SandboxProvider {
  async function ask<Row extends QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    try {
      return (await pool.query<Row>(text, values)).rows;
    } catch (error) {
      // Classes 22 and 23 (data and constraint errors) fail again each time; of anything else the outcome is unknown.
      const refused = /^2[23]/.test((error as { code?: string }).code ?? '');
      if (refused) throw new ProviderMisuse('The sandbox cannot store this input', { cause: error });
      throw new ProviderUnavailable('The sandbox gave no answer', { cause: error });
    }
  }

  return {
    name: 'sandbox',

    /** The key alone decides: an account that was renamed since still gets its customer. */
    async createCustomer({ accountId, name, key }) {
      const [customer] = await ask<{ ref: string }>(
        `insert into sandbox.customer (account_id, ref, key, name, created_at) values ($1, $2, $3, $4, $5)
         ${orStored} returning ref`,
        [accountId, newRef('cus'), key, name, now()],
      );
      return { customerRef: customer!.ref };
    },

    async attachPaymentMethod({ accountId, customerRef, token, key, now: attachedAt = now() }): Promise<AttachOutcome> {
      const card = resolveTestCard(token);
      if (!card) return { status: 'invalid', message: explainUnknown(token) };
      const customers = await ask('select from sandbox.customer where account_id = $1 and ref = $2', [
        accountId,
        customerRef,
      ]);
      if (customers.length === 0) throw new ProviderMisuse(`No customer '${customerRef}'`);

      // Of the token only the card's name is kept: nobody can smuggle a card number in as a suffix.
      const [method] = await ask<MethodRow>(
        `insert into sandbox.payment_method (account_id, ref, key, customer_ref, token, brand, last4, exp_month, exp_year,
           behaviour, decline_code, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, 12, $8, $9, $10, $11) ${orStored} returning *`,
        [
          accountId,
          newRef('pm'),
          key,
          customerRef,
          card.name,
          card.brand,
          card.last4,
          attachedAt.getUTCFullYear() + 3,
          card.behaviour,
          card.declineCode,
          now(),
        ],
      );
      const { ref, brand, last4, exp_month: expMonth, exp_year: expYear } = method!;
      if (method!.customer_ref !== customerRef || method!.token !== card.name) throw keyReused(key);
      return { status: 'attached', methodRef: ref, card: { type: 'card', brand, last4, expMonth, expYear } };
    },

    async detachPaymentMethod({ methodRef }) {
      const detached = await ask(
        'update sandbox.payment_method set detached_at = coalesce(detached_at, $2) where ref = $1 returning ref',
        [methodRef, now()],
      );
      if (detached.length === 0) throw new ProviderMisuse(`No payment method '${methodRef}'`);
    },

    async charge(input) {
      const { key, accountId, paymentId, customerRef, methodRef, amount } = input;
      if (amount.minorUnits <= 0n || amount.minorUnits > largestChargeMinor) {
        throw new ProviderMisuse(`Cannot charge ${amount.minorUnits} minor units: expected 1 to ${largestChargeMinor}`);
      }
      const [method] = await ask<MethodRow>('select * from sandbox.payment_method where account_id = $1 and ref = $2', [
        accountId,
        methodRef,
      ]);
      if (method?.customer_ref !== customerRef) {
        throw new ProviderMisuse(`No payment method '${methodRef}' on customer '${customerRef}'`);
      }

      const ref = newRef('ch');
      const { status, declineCode } = decideCharge(method);
      const [charge] = await ask<ChargeRow>(
        `insert into sandbox.charge (account_id, key, ref, payment_id, customer_ref, method_ref, amount_minor, currency,
           status, decline_code, client_secret, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ${orStored} returning *`,
        [
          accountId,
          key,
          ref,
          paymentId,
          customerRef,
          methodRef,
          amount.minorUnits,
          amount.currency,
          status,
          declineCode,
          status === 'requires_action' ? newRef(`${ref}_secret`) : null,
          now(),
        ],
      );
      if (!isSameCharge(charge!, input)) throw keyReused(key);
      return describeOutcome(charge!);
    },

    /**
     * By key; else by payment, but only a charge that moved money or still may: what another key's decline says of this
     * payment is over, and taking it for this key's answer would hide a charge still on its way.
     */
    async findCharge({ key, paymentId }) {
      const [charge] = await ask<ChargeRow>(
        `select * from sandbox.charge where payment_id = $2 and (key = $1 or status <> 'declined')
         order by key = $1 desc, status = 'succeeded' desc limit 1`,
        [key, paymentId],
      );
      return charge && describeOutcome(charge);
    },

    async refund(input) {
      const { key, accountId, refundId, chargeRef, amount } = input;
      const [charge] = await ask<ChargeRow & { token: string }>(
        `select c.*, m.token from sandbox.charge c
         join sandbox.payment_method m on m.account_id = c.account_id and m.ref = c.method_ref
         where c.account_id = $1 and c.ref = $2 and c.status = 'succeeded'`,
        [accountId, chargeRef],
      );
      if (charge?.currency !== amount.currency) {
        throw new ProviderMisuse(`No charge '${chargeRef}' in ${amount.currency} that has moved money`);
      }
      const failureCode = refundFailureCode(charge.token);
      const parameters = [accountId, key, newRef('re'), refundId, chargeRef, amount.minorUnits, amount.currency];
      for (;;) {
        try {
          // The check of what is left, the row and its place are one statement; of two for one place, one finds it taken.
          const [refund] = await ask<RefundRow>(
            `insert into sandbox.refund (account_id, key, ref, refund_id, charge_ref, amount_minor, currency, failure_code,
               refunded_before_minor, created_at)
             select $1::uuid, $2, $3, $4, $5, $6::bigint, $7, $8::text, before.minor, $9::timestamptz
             from (select coalesce(sum(amount_minor), 0) as minor from sandbox.refund
                   where account_id = $1 and charge_ref = $5 and failure_code is null) as before
             where before.minor + $6::bigint <= $10::bigint
               or exists (select from sandbox.refund where account_id = $1 and key = $2)
             ${orStored} returning *`,
            [...parameters, failureCode, now(), charge.amount_minor],
          );
          if (!refund) {
            throw new ProviderMisuse(
              `Cannot refund ${amount.minorUnits} of charge '${chargeRef}': that is more than is left`,
            );
          }
          if (!isSameRefund(refund, input)) throw keyReused(key);
          return describeRefund(refund);
        } catch (error) {
          if (!isPlaceTaken(error)) throw error;
        }
      }
    },

    async findRefund({ key, refundId }) {
      const [refund] = await ask<RefundRow>(
        `select * from sandbox.refund where refund_id = $2 and (key = $1 or failure_code is null)
         order by key = $1 desc limit 1`,
        [key, refundId],
      );
      return refund && describeRefund(refund);
    },

    async authenticate({ chargeRef, success }) {
      const [method] = await ask<Pick<MethodRow, 'decline_code'>>(
        `select m.decline_code from sandbox.charge c
         join sandbox.payment_method m on m.account_id = c.account_id and m.ref = c.method_ref where c.ref = $1`,
        [chargeRef],
      );
      if (!method) throw new ProviderMisuse(`No charge '${chargeRef}'`);
      const declineCode = success ? method.decline_code : 'payment_intent_authentication_failure';
      await ask(
        `update sandbox.charge set status = $2, decline_code = $3 where ref = $1 and status = 'requires_action'`,
        [chargeRef, declineCode ? 'declined' : 'succeeded', declineCode],
      );
      const [charge] = await ask<ChargeRow>('select * from sandbox.charge where ref = $1', [chargeRef]);
      return describeOutcome(charge!);
    },

    async moved({ accountId }) {
      const [sum] = await ask<{ charges: number; amount_minor: string }>(
        `select count(*)::int as charges, (coalesce(sum(amount_minor), 0) - (
             select coalesce(sum(amount_minor), 0) from sandbox.refund where account_id = $1 and failure_code is null
           ))::text as amount_minor
         from sandbox.charge where account_id = $1 and status = 'succeeded'`,
        [accountId],
      );
      return { charges: sum!.charges, amountMinor: BigInt(sum!.amount_minor) };
    },
  };
}

/** Ends an insert so that it answers with the row of its key, whoever of many at once put it there; the row stays as it was. */
const orStored = 'on conflict (account_id, key) do update set key = excluded.key';

const newRef = (prefix: string): string => `${prefix}_${randomBytes(12).toString('hex')}`;

const keyReused = (key: string): ProviderMisuse =>
  new ProviderMisuse(`Idempotency key reused with other parameters: '${key}'`);

/** Repeats the token it found, unless that is what must appear nowhere. */
const explainUnknown = (token: string): string =>
  holdsCardNumber(token)
    ? `Card numbers are not accepted: expected a test token such as ${sampleTokens}`
    : `'${token.slice(0, 60)}' is not a test token: expected one such as ${sampleTokens}`;

function decideCharge(method: MethodRow): { status: ChargeOutcome['status']; declineCode: string | null } {
  if (method.detached_at) return { status: 'declined', declineCode: 'payment_method_detached' };
  if (method.behaviour === 'challenge') return { status: 'requires_action', declineCode: null };
  return { status: method.decline_code ? 'declined' : 'succeeded', declineCode: method.decline_code };
}

const isSameCharge = (charge: ChargeRow, { paymentId, customerRef, methodRef, amount }: ChargeInput): boolean =>
  charge.payment_id === paymentId &&
  charge.customer_ref === customerRef &&
  charge.method_ref === methodRef &&
  BigInt(charge.amount_minor) === amount.minorUnits &&
  charge.currency === amount.currency;

const isSameRefund = (refund: RefundRow, { refundId, chargeRef, amount }: RefundInput): boolean =>
  refund.refund_id === refundId &&
  refund.charge_ref === chargeRef &&
  BigInt(refund.amount_minor) === amount.minorUnits &&
  refund.currency === amount.currency;

const describeRefund = ({ ref: refundRef, failure_code: failureCode }: RefundRow): RefundOutcome =>
  failureCode === null ? { status: 'succeeded', refundRef } : { status: 'failed', refundRef, failureCode };

/** Another refund of the same charge came first: what is left has to be looked at again. */
const isPlaceTaken = (error: unknown): boolean =>
  error instanceof ProviderMisuse &&
  (error.cause as { constraint?: string } | undefined)?.constraint === 'refund_place';

function describeOutcome({ ref: chargeRef, status, decline_code, client_secret }: ChargeRow): ChargeOutcome {
  if (status === 'succeeded') return { status, chargeRef };
  if (status === 'requires_action') return { status, chargeRef, clientSecret: client_secret! };
  return { status, chargeRef, declineCode: decline_code!, message: declineMessage(decline_code!) };
}

/**
 * The sandbox's books, in a schema of their own; safe to run again. References and keys are the processor's and the
 * caller's texts, amounts are minor units.
 */
export const sandboxTables = `
create schema if not exists sandbox;

create table if not exists sandbox.customer (
  account_id uuid not null,
  ref text not null,
  key text not null,
  name text not null,
  created_at timestamptz(3) not null,
  primary key (account_id, ref),
  unique (account_id, key)
);

create table if not exists sandbox.payment_method (
  account_id uuid not null,
  ref text not null,
  key text not null,
  customer_ref text not null,
  token text not null,
  brand text not null,
  last4 text not null,
  exp_month smallint not null,
  exp_year smallint not null,
  behaviour text not null check (behaviour in ('frictionless', 'challenge')),
  decline_code text,
  created_at timestamptz(3) not null,
  detached_at timestamptz(3),
  primary key (account_id, ref),
  unique (account_id, key),
  foreign key (account_id, customer_ref) references sandbox.customer (account_id, ref)
);
create index if not exists payment_method_ref on sandbox.payment_method (ref);

create table if not exists sandbox.charge (
  account_id uuid not null,
  key text not null,
  ref text not null,
  payment_id text not null,
  customer_ref text not null,
  method_ref text not null,
  amount_minor bigint not null check (amount_minor > 0),
  currency text not null,
  status text not null check (status in ('succeeded', 'declined', 'requires_action')),
  decline_code text check ((decline_code is not null) = (status = 'declined')),
  client_secret text check (client_secret is not null or status <> 'requires_action'),
  created_at timestamptz(3) not null,
  primary key (account_id, key),
  foreign key (account_id, method_ref) references sandbox.payment_method (account_id, ref)
);
create index if not exists charge_ref on sandbox.charge (ref);
create index if not exists charge_payment on sandbox.charge (payment_id);

create table if not exists sandbox.refund (
  account_id uuid not null,
  key text not null,
  ref text not null,
  refund_id text not null,
  charge_ref text not null,
  amount_minor bigint not null check (amount_minor > 0),
  currency text not null,
  failure_code text,
  refunded_before_minor bigint not null,
  created_at timestamptz(3) not null,
  primary key (account_id, key)
);
create index if not exists refund_refund on sandbox.refund (refund_id);
create unique index if not exists refund_place on sandbox.refund (account_id, charge_ref, refunded_before_minor)
  where failure_code is null;
`;
