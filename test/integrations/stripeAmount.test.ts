import { money } from '../../src/domain/money.js';
import { amountOfStripe, stripeAmount } from '../../src/integrations/payments/stripeAmount.js';

test.each([
  ['USD', 1000n, 1000],
  ['JPY', 500n, 500],
  ['KWD', 5120n, 5120],
  ['HUF', 1045n, 1045], // whole forints are a rule of payouts only
  ['TWD', 80_045n, 80_045],
  ['ISK', 5n, 500], // no decimals by ISO 4217, two at Stripe
  ['UGX', 5n, 500],
  ['MGA', 500n, 5], // the other way round
])('%s %s is %s at Stripe, and back', (currency, minorUnits, amount) => {
  expect(stripeAmount(money(minorUnits, currency))).toEqual({ amount });
  expect(amountOfStripe(amount, currency.toLowerCase())).toEqual({ minorUnits, currency });
});

test.each([
  ['KWD', 5124n, /5\.124 KWD .*expected 0 as the last/],
  ['TND', 1n, /expected 0 as the last/],
  ['MGA', 550n, /5\.50 MGA .*expected a whole amount/],
  ['IQD', 1000n, /IQD cannot be charged by card/],
  ['UYI', 1n, /UYI cannot be charged by card/],
  ['USD', 10n ** 17n, /too much for a card/],
])('%s %s is refused and never rounded: the card pays what the ledger says', (currency, minorUnits, why) => {
  expect(stripeAmount(money(minorUnits, currency))).toEqual({ refused: expect.stringMatching(why) });
});
