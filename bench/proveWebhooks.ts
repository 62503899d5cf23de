// npm run prove:webhooks -- [--events 10000] [--kills 5] [--fail 30] [--rollbacks 1000] [--queued 1000] [--samples 300] [--seed 1]: events
// reach a receiver that refuses some of them, while the worker is killed; and one endpoint that hangs holds up no other.
import { columns } from '../src/cliTerminal.js';
import { removeCluster, startTemplateCluster } from '../test/support/cluster.js';
import { type ProcessWorld, startProcessWorld } from '../test/support/processes/processWorld.js';
import { proveDelivery, proveHanging } from '../test/support/processes/webhookProofs.js';
import { randomFrom } from '../test/support/random.js';
import { option } from './options.js';

const seed = option('seed', 1);
const sizes = {
  events: option('events', 10_000),
  kills: option('kills', 5),
  failPercent: option('fail', 30),
  rolledBack: option('rollbacks', 1_000),
};
const hanging = { queued: option('queued', 1_000), samples: option('samples', 300), everyMs: option('every', 50) };

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130)); // and the servers with us
const { pg, dataDir } = await startTemplateCluster('billing-webhooks-pg');
process.env.TEST_PG_URL = pg.url;
try {
  const random = randomFrom(seed);
  const progress = (text: string): void => void process.stderr.write(`${text}\n`);
  const delivered =
    sizes.events > 0 ? await onWorld((world) => proveDelivery(world, { ...sizes, random, progress })) : undefined;
  const hung = hanging.samples > 0 ? await onWorld((world) => proveHanging(world, { ...hanging, random })) : undefined;
  const rows: string[][] = [];
  if (delivered) {
    const share = ((100 * delivered.duplicates) / delivered.events).toFixed(2);
    rows.push(
      ['events written', String(delivered.events), `${delivered.writtenPerSecond}/s`],
      ['SIGKILLs of the worker', String(delivered.kills), ''],
      [
        'requests received',
        String(delivered.requests),
        `${sizes.failPercent} % refused, ${delivered.unverified} not verified`,
      ],
      ['events delivered', String(delivered.delivered), `${delivered.seconds} s, ${delivered.deliveredPerSecond}/s`],
      ['delivered twice', String(delivered.duplicates), `${share} %, bound 0.5 %`],
      ['transactions rolled back', String(delivered.rolledBack), 'nothing sent'],
    );
  }
  if (hung) {
    rows.push(
      ['queued at the hanging endpoint', String(hung.queued), ''],
      [
        'events to 20 others',
        String(hung.samples),
        `p50 ${hung.p50Ms} ms, p95 ${hung.p95Ms} ms (bound 2000), worst ${hung.worstMs} ms`,
      ],
    );
  }
  console.log(`\n${columns(rows)}\n`);
  const violations = [...(delivered?.violations ?? []), ...(hung?.violations ?? [])];
  for (const violation of violations) console.log(violation);
  console.log(`seed ${seed}, violations: ${violations.length}`);
  process.exitCode = violations.length > 0 ? 1 : 0;
} finally {
  await pg.stop();
  removeCluster(dataDir);
}

async function onWorld<Result>(work: (world: ProcessWorld) => Promise<Result>): Promise<Result> {
  const world = await startProcessWorld();
  try {
    return await work(world);
  } finally {
    await world.stop();
  }
}
