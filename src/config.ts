import { z } from 'zod';

const flag = z
  .enum(['', '0', '1', 'true', 'false'])
  .optional()
  .transform((text) => (text === undefined || text === '' ? undefined : text === '1' || text === 'true'));
const text = z
  .string()
  .optional()
  .transform((value) => value?.trim() || undefined);
const days = z.coerce.number().int().min(1).max(36_500);

/** Every environment variable the product reads, in the order of the README's table. */
const environment = z.object({
  ROLES: text,
  NODE_ENV: z.enum(['development', 'production', 'test']).default('development'),
  HOST: text,
  PORT: z.coerce.number().int().min(0).max(65_535).default(4000),
  PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  DATABASE_URL: text.pipe(z.url({ protocol: /^postgres(ql)?$/ }).optional()),
  MIGRATION_DATABASE_URL: text.pipe(z.url({ protocol: /^postgres(ql)?$/ }).optional()),
  REDIS_URL: text.pipe(z.url({ protocol: /^rediss?$/ }).optional()),
  DATABASE_POOL_SIZE: z.coerce.number().int().min(2).max(200).default(20),
  DATA_DIR: z.string().min(1).default('.data'),
  DEMO: flag,
  PAYMENT_PROVIDER: z.enum(['sandbox', 'stripe']).optional(),
  STRIPE_SECRET_KEY: text,
  STRIPE_WEBHOOK_SECRET: text,
  STRIPE_API_BASE: text,
  TEST_CLOCKS: flag,
  WEBHOOK_ALLOW_INSECURE: flag,
  WEBHOOK_RETENTION_DAYS: days.default(30),
  EVENT_RETENTION_DAYS: days.optional(),
  INTROSPECTION: flag,
  GRAPHIQL: flag,
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  SELLER_NAME: z.string().min(1).default('Semaswift'),
  SELLER_ADDRESS: z.string().default(''),
});

/** What one process does; see the README under Several processes. */
export interface Roles {
  /** Opens the doors. */
  readonly api: boolean;
  /** Does what happens by itself: hands events on, delivers webhooks, runs jobs and sweeps, moves test clocks. */
  readonly worker: boolean;
}

export interface Config {
  readonly roles: Roles;
  readonly production: boolean;
  readonly host: string;
  readonly port: number;
  /** Where customers reach this server, without a trailing slash; PDF links start with it. Unset: the listening address. */
  readonly publicUrl: string | undefined;
  /** Undefined: the embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: string | undefined;
  /** The same database as the role that owns the tables. Undefined: that of `databaseUrl` does. */
  readonly migrationDatabaseUrl: string | undefined;
  /** Undefined: processes tell each other by LISTEN and NOTIFY. May hold a password; never logged. */
  readonly redisUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly dataDir: string;
  readonly demo: boolean;
  readonly paymentProvider: 'sandbox' | 'stripe';
  /** Where payments go to Stripe; never logged. */
  readonly stripe: StripeConfig | undefined;
  /** May every account that has no history yet get a test clock? Operators may in any case. */
  readonly testClocks: boolean;
  readonly webhookAllowInsecure: boolean;
  readonly retention: Retention;
  readonly introspection: boolean;
  readonly graphiql: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly seller: { readonly name: string; readonly lines: readonly string[] };
}

/** Days for which what may be thrown away is kept. */
export interface Retention {
  readonly deliveryDays: number;
  /** Undefined: for ever. */
  readonly eventDays: number | undefined;
}

export interface StripeConfig {
  readonly secretKey: string;
  /** Undefined: nothing sent to us can be checked, so nothing is taken; events are then only read from Stripe's list. */
  readonly webhookSecret: string | undefined;
  /** Undefined: Stripe's own host. */
  readonly apiBase: string | undefined;
}

