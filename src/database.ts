import path from 'node:path';
import type { Config } from './config.js';
import { startEmbeddedPostgres } from './platform/embeddedPostgres.js';

export interface Database {
  readonly url: string;
  /** The same as the role that owns the tables: it migrates, and may do what the running product may not. */
  readonly ownerUrl: string;
  /** True for the embedded one. */
  readonly embedded: boolean;
  stop(): Promise<void>;
}

/**
 * The PostgreSQL of `DATABASE_URL`, or the embedded one in the data folder, started or joined. `command` is for a process
 * that ends by itself soon: a server that starts meanwhile won't rely on its PostgreSQL.
 */
export async function openDatabase(
  config: Pick<Config, 'databaseUrl' | 'migrationDatabaseUrl' | 'dataDir'>,
  role: 'server' | 'command' = 'server',
): Promise<Database> {
  const { databaseUrl, migrationDatabaseUrl = databaseUrl } = config;
  if (databaseUrl !== undefined && migrationDatabaseUrl !== undefined)
    return { url: databaseUrl, ownerUrl: migrationDatabaseUrl, embedded: false, stop: async () => {} };
  const { url, stop } = await startEmbeddedPostgres({ dataDir: path.join(config.dataDir, 'pg'), role });
  return { url, ownerUrl: url, embedded: true, stop };
}
