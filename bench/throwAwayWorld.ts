import { expect } from 'expect';
import { removeCluster, startTemplateCluster } from '../test/support/cluster.js';
import { randomCatalogYaml } from '../test/support/randomCatalog.js';
import { startWorld, type World } from '../test/support/world.js';

/** The whole application on a PostgreSQL of its own, which is gone afterwards. */
export async function inThrowAwayWorld<Result>(work: (world: World) => Promise<Result>): Promise<Result> {
  Object.assign(globalThis, { expect }); // what the tests check with, outside of a test
  const { pg, dataDir } = await startTemplateCluster('billing-proof-pg');
  try {
    process.env.TEST_PG_URL = pg.url;
    const world = await startWorld({ catalog: randomCatalogYaml, worker: false });
    try {
      return await work(world);
    } finally {
      await world.stop();
    }
  } finally {
    await pg.stop();
    removeCluster(dataDir);
  }
}

/** Runs `total` pieces of work, so many at a time, and says on stderr how far it is. */
export async function each(
  { total, atOnce = 6, what }: { total: number; atOnce?: number; what: string },
  work: (i: number) => Promise<void>,
): Promise<void> {
  const startedAt = performance.now();
  let [begun, done] = [0, 0];
  const lane = async (): Promise<void> => {
    for (let i = begun++; i < total; i = begun++) {
      await work(i);
      done++;
      if (done % Math.max(1, Math.floor(total / 20)) === 0)
        process.stderr.write(`${done}/${total} ${what}, ${Math.round((performance.now() - startedAt) / 1000)} s\n`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** Prints what was proved, and what is broken; the exit code says which. */
export function conclude(summary: Record<string, unknown>, broken: readonly string[]): void {
  for (const [name, value] of Object.entries(summary))
    console.log(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  console.log(`violations: ${broken.length}`);
  for (const one of broken) console.log(`\n${one}`);
  process.exitCode = broken.length > 0 ? 1 : 0;
}
