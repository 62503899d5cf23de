// npm run prove:spends -- --rounds 200 --seed 1: a hundred at once spend one balance.
import { proveSpends } from '../test/support/spends.js';
import { option } from './options.js';
import { conclude, inThrowAwayWorld } from './throwAwayWorld.js';

const [rounds, seed] = [option('rounds', 200), option('seed', 1)];
const startedAt = performance.now();
const { broken, spentMinor, ...counts } = await inThrowAwayWorld((world) => proveSpends(world, { rounds, seed }));
conclude(
  {
    rounds,
    seed,
    ...counts,
    spentMinor: spentMinor.toString(),
    seconds: Math.round((performance.now() - startedAt) / 1000),
  },
  broken,
);
