import type { Random } from '../random.js';
import type { Fault } from '../stripeStandin/standin.js';
import { accountViolations, answerViolations, settledAfterMs } from './books.js';
import type { FaultWorld } from './faultWorld.js';
import { commits, isCommitOf, type KillPoint, type Run } from './killPoints.js';
import { type Operation, operations, untilTold } from './operations.js';
import type { Verdict } from './pgProxy.js';

/** Operations prepared, done at once, repeated until they have an answer, settled, and held against the provider's books. */
async function provedTogether(
  world: FaultWorld,
  prepared: readonly Operation[],
  what: (i: number) => string,
): Promise<Run> {
  const before = prepared.map(({ account }) => world.standin.books.ledger(account.id).charges);
  const startedAt = performance.now();
  const told = await Promise.all(prepared.map((operation) => untilTold(world.url, operation)));
  await settledAfterMs(
    world,
    prepared.map(({ account }) => account.id),
  );
  const worstMs = performance.now() - startedAt;
  const violations: string[] = [];
  for (const [i, { name, account }] of prepared.entries()) {
    const broken = [
      ...answerViolations(world, { name, accountId: account.id, chargesBefore: before[i]!, told: told[i]! }),
      ...(await accountViolations(world, account.id)),
    ];
    violations.push(...broken.map((text) => `${name}, ${what(i)}: ${text}`));
  }
  return { worstMs, violations };
}

/** The connection ends while a COMMIT is under way, before PostgreSQL has seen it or after it has worked. */
export async function cutCommits(world: FaultWorld): Promise<Run> {
  const cuts = Object.entries(commits) as [KillPoint, (typeof commits)[KillPoint] & object][];
  const cases = cuts.flatMap(([point, commit]) => Object.keys(operations).map((name) => ({ point, commit, name })));
  const prepared = await Promise.all(cases.map(({ name }) => operations[name]!(world)));
  const uncut = new Map<string, { pattern: RegExp; verdict: Verdict }>();
  for (const [i, { account }] of prepared.entries()) {
    const { pattern, kind } = cases[i]!.commit;
    const seen = (): void => void uncut.delete(account.id);
    const cut = kind === 'hold_before' ? 'cut_before' : 'cut_after';
    uncut.set(account.id, { pattern, verdict: { kind: cut, seen } });
  }
  world.proxy.rule = (statement) => {
    for (const [accountId, { pattern, verdict }] of uncut)
      if (isCommitOf(statement, pattern, accountId)) return verdict;
    return undefined;
  };
  const run = await provedTogether(world, prepared, (i) => `cut ${cases[i]!.point}`);
  world.proxy.rule = undefined;
  if (uncut.size > 0) run.violations.push(`${uncut.size} COMMITs were not cut`);
  return run;
}

const providerFaults: readonly (readonly [string, Fault])[] = [
  ['timeout after charging', { kind: 'hang_after' }],
  ['timeout before charging', { kind: 'hang_before' }],
  ['500 before', { kind: 'status_before' }],
  ['500 after', { kind: 'status_after' }],
  ['429', { kind: 'rate_limit' }],
  ['truncated body', { kind: 'truncate' }],
  ['reset before', { kind: 'drop_before', times: 2 }], // the SDK sends once more
  ['reset after', { kind: 'drop_after', times: 2 }],
];

/** Each way the provider can fail, at one operation each. */
export async function failingProvider(world: FaultWorld, random: Random): Promise<Run> {
  const names = providerFaults.map(() => random.pick(Object.keys(operations)));
  const prepared = await Promise.all(names.map((name) => operations[name]!(world)));
  for (const [i, [, fault]] of providerFaults.entries())
    world.standin.fail({ ...fault, method: 'POST', path: /payment_intents$/, body: prepared[i]!.account.id });
  const run = await provedTogether(world, prepared, (i) => providerFaults[i]![0]);
  world.standin.heal();
  return run;
}

/** One statement of five is refused with a serialization failure or a deadlock, for real. */
export async function failingStatements(world: FaultWorld, random: Random): Promise<Run> {
  const names = [...Object.keys(operations), ...Object.keys(operations)];
  const prepared = await Promise.all(names.map((name) => operations[name]!(world)));
  world.proxy.rule = ({ text }) =>
    /^(rollback|listen|set)\b/i.test(text) || !random.chance(0.2)
      ? undefined
      : { kind: 'fail', sqlState: random.pick(['40001', '40P01']) };
  const refused = new Set<string>();
  for (const operation of prepared) {
    const { attempt } = operation;
    operation.attempt = async (url) => {
      const told = await attempt.call(operation, url);
      if (/INTERNAL|"status":500|^500/.test(operation.last ?? ''))
        refused.add(`${operation.name} was answered ${operation.last}`);
      return told;
    };
  }
  const healing = setTimeout(() => {
    world.proxy.rule = undefined; // nobody's tries are endless, and what is left to the sweeps has its bound from here
  }, 20_000);
  const run = await provedTogether(world, prepared, () => 'with failing statements');
  clearTimeout(healing);
  world.proxy.rule = undefined;
  return { ...run, violations: [...run.violations, ...refused] };
}
