/**
 * The sandbox's test cards: Stripe's tokens, last four digits and decline codes (docs.stripe.com/testing), each under
 * both of its names, `tok_…` and `pm_card_…`.
 *
 * One deviation: Stripe refuses to attach `chargeDeclined…` cards to a customer, and only `chargeCustomerFail…` ones
 * attach and then fail. Here all of them attach and decline each charge, so that an integrator can see a first
 * invoice or a top-up fail for every reason.
 */
export interface TestCard {
  /** The token without prefix, suffix and alias: one name per card. */
  name: string;
  brand: string;
  last4: string;
  /** A `challenge` card asks for 3-D Secure on each charge; a `frictionless` one never does. */
  behaviour: 'frictionless' | 'challenge';
  /** Why its charges fail, after the challenge if there is one; `null` on a card that pays. */
  declineCode: string | null;
  /** Why money can't be given back to it; `null` on a card that takes refunds. */
  refundFailureCode: string | null;
}

const byName = (cards: TestCard[]): ReadonlyMap<string, TestCard> => new Map(cards.map((card) => [card.name, card]));

const pays = (name: string, brand: string, last4: string): TestCard => ({
  name,
  brand,
  last4,
  behaviour: 'frictionless',
  declineCode: null,
  refundFailureCode: null,
});
const declines = (name: string, last4: string, declineCode: string): TestCard => ({
  ...pays(name, 'visa', last4),
  declineCode,
});
const challenges = (name: string, last4: string, declineCode: string | null = null): TestCard => ({
  name,
  brand: 'visa',
  last4,
  behaviour: 'challenge',
  declineCode,
  refundFailureCode: null,
});

const brands = byName([
  pays('visa', 'visa', '4242'),
  pays('visa_debit', 'visa', '5556'),
  pays('mastercard', 'mastercard', '4444'),
  pays('mastercard_debit', 'mastercard', '8210'),
  pays('mastercard_prepaid', 'mastercard', '5100'),
  pays('amex', 'amex', '8431'),
  pays('amex_threeDSecureNotSupported', 'amex', '0005'),
  pays('discover', 'discover', '1117'),
  pays('diners', 'diners', '0004'),
  pays('jcb', 'jcb', '0505'),
  pays('unionpay', 'unionpay', '0005'),
]);

const scenarios = byName([
  declines('chargeDeclined', '0002', 'card_declined'),
  declines('chargeDeclinedInsufficientFunds', '9995', 'insufficient_funds'),
  declines('chargeDeclinedLostCard', '9987', 'lost_card'),
  declines('chargeDeclinedStolenCard', '9979', 'stolen_card'),
  declines('chargeDeclinedExpiredCard', '0069', 'expired_card'),
  declines('chargeDeclinedIncorrectCvc', '0127', 'incorrect_cvc'),
  declines('chargeDeclinedProcessingError', '0119', 'processing_error'),
  declines('chargeDeclinedFraudulent', '0019', 'fraudulent'),
  declines('chargeDeclinedVelocityLimitExceeded', '6975', 'card_velocity_exceeded'),
  declines('chargeCustomerFail', '0341', 'card_declined'),
  declines('chargeCustomerFailLostCard', '0341', 'lost_card'),
  declines('chargeCustomerFailStolenCard', '0341', 'stolen_card'),
  challenges('threeDSecure2Required', '3220'),
  challenges('threeDSecureRequired', '3063'),
  challenges('threeDSecureRequiredChargeDeclined', '1629', 'card_declined'),
  challenges('authenticationRequired', '3184'),
  challenges('authenticationRequiredOnSetup', '3155'),
  challenges('authenticationRequiredChargeDeclinedInsufficientFunds', '3178', 'insufficient_funds'),
  // The lookup before the challenge fails, so nobody is ever asked to authenticate.
  declines('threeDSecureRequiredProcessingError', '1280', 'card_declined'),
  // Without a fraud rule that asks for it, an optional challenge doesn't happen.
  pays('threeDSecureOptional', 'visa', '3055'),
  pays('authenticationRequiredSetupForOffSession', 'visa', '0446'),
  // Pays, and each refund to it fails: at Stripe some time later, here at once.
  { ...pays('refundFail', 'visa', '5126'), refundFailureCode: 'expired_or_canceled_card' },
]);

/** A few tokens for error messages, one of each kind. */
export const sampleTokens =
  'tok_visa, tok_mastercard, pm_card_visa, tok_chargeDeclined, tok_chargeDeclinedInsufficientFunds, tok_threeDSecure2Required';

/**
 * The card behind a token; `undefined` when there is none. A brand's token may carry a placeholder (`tok_visa_xxx`), and
 * `pm_card_xxx` is a visa: both stand in published examples. A suffix that speaks of a behaviour is not a placeholder:
 * a misspelt `tok_visa_chargeDeclinedLost` must not become a card that pays.
 */
export function resolveTestCard(token: string): TestCard | undefined {
  const name = /^(?:tok_|pm_card_)(.+)$/.exec(token)?.[1];
  if (name === undefined) return undefined;
  const exact = brands.get(name) ?? scenarios.get(name.replace(/^visa_(debit_)?/, ''));
  if (exact || /charge|refund|3ds|threeDSecure|authentication/i.test(name)) return exact;
  if (token === 'pm_card_xxx') return brands.get('visa');
  const known = [...brands.values()].filter((card) => name.startsWith(`${card.name}_`));
  return known.sort((a, b) => b.name.length - a.name.length)[0];
}

/** Why refunds to a card fail, by the card's name (its token as `resolveTestCard` tells it); `null` when they don't. */
export const refundFailureCode = (name: string): string | null => scenarios.get(name)?.refundFailureCode ?? null;

/** Does the text hold something as long as a card number (ISO/IEC 7812: up to 19 digits), spaced or not? */
export const holdsCardNumber = (text: string): boolean => /\d{12}/.test(text.replace(/[\s.-]/g, ''));

const messages: Readonly<Record<string, string>> = {
  insufficient_funds: 'Your card has insufficient funds.',
  expired_card: 'Your card has expired.',
  incorrect_cvc: "Your card's security code is incorrect.",
  processing_error: 'An error occurred while processing your card. Try again in a little bit.',
  card_velocity_exceeded: 'Your card was declined for too many attempts or for exceeding its amount limit.',
  payment_intent_authentication_failure: 'We are unable to authenticate your payment method.',
  payment_method_detached: 'This payment method was removed and can no longer be charged.',
};

/** What the card holder may read. Lost, stolen and fraudulent cards get the general sentence: it may be the thief who reads. */
export const declineMessage = (declineCode: string): string => messages[declineCode] ?? 'Your card was declined.';
