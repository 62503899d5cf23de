/** The plans of the integration guide. */
export const demoCatalogYaml = `# Plans of the demo. Publish with: billing plan publish FILE
metrics:
  - code: users
    name: Users
    aggregation: latest
  - code: storage
    name: Storage
    unit: gb
    aggregation: latest
  - code: voice_minutes
    name: Voice minutes
    aggregation: sum

plans:
  - code: plan_starter
    name: Starter
    price: 49.00
    currency: USD
    interval: month
    features:
      users: 5
      storage_gb: 10
      voice_minutes: { limit: 500, overage: charge, unit_price: 0.03 }
  - code: plan_professional
    name: Professional
    price: 149.00
    currency: USD
    interval: month
    features:
      users: 50
      storage_gb: 100
      voice_minutes: { limit: 5000, overage: charge, unit_price: 0.02 }
  - code: plan_enterprise
    name: Enterprise
    price: 499.00
    currency: USD
    interval: month
    features:
      users: 500
      storage_gb: 1000
      voice_minutes: { limit: 50000, overage: charge, unit_price: 0.01 }
`;
