import { dayMs } from './support/billing.js';
import { violationsOf } from './support/lifeChecks.js';
import { provePreview } from './support/previewed.js';
import { randomCatalogYaml } from './support/randomCatalog.js';
import { act, advanceLife, beginLife, liveUntil, nowOf, randomSpanMs } from './support/randomLife.js';
import { proveSameLife } from './support/sameLife.js';
import { startWorld, type World } from './support/world.js';

// Short cuts of `npm run prove:previews` and `npm run prove:year`; a seed that failed there can be put here.

let world: World;
beforeAll(async () => {
  world = await startWorld({ catalog: randomCatalogYaml, worker: false });
});
afterAll(() => world.stop());

const atOnce = (seeds: number[], work: (seed: number) => Promise<void>) => Promise.all(seeds.map(work));

test('what a preview shows is what its change comes to, or the change is refused: 20 random cases', async () => {
  const outcomes: string[] = [];
  await atOnce([1, 2], async (seed) => {
    const life = await beginLife(world, seed);
    for (let n = 0; n < 10; n++) {
      await act(life);
      await advanceLife(life, new Date(Math.floor((await nowOf(life)).getTime() + randomSpanMs(life.random))));
      outcomes.push((await provePreview(life)).outcome);
    }
    expect(await violationsOf(life)).toEqual([]);
  });
  expect(outcomes.filter((outcome) => outcome === 'equal').length).toBeGreaterThan(5);
}, 120_000);

test('after a year of random lives every period is invoiced once, and money, numbers and counters are sound', async () => {
  await atOnce([11, 12], async (seed) => {
    const life = await beginLife(world, seed);
    await liveUntil(life, new Date((await nowOf(life)).getTime() + 365 * dayMs), { quiet: true });
    expect(await violationsOf(life)).toEqual([]);
  });
}, 120_000);

test('a year in one step is the same a second time, and in 365 steps of a day', async () => {
  await atOnce([31], async (seed) => {
    const { life, facts } = await proveSameLife(world, seed);
    expect(facts).toBeGreaterThan(10);
    expect(await violationsOf(life)).toEqual([]);
  });
}, 120_000);
