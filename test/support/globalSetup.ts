import { startTemplateCluster } from './cluster.js';

/** One throw-away PostgreSQL for the run with a migrated template database, which every test file copies. */
export default async function setup(): Promise<void> {
  const { pg, dataDir } = await startTemplateCluster('billing-test-pg');
  process.env.TEST_PG_URL = pg.url; // inherited by the workers
  (globalThis as { testCluster?: unknown }).testCluster = { pg, dataDir };
}
