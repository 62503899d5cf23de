import type { EmbeddedPostgres } from '../../src/platform/embeddedPostgres.js';
import { removeCluster } from './cluster.js';

export default async function teardown(): Promise<void> {
  const { pg, dataDir } = (globalThis as unknown as { testCluster: { pg: EmbeddedPostgres; dataDir: string } })
    .testCluster;
  await pg.stop();
  removeCluster(dataDir);
}
