import fs from 'node:fs';
import path from 'node:path';
import { simulate } from '../src/simulate.js';
import { parseScenario } from '../src/simulateScenario.js';
import { startWorld, type World } from './support/world.js';

const folder = path.resolve('test', 'scenarios');
const files = fs.readdirSync(folder).filter((name) => name.endsWith('.yaml'));
/** Scenarios at a time: each has an account and a catalog of its own, and mostly waits for the database. */
const lanes = 4;
/** A scenario may have to wait for those of its lane, on a machine that has more to do. */
const patienceMs = 120_000;

let world: World;
const outcomes = new Map<string, Promise<string | undefined>>();
beforeAll(async () => {
  world = await startWorld({ worker: false });
  for (const [i, name] of files.entries()) {
    const before = outcomes.get(files[i - lanes] ?? '');
    outcomes.set(
      name,
      Promise.resolve(before).then(() => failureOf(name)),
    );
  }
});
afterAll(async () => {
  await Promise.all(outcomes.values());
  await world.stop();
}, patienceMs);

async function failureOf(name: string): Promise<string | undefined> {
  try {
    const yaml = fs.readFileSync(path.join(folder, name), 'utf8');
    return (await simulate(world, parseScenario(yaml))).failure;
  } catch (error) {
    return String(error instanceof Error ? error.stack : error);
  }
}

test.each(files)(
  '%s',
  async (name) => {
    expect(await outcomes.get(name)).toBeUndefined();
  },
  patienceMs,
);
