import assert from 'node:assert/strict';
import { dayMs } from './billing.js';
import { biographyOf } from './biography.js';
import { act, advanceLife, beginLife, type Life, nowOf } from './randomLife.js';
import type { World } from './world.js';

/** A life with some days full of events, and then a year in which time alone goes on. */
async function liveAYear(world: World, seed: number, goOn: (life: Life, until: Date) => Promise<void>): Promise<Life> {
  const life = await beginLife(world, seed);
  for (let n = life.random.int(5, 15); n > 0; n--) {
    await act(life);
    if (life.random.chance(0.3))
      await advanceLife(life, new Date((await nowOf(life)).getTime() + life.random.int(1, 3 * 86_400) * 1_000));
  }
  await goOn(life, new Date((await nowOf(life)).getTime() + 365 * dayMs));
  return life;
}

const inOneStep = advanceLife;
const dayByDay = async (life: Life, until: Date): Promise<void> => {
  for (let at = (await nowOf(life)).getTime() + dayMs; at <= until.getTime(); at += dayMs)
    await advanceLife(life, new Date(at));
};

/** The same life lived three times, twice in one step of a year and once in 365 of a day, leaves the very same behind. */
export async function proveSameLife(world: World, seed: number): Promise<{ life: Life; facts: number }> {
  const life = await liveAYear(world, seed, inOneStep);
  const first = await biographyOf(world, life.account);
  for (const [name, goOn] of [
    ['a second run', inOneStep],
    ['365 steps of a day', dayByDay],
  ] as const) {
    const { account } = await liveAYear(world, seed, goOn);
    const other = await biographyOf(world, account);
    const at = first.findIndex((fact, i) => fact !== other[i]);
    assert.deepEqual(
      other.slice(at, at + 1),
      first.slice(at, at + 1),
      `life ${seed}, ${name}: fact ${at} of ${first.length}`,
    );
    assert.equal(other.length, first.length, `life ${seed}, ${name}`);
  }
  return { life, facts: first.length };
}
