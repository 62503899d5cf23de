import { randomBytes } from 'node:crypto';
import { createAccount } from './account/createAccount.js';
import { createTestClock } from './account/createTestClock.js';
import { readTestClock } from './account/testClock.js';
import type { Core } from './app.js';
import { type Catalog, featureKey } from './catalog/catalogFile.js';
import { publishCatalog } from './catalog/publishCatalog.js';
import { BillingError } from './domain/errors.js';
import { systemActor } from './platform/actor.js';
import { type LoggedEvent, lastSeq, readEvents } from './platform/eventLog.js';
import { publicId } from './platform/ids.js';
import { type Difference, differencesFrom, moneyViolations } from './simulateExpect.js';
import { forgetSimulation } from './simulateForget.js';
import type { Scenario, ScenarioStep, StepArgs, StepName } from './simulateScenario.js';
import { advanceTo, applySettings, type Run, steps } from './simulateSteps.js';

/** Something the account went through: a step of the file, or an event of its log. */
export type Moment =
  | { kind: 'step'; at: Date; step: ScenarioStep; error: BillingError | undefined }
  | { kind: 'event'; at: Date; event: LoggedEvent };

export interface Simulation {
  run: Run;
  /** `acct_…` */
  account: string;
  timeline: Moment[];
  /** Why the scenario ended early, one text of several lines; undefined: all was as expected. */
  failure: string | undefined;
  /** Removes what it left in the database. */
  forget(): Promise<void>;
}

/**
 * Runs a scenario on an account of its own with a test clock, step after step, and waits after each until everything that
 * follows from it has happened. Stops at the first thing that is not as expected. Codes of the catalog get a suffix, so that
 * scenarios never meet in one catalog.
 */
export async function simulate(core: Pick<Core, 'deps' | 'asOwner'>, scenario: Scenario): Promise<Simulation> {
  const { deps } = core;
  const suffix = `_${randomBytes(5).toString('hex')}`;
  const catalog = suffixed(scenario.catalog, suffix);
  await publishCatalog(deps, catalog);
  const { currency, timeZone } = scenario.account;
  const { id: accountId } = await createAccount(deps, { name: scenario.name.slice(0, 200), currency, timeZone });
  const actor = systemActor(accountId);
  await createTestClock(deps, actor, { now: scenario.start });
  let keys = 0;
  const run: Run = {
    deps,
    actor,
    accountId,
    scenario,
    catalog,
    proposals: [],
    code: (name) => `${name}${suffix}`,
    name: (text) => text.replaceAll(suffix, ''),
    key: () => `step-${++keys}`,
  };
  await applySettings(run, scenario.account.settings);
  const { timeline, failure } = await play(run);
  return {
    run,
    account: publicId('account', accountId),
    timeline,
    failure: failure === undefined ? undefined : run.name(failure),
    forget: () => forgetSimulation(core, { accountId, suffix }),
  };
}

async function play(run: Run): Promise<Pick<Simulation, 'timeline' | 'failure'>> {
  const { deps, accountId, scenario } = run;
  const timeline: Moment[] = [];
  let unseen: LoggedEvent[] = [];
  let seen = await lastSeq(deps.db.orm.em.fork(), accountId);
  /** Everything that follows happens, and the events of it go on the timeline. */
  const settle = async (): Promise<void> => {
    await deps.dueWork.run(accountId);
    for (let more = true; more; ) {
      const events = await readEvents(deps.db.orm.em.fork(), { accountId, after: seen, limit: 1_000 });
      more = events.length === 1_000;
      seen = events.at(-1)?.seq ?? seen;
      unseen = [...unseen, ...events];
      timeline.push(...events.map((event): Moment => ({ kind: 'event', at: event.occurredAt, event })));
    }
  };

  let failed: { step: ScenarioStep; error: BillingError } | undefined;
  for (const step of scenario.steps) {
    if (failed && !(step.name === 'expect' && step.args.error !== undefined)) break;
    if (step.at) {
      await advanceTo(run, step.at);
      await settle();
    }
    if (step.name === 'expect') {
      const differences = await differencesFrom(run, step.args, { error: failed?.error.code, events: unseen });
      if (differences.length > 0)
        return { timeline, failure: differences.map((one) => described(step, one)).join('\n') };
      if (step.args.events) unseen = [];
      failed = undefined;
      continue;
    }
    const { now } = (await readTestClock(deps.db.orm.em.fork(), accountId))!;
    const error = await attempt(run, step);
    timeline.push({ kind: 'step', at: now, step, error });
    await settle();
    failed = error && { step, error };
  }
  if (failed) {
    const { step, error } = failed;
    return { timeline, failure: `line ${step.place.line}: ${step.name}: ${error.code}: ${error.message}` };
  }
  const unsound = await moneyViolations(run);
  return { timeline, failure: unsound.length > 0 ? `the ledger is not sound: ${unsound.join('; ')}` : undefined };
}

/** Takes the step; what it refused or did not achieve comes back. */
async function attempt(
  run: Run,
  { name, args }: Exclude<ScenarioStep, { name: 'expect' }>,
): Promise<BillingError | undefined> {
  try {
    const step = steps[name] as (run: Run, args: StepArgs[StepName]) => Promise<BillingError | undefined>;
    return await step(run, args);
  } catch (error) {
    if (error instanceof BillingError) return error;
    throw error;
  }
}

const described = ({ place, name }: ScenarioStep, { path, expected, found }: Difference): string =>
  `line ${place.lineOf(path)}: ${[name, ...path].join('.')}\n  - expected  ${expected}\n  + found     ${found}`;

/** The catalog under codes of its own. A metric's key is in the features of plans, too. */
function suffixed(catalog: Catalog, suffix: string): Catalog {
  const keys = new Map(
    catalog.metrics.map((metric) => [
      featureKey(metric),
      { metricCode: metric.code + suffix, code: featureKey({ ...metric, code: metric.code + suffix }) },
    ]),
  );
  return {
    ...catalog,
    metrics: catalog.metrics.map((metric) => ({ ...metric, code: metric.code + suffix })),
    plans: catalog.plans.map((plan) => ({
      ...plan,
      code: plan.code + suffix,
      features: plan.features.map((feature) => ({ ...feature, ...keys.get(feature.code) })),
    })),
    coupons: catalog.coupons.map((coupon) => ({
      ...coupon,
      code: coupon.code + suffix,
      planCodes: coupon.planCodes.map((code) => code + suffix),
      metricCodes: coupon.metricCodes.map((code) => code + suffix),
    })),
  };
}
