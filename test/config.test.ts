import { ConfigError, readConfig } from '../src/config.js';

test('without any variable: embedded database, sandbox payments, demo data, everything on the loopback address', () => {
  expect(readConfig({})).toMatchObject({
    production: false,
    host: '127.0.0.1',
    port: 4000,
    databaseUrl: undefined,
    dataDir: '.data',
    demo: true,
    paymentProvider: 'sandbox',
    testClocks: true,
    webhookAllowInsecure: true,
    introspection: true,
    graphiql: true,
  });
});

test('an own database gets no demo data and no insecure webhooks unless asked', () => {
  const DATABASE_URL = 'postgresql://u:p@db:5432/billing';
  expect(readConfig({ DATABASE_URL })).toMatchObject({
    databaseUrl: DATABASE_URL,
    demo: false,
    webhookAllowInsecure: false,
  });
  expect(readConfig({ DATABASE_URL, DEMO: '1' })).toMatchObject({ demo: true, webhookAllowInsecure: true });
});

describe('production', () => {
  const production = { NODE_ENV: 'production', DATABASE_URL: 'postgresql://u:p@db/billing' };

  test('names its database, and is told the line to add', () => {
    expect(() => readConfig({ NODE_ENV: 'production' })).toThrow(/DATABASE_URL=postgresql:\/\//);
  });

  test('never falls back to test payments in silence', () => {
    expect(() => readConfig(production)).toThrow(/PAYMENT_PROVIDER=sandbox/);
    expect(readConfig({ ...production, PAYMENT_PROVIDER: 'sandbox' })).toMatchObject({
      production: true,
      paymentProvider: 'sandbox',
    });
  });

  test('hides introspection and GraphiQL, refuses insecure webhook targets even with demo data', () => {
    expect(readConfig({ ...production, PAYMENT_PROVIDER: 'sandbox', DEMO: '1' })).toMatchObject({
      introspection: false,
      graphiql: false,
      webhookAllowInsecure: false,
    });
  });
});

test('a Stripe key is not ignored in favour of test payments', () => {
  expect(() => readConfig({ STRIPE_SECRET_KEY: 'sk_test_1' })).toThrow(ConfigError);
});

test.each([
  ['PORT', 'eighty'],
  ['PORT', '70000'],
  ['DATABASE_URL', 'mysql://db/billing'],
  ['DATABASE_POOL_SIZE', '0'],
  ['DEMO', 'maybe'],
  ['LOG_LEVEL', 'loud'],
  ['PUBLIC_URL', 'ftp://host'],
  ['PAYMENT_PROVIDER', 'cash'],
  ['NODE_ENV', 'prod'],
])('%s=%s is refused and named', (name, value) => {
  expect(() => readConfig({ [name]: value })).toThrow(new RegExp(name));
});

test('a trailing slash of PUBLIC_URL is dropped', () => {
  expect(readConfig({ PUBLIC_URL: 'https://billing.example.com/' }).publicUrl).toBe('https://billing.example.com');
});

test('the seller address is a list of lines', () => {
  expect(readConfig({ SELLER_NAME: 'Semaswift GmbH', SELLER_ADDRESS: 'Hauptstr. 1; 10115 Berlin' }).seller).toEqual({
    name: 'Semaswift GmbH',
    lines: ['Hauptstr. 1', '10115 Berlin'],
  });
});
