import type { Money } from '../../domain/money.js';

/**
 * What billing needs of a card processor. Every call that moves money carries a key that was stored before the call:
 * the same key never moves money twice, whatever happens to the answer.
 */
export interface PaymentProvider {
  readonly name: string;

  /** Creates (once per account) the customer that payment methods hang on. */
  createCustomer(input: { accountId: string; name: string; key: string }): Promise<{ customerRef: string }>;

  /** Turns a token (`tok_visa`) or a provider's payment method (`pm_card_visa`) into one of the customer's own. */
  attachPaymentMethod(input: {
    accountId: string;
    customerRef: string;
    token: string;
    key: string;
    /** The account's time, from which a test card is good for some years; default the provider's. */
    now?: Date;
  }): Promise<AttachOutcome>;

  detachPaymentMethod(input: { methodRef: string }): Promise<void>;

  /** Charges off-session. An unreachable or failing provider throws `ProviderUnavailable`: the outcome is then unknown. */
  charge(input: ChargeInput): Promise<ChargeOutcome>;

  /** What became of the charge with this key; `undefined` when the provider never saw it. Moves no money. */
  findCharge(input: { key: string; paymentId: string }): Promise<ChargeOutcome | undefined>;

  /** Gives (part of) a charge back to its card. An unreachable provider throws `ProviderUnavailable`: the outcome is then unknown. */
  refund(input: RefundInput): Promise<RefundOutcome>;

  /** What became of the refund with this key; `undefined` when the provider never saw it. Moves no money. */
  findRefund(input: { key: string; refundId: string }): Promise<RefundOutcome | undefined>;
}

export interface ChargeInput {
  key: string;
  accountId: string;
  paymentId: string;
  customerRef: string;
  methodRef: string;
  amount: Money;
  description: string;
}

export interface RefundInput {
  key: string;
  accountId: string;
  refundId: string;
  chargeRef: string;
  amount: Money;
}

export interface CardDetails {
  type: 'card';
  /** `visa`, `mastercard`, `amex` … */
  brand: string;
  last4: string;
  expMonth: number;
  expYear: number;
}

export type AttachOutcome =
  | { status: 'attached'; methodRef: string; card: CardDetails }
  | { status: 'declined'; declineCode: string; message: string }
  | { status: 'invalid'; message: string };

export type ChargeOutcome =
  | { status: 'succeeded'; chargeRef: string }
  | { status: 'declined'; chargeRef: string; declineCode: string; message: string }
  | { status: 'requires_action'; chargeRef: string; clientSecret: string };

export type RefundOutcome =
  | { status: 'succeeded'; refundRef: string }
  | { status: 'failed'; refundRef: string; failureCode: string };

/** The provider could not be asked or gave no usable answer. Money may or may not have moved: ask with `findCharge`, `findRefund`. */
export class ProviderUnavailable extends Error {
  override readonly name = 'ProviderUnavailable';
}

/** The provider refuses the call as wrong (unknown reference, reused key): the caller's defect. It moved no money. */
export class ProviderMisuse extends Error {
  override readonly name = 'ProviderMisuse';
}
