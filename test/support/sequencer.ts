import { createRequire } from 'node:module';

interface Test {
  path: string;
}
const require = createRequire(import.meta.url);
const { default: Sequencer } = require('@jest/test-sequencer') as {
  default: new (options: unknown) => { sort(tests: Test[]): Test[] };
};

/** Short to read and long to run. Where jest remembers no earlier run it goes by size, and would leave them for the end. */
const long = ['scenarios', 'proofs', 'processes', 'fiveMinutes'].map((name) => `/${name}.test.js`);
const rank = ({ path }: Test): number => {
  const found = long.findIndex((name) => path.endsWith(name));
  return found < 0 ? long.length : found;
};

/** The long files first, so that the end of the run has work for every worker. */
export default class LongestFirst extends Sequencer {
  override sort(tests: Test[]): Test[] {
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
}
