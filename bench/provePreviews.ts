// npm run prove:previews -- --cases 1000 --seed 1: whatever a preview shows, the change comes to.
import { provePreview } from '../test/support/previewed.js';
import { act, advanceLife, beginLife, nowOf, randomSpanMs } from '../test/support/randomLife.js';
import { option } from './options.js';
import { conclude, each, inThrowAwayWorld } from './throwAwayWorld.js';

const [cases, seed] = [option('cases', 1_000), option('seed', 1)];
/** Previews in one life: enough to get into states that take a while. */
const casesOfLife = 10;

const startedAt = performance.now();
const counts: Record<string, number> = {};
const broken: string[] = [];
let proved = 0;
await inThrowAwayWorld((world) =>
  each({ total: Math.ceil(cases / casesOfLife), what: 'lives' }, async (i) => {
    const life = await beginLife(world, seed * 1_000_000 + i);
    try {
      for (let n = 0; n < casesOfLife && proved < cases; n++) {
        for (let acts = life.random.int(0, 4); acts > 0; acts--) await act(life);
        await advanceLife(life, new Date(Math.floor((await nowOf(life)).getTime() + randomSpanMs(life.random))));
        proved++;
        const { operation, outcome } = await provePreview(life);
        counts[`${operation} ${outcome}`] = (counts[`${operation} ${outcome}`] ?? 0) + 1;
      }
    } catch (error) {
      broken.push(`life ${life.seed}\n  ${life.story.slice(-12).join('\n  ')}\n  ${(error as Error).stack}`);
    }
  }),
);
conclude(
  { cases: proved, seed, outcomes: counts, seconds: Math.round((performance.now() - startedAt) / 1000) },
  broken,
);
