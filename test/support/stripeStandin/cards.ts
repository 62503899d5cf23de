/** A test card, by what it does when it is set up and when it is charged (docs.stripe.com/testing). */
export interface StandinCard {
  brand: string;
  last4: string;
  /** Refused when it is attached: code and decline code. */
  attach?: readonly [string, string?];
  /** Declined when it is charged. */
  charge?: readonly [string, string?];
  /** Asks its holder: on each charge, or until a set-up has. Both ask at the set-up. */
  holder?: 'always' | 'unless_set_up';
}

const declines = (last4: string, ...reason: [string, string?]): StandinCard => ({
  brand: 'visa',
  last4,
  attach: reason,
  charge: reason,
});
const failsLater = (...reason: [string, string?]): StandinCard => ({ brand: 'visa', last4: '0341', charge: reason });

const cards: Readonly<Record<string, StandinCard>> = {
  visa: { brand: 'visa', last4: '4242' },
  mastercard: { brand: 'mastercard', last4: '4444' },
  amex: { brand: 'amex', last4: '8431' },
  chargeDeclined: declines('0002', 'card_declined', 'generic_decline'),
  chargeDeclinedInsufficientFunds: declines('9995', 'card_declined', 'insufficient_funds'),
  chargeDeclinedExpiredCard: declines('0069', 'expired_card'),
  chargeCustomerFail: failsLater('card_declined', 'generic_decline'),
  chargeCustomerFailLostCard: failsLater('card_declined', 'lost_card'),
  chargeCustomerFailStolenCard: failsLater('card_declined', 'stolen_card'),
  authenticationRequired: { brand: 'visa', last4: '3184', holder: 'always' },
  authenticationRequiredOnSetup: { brand: 'visa', last4: '3155', holder: 'unless_set_up' },
};

/** The card behind `tok_…` or `pm_card_…`; `undefined` when there is none. */
export const cardOfToken = (token: string): StandinCard | undefined => {
  const name = /^(?:tok|pm_card)_(?:visa_(?=charge))?(\w+)$/.exec(token)?.[1];
  return name === undefined ? undefined : cards[name];
};

export const declineText = ([code, declineCode]: readonly [string, string?]): string => {
  if (declineCode === 'insufficient_funds') return 'Your card has insufficient funds.';
  return code === 'expired_card' ? 'Your card has expired.' : 'Your card was declined.';
};

/** Smallest charges, by currency, for a seller paid out in USD. */
export const minimums: Readonly<Record<string, number>> = { usd: 50, eur: 50, gbp: 30, jpy: 50, kwd: 150, isk: 10_000 };