/** What is wrong with the environment, each line with what to set instead. Printed at start-up without a stack. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads and checks the environment. The only reader of `process.env` in the product. */
export function readConfig(env: Record<string, string | undefined> = process.env): Config {
  const parsed = environment.safeParse(env);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new ConfigError(`The environment has values that cannot be used:\n${lines.join('\n')}`);
  }
  const e = parsed.data;
  const production = e.NODE_ENV === 'production';
  const roles = readRoles(e.ROLES);
  if (!(roles.api && roles.worker) && e.DATABASE_URL === undefined) {
    throw new ConfigError(
      `ROLES=${e.ROLES} is for one of several processes, which need a PostgreSQL that all of them reach. Add a line like\n  DATABASE_URL=postgresql://user:password@host:5432/billing\nor leave ROLES away: one process does everything then, on its embedded PostgreSQL`,
    );
  }
  if (production && e.DATABASE_URL === undefined) {
    throw new ConfigError(
      'NODE_ENV=production needs a PostgreSQL of its own. Add a line like\n  DATABASE_URL=postgresql://user:password@host:5432/billing',
    );
  }
  if (e.MIGRATION_DATABASE_URL !== undefined && e.DATABASE_URL === undefined) {
    throw new ConfigError(
      'MIGRATION_DATABASE_URL is set, but not the database to run on. Add a line like\n  DATABASE_URL=postgresql://user:password@host:5432/billing',
    );
  }
  if (e.EVENT_RETENTION_DAYS !== undefined && e.EVENT_RETENTION_DAYS < e.WEBHOOK_RETENTION_DAYS) {
    throw new ConfigError(
      `EVENT_RETENTION_DAYS is ${e.EVENT_RETENTION_DAYS}, expected at least the ${e.WEBHOOK_RETENTION_DAYS} of WEBHOOK_RETENTION_DAYS: a delivery shows its event`,
    );
  }
  const stripe = readStripe(e, production);
  const demo = e.DEMO ?? (e.DATABASE_URL === undefined && stripe === undefined);
  return {
    roles,
    production,
    host: e.HOST ?? '127.0.0.1',
    port: e.PORT,
    publicUrl: e.PUBLIC_URL?.replace(/\/+$/, ''),
    databaseUrl: e.DATABASE_URL,
    migrationDatabaseUrl: e.MIGRATION_DATABASE_URL,
    redisUrl: e.REDIS_URL,
    databasePoolSize: e.DATABASE_POOL_SIZE,
    dataDir: e.DATA_DIR,
    demo,
    paymentProvider: stripe ? 'stripe' : 'sandbox',
    stripe,
    testClocks: e.TEST_CLOCKS ?? !production,
    webhookAllowInsecure: e.WEBHOOK_ALLOW_INSECURE ?? (demo && !production),
    retention: { deliveryDays: e.WEBHOOK_RETENTION_DAYS, eventDays: e.EVENT_RETENTION_DAYS },
    introspection: e.INTROSPECTION ?? !production,
    graphiql: e.GRAPHIQL ?? !production,
    logLevel: e.LOG_LEVEL,
    seller: { name: e.SELLER_NAME, lines: e.SELLER_ADDRESS.split(/\s*[;\n]\s*/).filter(Boolean) },
  };
}

/** A list with commas; without one, everything. */
function readRoles(list: string | undefined): Roles {
  const names = list === undefined ? ['api', 'worker'] : list.split(',').map((name) => name.trim());
  const unknown = names.find((name) => name !== 'api' && name !== 'worker');
  if (unknown !== undefined)
    throw new ConfigError(`ROLES has '${unknown}', expected api, worker or both: ROLES=api,worker`);
  return { api: names.includes('api'), worker: names.includes('worker') };
}

/** Undefined: test payments. Money is the one thing that must not fall back in silence: production names its provider. */
function readStripe(e: z.infer<typeof environment>, production: boolean): StripeConfig | undefined {
  const { PAYMENT_PROVIDER: provider, STRIPE_SECRET_KEY: secretKey, STRIPE_WEBHOOK_SECRET: webhookSecret } = e;
  if (provider === 'sandbox' && secretKey !== undefined) {
    throw new ConfigError(
      'PAYMENT_PROVIDER=sandbox and STRIPE_SECRET_KEY contradict each other: remove one of the two',
    );
  }
  if (provider !== 'stripe' && secretKey === undefined) {
    if (webhookSecret !== undefined) {
      throw new ConfigError(`STRIPE_WEBHOOK_SECRET is set, but no key to ask Stripe with. Add a line like\n${keyLine}`);
    }
    if (production && provider === undefined) {
      throw new ConfigError(
        'NODE_ENV=production does not fall back to test payments. To take real ones, add a line like\n' +
          `${keyLine}\nand to run with test payments on purpose\n  PAYMENT_PROVIDER=sandbox`,
      );
    }
    return undefined;
  }
  if (secretKey === undefined) {
    throw new ConfigError(
      `PAYMENT_PROVIDER=stripe needs the secret key of a Stripe account. Add a line like\n${keyLine}`,
    );
  }
  // None of these messages repeats what it found: it may be a secret in the wrong place.
  if (!/^(sk|rk)_(test|live)_\w+$/.test(secretKey)) {
    throw new ConfigError(
      `STRIPE_SECRET_KEY is no secret key of Stripe's: expected sk_test_…, sk_live_… or a restricted rk_…, as under\n  https://dashboard.stripe.com/apikeys`,
    );
  }
  if (webhookSecret !== undefined && !webhookSecret.startsWith('whsec_')) {
    throw new ConfigError(
      'STRIPE_WEBHOOK_SECRET is no signing secret: expected whsec_…, as shown with the endpoint under\n  https://dashboard.stripe.com/webhooks',
    );
  }
  return { secretKey, webhookSecret, apiBase: readApiBase(e.STRIPE_API_BASE) };
}

const keyLine = '  STRIPE_SECRET_KEY=sk_test_…';

const loopback: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]']);

/** The key goes there with each request: unencrypted only where nobody can listen. */
function readApiBase(apiBase: string | undefined): string | undefined {
  if (apiBase === undefined) return undefined;
  const url = URL.canParse(apiBase) ? new URL(apiBase) : undefined;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback.has(url.hostname));
  if (!url || !isSafe || url.pathname !== '/') {
    throw new ConfigError(
      'STRIPE_API_BASE is not usable: expected https://host, or http://127.0.0.1:port for a stand-in, without a path',
    );
  }
  return url.origin;
}
