import fs from 'node:fs';
import path from 'node:path';
import { simulate } from '../src/simulate.js';
import { parseScenario } from '../src/simulateScenario.js';
import { startWorld, type World } from './support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const folder = path.resolve('test', 'scenarios');
const files = fs.readdirSync(folder).filter((name) => name.endsWith('.yaml'));

test.each(files)('%s', async (name) => {
  const { failure } = await simulate(world.deps, parseScenario(fs.readFileSync(path.join(folder, name), 'utf8')));
  expect(failure).toBeUndefined();
});
