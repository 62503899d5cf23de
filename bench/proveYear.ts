// npm run prove:year -- --accounts 1000 --seed 1: a year of random lives (--quiet 1: with months between what they do), and all that must hold of each at its end; and
// that a year in one step, a second time, and in 365 steps is the same (--same 30 lives).

import { sql } from '../src/platform/sql.js';
import { dayMs } from '../test/support/billing.js';
import { violationsOf } from '../test/support/lifeChecks.js';
import { beginLife, liveUntil, nowOf } from '../test/support/randomLife.js';
import { proveSameLife } from '../test/support/sameLife.js';
import type { World } from '../test/support/world.js';
import { option } from './options.js';
import { conclude, each, inThrowAwayWorld } from './throwAwayWorld.js';

const [accounts, same, seed] = [option('accounts', 1_000), option('same', 30), option('seed', 1)];
const quiet = option('quiet', 0) > 0;
const startedAt = performance.now();
const broken: string[] = [];
/** At once on stderr too: a run takes long. */
const report = (...found: string[]): void => {
  broken.push(...found);
  for (const one of found) process.stderr.write(`${one}\n`);
};
let acts = 0;
let facts = 0;

const counts = await inThrowAwayWorld(async (world) => {
  await each({ total: accounts, what: 'years' }, async (i) => {
    const life = await beginLife(world, seed * 1_000_000 + i);
    const told = (what: string): string => `${what}\n  ${life.story.slice(-15).join('\n  ')}`;
    try {
      await liveUntil(life, new Date((await nowOf(life)).getTime() + 365 * dayMs), { quiet });
    } catch (error) {
      report(told(`life ${life.seed} broke off: ${(error as Error).stack}`));
    }
    report(...(await violationsOf(life)).map(told));
    acts += life.story.length;
  });
  await each({ total: same, what: 'lives lived three times' }, async (i) => {
    await proveSameLife(world, seed * 1_000_000 + 500_000 + i).then(
      (proved) => {
        facts += proved.facts;
      },
      (error: Error) => report(error.message),
    );
  });
  return countsOf(world);
});
const seconds = Math.round((performance.now() - startedAt) / 1000);
conclude(
  { accounts, seed, steps: acts, ...counts, 'lives lived three times': same, 'facts compared': facts, seconds },
  broken,
);

async function countsOf(world: World): Promise<object> {
  const [counted] = await world.rows(
    sql<Record<string, number>>`
      select (select count(*)::int from subscription) as subscriptions, (select count(*)::int from invoice) as invoices,
        (select count(*)::int from credit_note) as credit_notes, (select count(*)::int from payment) as payments,
        (select count(*)::int from ledger_posting) as postings, (select count(*)::int from usage_event) as usage_events,
        (select count(*)::int from event) as events`,
  );
  return counted!;
}
