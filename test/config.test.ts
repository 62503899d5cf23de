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

test('the owner of the tables may be another login of the same database, never the only one', () => {
  const [DATABASE_URL, MIGRATION_DATABASE_URL] = ['postgresql://app:p@db/billing', 'postgresql://owner:p@db/billing'];
  expect(readConfig({ DATABASE_URL })).toMatchObject({ migrationDatabaseUrl: undefined });
  expect(readConfig({ DATABASE_URL, MIGRATION_DATABASE_URL })).toMatchObject({
    databaseUrl: DATABASE_URL,
    migrationDatabaseUrl: MIGRATION_DATABASE_URL,
  });
  expect(() => readConfig({ MIGRATION_DATABASE_URL })).toThrow(/not the database to run on.*\n {2}DATABASE_URL=/);
});

test('a process does everything unless it is given roles', () => {
  const DATABASE_URL = 'postgresql://u:p@db/billing';
  expect(readConfig({}).roles).toEqual({ api: true, worker: true });
  expect(readConfig({ ROLES: ' worker, api' }).roles).toEqual({ api: true, worker: true });
  expect(readConfig({ ROLES: 'api', DATABASE_URL }).roles).toEqual({ api: true, worker: false });
  expect(readConfig({ ROLES: 'worker', DATABASE_URL }).roles).toEqual({ api: false, worker: true });
  expect(() => readConfig({ ROLES: 'web', DATABASE_URL })).toThrow("ROLES has 'web', expected api, worker or both");
  expect(() => readConfig({ ROLES: 'api,', DATABASE_URL })).toThrow("ROLES has ''");
});

test('one of several processes is told to take a database that the others reach', () => {
  for (const ROLES of ['api', 'worker'])
    expect(() => readConfig({ ROLES })).toThrow(/which need a PostgreSQL that all of them reach.*\n {2}DATABASE_URL=/);
});

test('Redis is named by a URL of its own kind, and a wrong one is not repeated', () => {
  expect(readConfig({}).redisUrl).toBeUndefined();
  expect(readConfig({ REDIS_URL: 'rediss://:p@redis:6380' }).redisUrl).toBe('rediss://:p@redis:6380');
  expect(() => readConfig({ REDIS_URL: 'http://:hush@redis' })).toThrow(/^(?!.*hush).*REDIS_URL/s);
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

describe('Stripe', () => {
  const STRIPE_SECRET_KEY = 'sk_test_1';

  test('is chosen by its key, also in production, and gets no demo data unless asked', () => {
    const stripe = { secretKey: STRIPE_SECRET_KEY, webhookSecret: undefined, apiBase: undefined };
    expect(readConfig({ STRIPE_SECRET_KEY })).toMatchObject({ paymentProvider: 'stripe', stripe, demo: false });
    const production = { NODE_ENV: 'production', DATABASE_URL: 'postgresql://u:p@db/billing', STRIPE_SECRET_KEY };
    expect(readConfig({ ...production, PAYMENT_PROVIDER: 'stripe' })).toMatchObject({ paymentProvider: 'stripe' });
    expect(readConfig({ STRIPE_SECRET_KEY, DEMO: '1' })).toMatchObject({ demo: true });
  });

  test.each<[Record<string, string>, RegExp]>([
    [{ PAYMENT_PROVIDER: 'stripe' }, /STRIPE_SECRET_KEY=sk_test_/],
    [{ STRIPE_WEBHOOK_SECRET: 'whsec_1' }, /STRIPE_SECRET_KEY=sk_test_/],
    [{ PAYMENT_PROVIDER: 'sandbox', STRIPE_SECRET_KEY }, /contradict each other/],
    [{ STRIPE_SECRET_KEY: 'pk_test_abcdef' }, /expected sk_test_…/],
    [{ STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET: 'we_abcdef' }, /expected whsec_…/],
    [{ STRIPE_SECRET_KEY, STRIPE_API_BASE: 'http://stripe.example.com' }, /expected https:/],
    [{ STRIPE_SECRET_KEY, STRIPE_API_BASE: 'nonsense' }, /expected https:/],
  ])('%j is refused with what to do, and no secret is repeated', (env, message) => {
    expect(() => readConfig(env)).toThrow(ConfigError);
    expect(() => readConfig(env)).toThrow(message);
    expect(() => readConfig(env)).not.toThrow(/abcdef/);
  });

  test.each([
    'https://stripe.example.com',
    'http://127.0.0.1:12111',
    'http://localhost:12111',
  ])('may be asked at %s', (base) => {
    expect(readConfig({ STRIPE_SECRET_KEY, STRIPE_API_BASE: base }).stripe?.apiBase).toBe(base);
  });
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

test('deliveries are kept for 30 days and events for ever, unless told otherwise', () => {
  expect(readConfig({}).retention).toEqual({ deliveryDays: 30, eventDays: undefined });
  const some = readConfig({ WEBHOOK_RETENTION_DAYS: '7', EVENT_RETENTION_DAYS: '400' });
  expect(some.retention).toEqual({ deliveryDays: 7, eventDays: 400 });
  expect(() => readConfig({ EVENT_RETENTION_DAYS: '29' })).toThrow(
    /EVENT_RETENTION_DAYS is 29, expected at least the 30/,
  );
  expect(() => readConfig({ WEBHOOK_RETENTION_DAYS: '0' })).toThrow(/WEBHOOK_RETENTION_DAYS/);
});
