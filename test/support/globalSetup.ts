import { startTemplateCluster } from './cluster.js';

/** One throw-away PostgreSQL for the run with a migrated template database, which every test file copies. */
export default async function setup(): Promise<void> {
  const { pg, dataDir } = await startTemplateCluster('billing-test-pg');
  // Inherited by the workers. Not the template's own: nobody can copy a database that somebody is connected to.
  process.env.TEST_PG_URL = pg.url.replace(/[^/]+$/, 'postgres');
  (globalThis as { testCluster?: unknown }).testCluster = { pg, dataDir };
}
