import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { migrate } from '../../src/app.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { createLogger } from '../../src/platform/log.js';

/** A folder for a throw-away cluster of this process. */
export const tmpDataDir = (name: string): string => path.join(os.tmpdir(), `${name}-${process.pid}`);

/** A throw-away PostgreSQL with a migrated database to copy (`template_billing`). */
export async function startTemplateCluster(name: string): Promise<{ pg: EmbeddedPostgres; dataDir: string }> {
  const dataDir = tmpDataDir(name);
  removeCluster(dataDir);
  const pg = await startAgain(dataDir);
  await migrate({ databaseUrl: pg.url, log: createLogger('warn') });
  return { pg, dataDir };
}

/** The same that was stopped, on its port. */
export const startAgain = (dataDir: string, port?: number): Promise<EmbeddedPostgres> =>
  startEmbeddedPostgres({ dataDir, durable: false, database: 'template_billing', ...(port ? { port } : {}) });

export function removeCluster(dataDir: string): void {
  for (const entry of [dataDir, `${dataDir}.log`, `${dataDir}.password`])
    fs.rmSync(entry, { recursive: true, force: true });
}
