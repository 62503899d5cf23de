import type { Core } from './app.js';
import { Interrupted, interruptedCode } from './cliTerminal.js';
import type { Config } from './config.js';
import type { Database } from './database.js';

// Modules that load the database layer are imported when a command needs them: `billing --help` shall be quick.

/** Opens database and core for one command and closes them after it, whatever happens. */
export async function withCore<T>(
  work: (core: Core, context: { config: Config; signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  return withDatabase(async ({ config, database, log, signal }) => {
    const { openCore } = await import('./app.js');
    const core = await openCore({ config, databaseUrl: database.url, ownerUrl: database.ownerUrl, log });
    try {
      return await work(core, { config, signal });
    } finally {
      await core.close();
    }
  });
}

interface DatabaseContext {
  config: Config;
  database: Database;
  log: Core['deps']['log'];
  signal: AbortSignal;
}

/**
 * Opens the database for one command: joins the embedded one of a running server, or starts it and stops it again. The
 * embedded one is migrated, because nobody else looks after it; that of DATABASE_URL only by `billing migrate`.
 */
export async function withDatabase<T>(
  work: (context: DatabaseContext) => Promise<T>,
  { migrateAlways = false }: { migrateAlways?: boolean } = {},
): Promise<T> {
  const [{ readConfig }, { openDatabase }, { createLogger }, { migrate }] = await Promise.all([
    import('./config.js'),
    import('./database.js'),
    import('./platform/log.js'),
    import('./app.js'),
  ]);
  const config = readConfig();
  // `info` is the server's default; of a command, stdout belongs to its result.
  const log = createLogger(config.logLevel === 'info' ? 'error' : config.logLevel);
  const database = await openDatabase(config, 'command');
  const { signal, release } = abortOnSignal();
  try {
    const { url: databaseUrl, ownerUrl } = database;
    if (database.embedded || migrateAlways) await migrate({ databaseUrl, ownerUrl, log });
    const result = await work({ config, database, log, signal });
    if (signal.aborted) throw new Interrupted();
    return result;
  } finally {
    await database.stop();
    release();
  }
}

/** The first SIGINT or SIGTERM asks the command to end, so that the database is stopped in order; the second ends it. */
function abortOnSignal(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(interruptedCode);
    controller.abort();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const name of signals) process.on(name, onSignal);
  return {
    signal: controller.signal,
    release: () => {
      for (const name of signals) process.off(name, onSignal);
    },
  };
}

/** The uuid of an account that exists; NOT_FOUND for any other id. */
export async function accountOf({ orm }: Pick<Core['deps']['db'], 'orm'>, id: string): Promise<string> {
  const [{ Account }, { notFound }, { uuidOf }] = await Promise.all([
    import('./account/account.entity.js'),
    import('./domain/errors.js'),
    import('./platform/ids.js'),
  ]);
  const uuid = uuidOf('account', id);
  if (uuid === undefined || !(await orm.em.fork().findOne(Account, { id: uuid }))) throw notFound('account', id);
  return uuid;
}
