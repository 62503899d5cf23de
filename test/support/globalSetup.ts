import fs from 'node:fs';
import { migrate } from '../../src/app.js';
import { startEmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { createLogger } from '../../src/platform/log.js';
import { tmpDataDir } from './cluster.js';

/** One throw-away PostgreSQL for the run with a migrated template database, which every test file copies. */
export default async function setup(): Promise<void> {
  const dataDir = tmpDataDir('billing-test-pg');
  removeCluster(dataDir);
  const pg = await startEmbeddedPostgres({ dataDir, durable: false, database: 'template_billing' });
  await migrate({ databaseUrl: pg.url, log: createLogger('warn') });
  process.env.TEST_PG_URL = pg.url; // inherited by the workers
  (globalThis as { testCluster?: unknown }).testCluster = { pg, dataDir };
}

export function removeCluster(dataDir: string): void {
  for (const path of [dataDir, `${dataDir}.log`, `${dataDir}.password`])
    fs.rmSync(path, { recursive: true, force: true });
}
