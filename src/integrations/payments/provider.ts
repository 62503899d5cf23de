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

  /** What became of a set-up that asked its card's holder for confirmation. Only where attaching can ask. */
  findAttachment?(input: { setupRef: string }): Promise<AttachOutcome>;

  /** Charges off-session. An unreachable or failing provider throws `ProviderUnavailable`: the outcome is then unknown. */
  charge(input: ChargeInput): Promise<ChargeOutcome>;

  /**
   * What became of the charge with this key; `undefined` when the provider never saw it. Moves no money. What is known of it
   * beside the key saves the provider a search, which may lag behind what has happened.
   */
  findCharge(input: {
    key: string;
    paymentId: string;
    chargeRef?: string | undefined;
    customerRef?: string | undefined;
  }): Promise<ChargeOutcome | undefined>;

  /** Gives (part of) a charge back to its card. An unreachable provider throws `ProviderUnavailable`: the outcome is then unknown. */
  refund(input: RefundInput): Promise<RefundOutcome>;

  /** What became of the refund with this key; `undefined` when the provider never saw it. Moves no money. */
  findRefund(input: {
    key: string;
    refundId: string;
    chargeRef?: string | undefined;
  }): Promise<RefundOutcome | undefined>;

  /**
   * Charges of the account's cards, and the money truly taken by them less what went back: minor units, summed over
   * currencies. Absent where the provider's books are not open to us.
   */
  moved?(input: { accountId: string }): Promise<{ charges: number; amountMinor: bigint }>;

  /** What the provider tells by itself; absent where it never does. */
  readonly events?: ProviderEvents | undefined;
}

/** News from the provider. An event only says where to look: what it tells is read from the provider as it is now. */
export interface ProviderEvents {
  /** Checks that the provider sent it; throws `UntrustedEvent`. Absent where no secret to check it with is configured. */
  verify?: ((input: { body: Buffer; signature: string }) => Promise<ProviderEvent>) | undefined;

  /** A page of the events of the types we know, from this second (of the epoch) on, newest first; the next one is `after` its last. */
  list(input: { second: number; after: string | undefined }): Promise<{ events: ProviderEvent[]; hasMore: boolean }>;

  /** How the object of an event is now; `undefined` for what doesn't concern billing. */
  read(event: ProviderEvent): Promise<ProviderNews | undefined>;
}

export interface ProviderEvent {
  /** The provider's id of the event: the same each time it is sent. */
  ref: string;
  /** Seconds of the epoch, by the provider's clock. */
  second: number;
  type: string;
  objectRef: string;
  /** The customer an object belonged to before this event took it away. */
  formerCustomerRef?: string | undefined;
}

/** The state of one object at the provider, and whose it is: by our own id where the object bears it, else by its customer. */
export type ProviderNews = { accountId?: string | undefined; customerRef?: string | undefined } & (
  | { about: 'charge'; paymentId: string; outcome: ChargeOutcome }
  | { about: 'refund'; refundId: string; outcome: RefundOutcome }
  | { about: 'attachment'; key: string; outcome: AttachOutcome }
  | { about: 'method'; methodRef: string; card: CardDetails | undefined }
  | { about: 'dispute'; paymentId: string; dispute: DisputeState }
);

export interface DisputeState {
  disputeRef: string;
  amount: Money;
  /** The provider's word for why: `fraudulent`, `product_not_received` … */
  reason: string;
  status: 'OPEN' | 'WON' | 'LOST';
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
  | { status: 'requires_action'; setupRef: string; clientSecret: string }
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

/** The provider has it and is still working on it: only this one is unknown, and the next may be asked for. */
export class ProviderStillWorking extends ProviderUnavailable {}

/** What claims to come from the provider does not prove it. */
export class UntrustedEvent extends Error {
  override readonly name = 'UntrustedEvent';
}

/** The provider refuses the call as wrong (unknown reference, reused key): the caller's defect. It moved no money. */
export class ProviderMisuse extends Error {
  override readonly name = 'ProviderMisuse';
}
