import { demoCatalogYaml } from './demoCatalog.js';

/** One of each charge model, anchors, a minimum spend and coupons: a catalog of its own. */
export const chargesCatalogYaml = `metrics:
  - { code: calls, name: API calls, aggregation: count }
  - { code: messages, name: Messages, aggregation: sum }
  - { code: transfer, name: Transfer, unit: gb, aggregation: sum }
  - { code: payouts, name: Payouts, aggregation: sum }
  - { code: active_users, name: Active users, aggregation: unique, property: user_id }
  - { code: servers, name: Servers, unit: hours, aggregation: weighted_sum }

plans:
  - code: pay_as_you_go
    name: Pay as you go
    price: 0.00
    currency: USD
    interval: month
    anchor: calendar
    minimum_spend: 20.00
    features:
      # Without a limit everything is charged, from the first unit. With one, what is over it.
      calls: { limit: 1000, charge: { model: unit, unit_price: 0.002, free_units: 100 } }
      # Each tier prices the units that fall in it.
      messages:
        charge:
          model: graduated
          tiers: [{ up_to: 5, unit_price: 10.00, flat_fee: 100.00 }, { unit_price: 5.00, flat_fee: 50.00 }]
      # The tier that is reached prices all units.
      servers_hours:
        charge:
          model: volume
          tiers: [{ up_to: 10, unit_price: 5.00, flat_fee: 100.00 }, { unit_price: 2.00, flat_fee: 50.00 }]
      # For each started package.
      transfer_gb: { charge: { model: package, size: 10, price: 100.00, free_units: 5 } }
      # Percent of an amount, and a fee for each event that isn't free.
      payouts: { charge: { model: percentage, percent: 2.9, fixed_fee: 0.30, free_events: 5, minimum: 10.00 } }
      # Once, when there was any use at all.
      active_users: { charge: { model: flat, amount: 10.00 } }

coupons:
  - code: WELCOME25
    name: A quarter off for three periods
    percent_off: 25
    duration: repeating
    periods: 3
    plans: [pay_as_you_go]
    redeem_by: 2027-01-01
  - { code: TEN_OFF, name: Ten off, amount_off: 10.00, currency: USD, duration: once }
`;

const asComments = (yaml: string): string => yaml.replace(/^(?=.)/gm, '# ').replace(/^$/gm, '#');

/** What \`billing plan example\` prints: the demo's catalog, and as comments what else a catalog can say. */
export const exampleCatalogYaml = `${demoCatalogYaml}
# What else a catalog can say. The lines below, without their #, are a file of their own.
#
${asComments(chargesCatalogYaml.trimEnd())}
`;
