import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../random.js';
import { connect, listen } from '../sockets.js';
import { accountViolations, settledAfterMs } from './books.js';
import type { FaultWorld } from './faultWorld.js';
import type { Run } from './killPoints.js';
import { type Answered, askTimed, topUpWith, untilTold } from './operations.js';
import { startCrowd } from './randomKills.js';

/** What the fault table allows; on a machine that does other things as well, a tenth more. */
const slack = 1.1;

const topUpQuery = 'mutation($input: TopUpInput!) { topUp(input: $input) { payment { status } userErrors { code } } }';
const topUpInput = (key: string) => ({ input: { idempotencyKey: key, amount: { amount: '5.00', currency: 'USD' } } });

/** PostgreSQL ends at once, stays away, and comes back: 503 meanwhile, in less than 5 s each, and work again within 10 s. */
export async function stopDatabase(world: FaultWorld, random: Random): Promise<Run> {
  const crowd = await startCrowd(world, { clients: 10, random, newAccounts: 0 });
  const probe = await world.account();
  await untilTold(world.url, topUpWith(probe, 'before', 'GraphQL'));
  const violations: string[] = [];
  await world.cluster.stopHard();
  const awayUntil = performance.now() + random.int(1_000, 4_000);
  let slowestMs = 0;
  for (let i = 0; performance.now() < awayUntil; i++) {
    const answer = await askTimed(world.url, probe.token, topUpQuery, topUpInput(`away ${i}`));
    slowestMs = Math.max(slowestMs, answer.ms);
    if (answer.code !== 'UNAVAILABLE') violations.push(`without a database the answer was ${answer.text}`);
  }
  if (slowestMs > 5_000 * slack) violations.push(`without a database an answer took ${Math.round(slowestMs)} ms`);
  await world.cluster.startAgain();
  const backAt = performance.now();
  for (let i = 0; ; i++) {
    const answer = await askTimed(world.url, probe.token, topUpQuery, topUpInput(`back ${i}`));
    if (answer.code === 'SUCCEEDED') break;
    if (performance.now() - backAt > 60_000)
      return { worstMs: Number.POSITIVE_INFINITY, violations: [...violations, `not back: ${answer.text}`] };
    await sleep(50);
  }
  const worstMs = performance.now() - backAt;
  violations.push(...(await crowd.disperse()));
  await settledAfterMs(world, [probe.id]);
  return { worstMs, violations: [...violations, ...(await accountViolations(world, probe.id))] };
}

/** 200 callers at once for a few connections, each statement slow: an answer or 503 for each, and nobody waits much longer than 5 s. */
export async function exhaustPool(world: FaultWorld): Promise<Run> {
  const accounts = await Promise.all(Array.from({ length: 40 }, () => world.account()));
  world.proxy.rule = () => ({ kind: 'hold_before', until: sleep(30) });
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      askTimed(world.url, accounts[i % 40]!.token, topUpQuery, topUpInput(`pool ${i}`)),
    ),
  );
  world.proxy.rule = undefined;
  const worstMs = Math.max(...answers.map(({ ms }) => ms));
  const violations = [
    ...new Set(answers.filter(({ code }) => !isHonest.has(code)).map(({ text }) => `the answer was ${text}`)),
  ];
  const slowestOf = (code: string): string => {
    const of = answers.filter((answer) => answer.code === code).map(({ ms }) => ms);
    return `${of.length} × ${code}, the slowest after ${Math.round(Math.max(0, ...of))} ms`;
  };
  if (worstMs > 5_500) violations.push([...isHonest].map(slowestOf).join('; '));
  if (!answers.some(({ code }) => code === 'UNAVAILABLE')) violations.push('the pool was never exhausted');
  const accountIds = accounts.map(({ id }) => id);
  await settledAfterMs(world, accountIds);
  for (const id of accountIds) violations.push(...(await accountViolations(world, id)));
  return { worstMs, violations };
}

const isHonest: ReadonlySet<Answered['code']> = new Set(['SUCCEEDED', 'UNAVAILABLE']);

/** Running requests finish, sockets are closed with 1001, the process ends with 0 within 10 s, and nothing is lost. */
export async function terminate(world: FaultWorld, random: Random): Promise<Run> {
  const crowd = await startCrowd(world, { clients: 20, random });
  const watcher = await world.account();
  const codes: number[] = [];
  const clients = Array.from({ length: 5 }, () =>
    connect({ url: world.url }, watcher.token, {
      on: { closed: (event) => codes.push((event as { code: number }).code) },
    }),
  );
  const watching = clients.map((client) => listen(client, 'subscription { walletUpdated { balance { amount } } }'));
  await Promise.all(watching.map((heard) => heard.first(1)));
  const begun = crowd.answers();
  while (crowd.answers() < begun + 20) await sleep(20);
  // One whose charge takes a second: it is in the middle when the signal comes, and must have its answer all the same.
  const slow = Promise.withResolvers<void>();
  world.standin.fail({
    kind: 'slow',
    ms: 1_000,
    method: 'POST',
    path: /payment_intents$/,
    body: watcher.id,
    seen: slow.resolve,
  });
  const inFlight = askTimed(world.url, watcher.token, topUpQuery, topUpInput('in flight'));
  await Promise.race([slow.promise, inFlight]);
  const startedAt = performance.now();
  const exitCode = await world.server().stop('SIGTERM');
  const worstMs = performance.now() - startedAt;
  const answer = await inFlight;
  const violations = [
    ...(exitCode === 0 ? [] : [`the process ended with ${exitCode}`]),
    ...(answer.code === 'SUCCEEDED' ? [] : [`the request in flight was answered ${answer.text}`]),
    ...(codes.length === 5 && codes.every((code) => code === 1001) ? [] : [`sockets were closed with ${codes}`]),
  ];
  await world.start();
  violations.push(...(await crowd.disperse()));
  await settledAfterMs(world, [watcher.id]);
  return { worstMs, violations: [...violations, ...(await accountViolations(world, watcher.id))] };
}
