/** A metric of each aggregation; among the plans each charge model, interval and anchor, a trial and a minimum spend. */
export const randomCatalogYaml = `
metrics:
  - { code: users, name: Users, aggregation: latest }
  - { code: minutes, name: Minutes, aggregation: sum }
  - { code: requests, name: Requests, aggregation: count }
  - { code: peak, name: Peak, aggregation: max }
  - { code: devices, name: Devices, aggregation: unique, property: device }
  - { code: seats, name: Seats, aggregation: weighted_sum }
plans:
  - code: small
    name: Small
    price: 19.99
    currency: USD
    interval: month
    features:
      users: { limit: 5, overage: allow }
      minutes: { limit: 100, overage: charge, unit_price: 0.0333 }
      requests: { limit: 10, charge: { model: unit, unit_price: 0.017, free_units: 3 } }
      devices: { limit: 2, overage: charge, unit_price: 1.00 }
      seats: { charge: { model: volume, tiers: [{ up_to: 10, unit_price: 0.50, flat_fee: 1.00 }, { unit_price: 0.20 }] } }
      peak: 50
  - code: large
    name: Large
    price: 73.10
    currency: USD
    interval: month
    features:
      users: 50
      minutes: { charge: { model: graduated, tiers: [{ up_to: 50, unit_price: 0.07, flat_fee: 2.00 }, { unit_price: 0.031 }] } }
      requests: { charge: { model: package, size: 7, price: 3.00, free_units: 5 } }
      peak: { limit: 20, charge: { model: unit, unit_price: 0.45, minimum: 5.00 } }
      devices: { charge: { model: flat, amount: 4.00 } }
      seats: { limit: 3, overage: charge, unit_price: 2.50 }
  - code: calendar
    name: Calendar
    price: 31.00
    currency: USD
    interval: month
    anchor: calendar
    minimum_spend: 12.00
    features:
      minutes: { charge: { model: percentage, percent: 2.9, fixed_fee: 0.30, free_events: 2 } }
      requests: { limit: 100, overage: charge, unit_price: 0.01 }
      seats: 4
  - { code: weekly, name: Weekly, price: 7.77, currency: USD, interval: week, features: { minutes: { limit: 20, overage: charge, unit_price: 0.11 }, users: 3 } }
  - { code: daily, name: Daily, price: 1.01, currency: USD, interval: day, interval_count: 10, features: { requests: { limit: 5, overage: charge, unit_price: 0.05 } } }
  - { code: quarterly, name: Quarterly, price: 150.00, currency: USD, interval: month, interval_count: 3, minimum_spend: 30.00, features: { minutes: { charge: { model: unit, unit_price: 0.02 } }, devices: 10 } }
  - { code: yearly, name: Yearly, price: 600.00, currency: USD, interval: year, features: { users: 50, seats: 5, minutes: { limit: 1000, overage: charge, unit_price: 0.02 } } }
  - { code: free, name: Free, price: 0.00, currency: USD, interval: month, features: { users: 1, minutes: 10, requests: { limit: 3, overage: charge, unit_price: 0.02 } } }
  - code: tryout
    name: Tryout
    price: 20.00
    currency: USD
    interval: month
    trial_days: 14
    minimum_spend: 3.00
    features: { minutes: { limit: 10, overage: charge, unit_price: 0.10 }, requests: { limit: 10, overage: charge, unit_price: 0.10 } }
coupons:
  - { code: TENTH, name: A tenth off, percent_off: 10, duration: forever }
  - { code: THIRD, name: A third off, percent_off: 33.33, duration: repeating, periods: 3 }
  - { code: FIVE, name: Five off, amount_off: 5.00, currency: USD, duration: once }
  - { code: HALF_SMALL, name: Half of Small, percent_off: 50, duration: repeating, periods: 2, plans: [small] }
  - { code: MINUTES, name: Cheaper minutes, percent_off: 20, duration: forever, metrics: [minutes] }
  - { code: ALL, name: A free period, percent_off: 100, duration: once }
`;

export const randomPlans = [
  'small',
  'large',
  'calendar',
  'weekly',
  'daily',
  'quarterly',
  'yearly',
  'free',
  'tryout',
] as const;
export const randomCoupons = ['TENTH', 'THIRD', 'FIVE', 'HALF_SMALL', 'MINUTES', 'ALL'] as const;
export const randomMetrics = ['users', 'minutes', 'requests', 'peak', 'devices', 'seats'] as const;
