import { Account, TaxRate } from './account/account.entity.js';
import { advanceTestClock } from './account/advanceTestClock.js';
import { readTestClock } from './account/testClock.js';
import type { Core } from './app.js';
import { planById } from './catalog/plans.js';
import { BillingError, invalid } from './domain/errors.js';
import { parseMoney } from './domain/money.js';
import type { Invoice } from './invoice/invoice.entity.js';
import { payInvoice } from './invoice/payInvoice.js';
import { addPaymentMethod } from './payment/addPaymentMethod.js';
import type { Actor } from './platform/actor.js';
import { transact } from './platform/db.js';
import { newId, publicId } from './platform/ids.js';
import { invoicesInOrder } from './simulateExpect.js';
import type { Scenario, ScenarioSettings, StepArgs, StepName } from './simulateScenario.js';
import { cancelSubscription } from './subscription/cancelSubscription.js';
import { changePlan } from './subscription/changePlan.js';
import { subscribe } from './subscription/subscribe.js';
import type { Subscription } from './subscription/subscription.entity.js';
import { listSubscriptions } from './subscription/subscriptions.js';
import { recordUsage } from './usage/recordUsage.js';
import { topUp } from './wallet/topUp.js';

/** A scenario on its way through an account. */
export interface Run {
  readonly deps: Core['deps'];
  readonly actor: Actor;
  readonly accountId: string;
  readonly scenario: Scenario;
  /** Code of a plan, metric or coupon in the file → its code in this run, which no other run has. */
  code(name: string): string;
  /** A text without what `code` added. */
  name(text: string): string;
  /** An idempotency key, or an event's id, of its own for each use. */
  key(): string;
}

/** What a step did not achieve (a declined payment, an event rejected) comes back; what it refused is thrown. */
type Step<Name extends StepName> = (run: Run, args: StepArgs[Name]) => Promise<BillingError | undefined>;

/** How each step is done: by the use case of its name. What the product can't do yet has no line here. */
export const steps: { readonly [Name in StepName]?: Step<Name> } = {
  card: async ({ deps, actor, key }, { token, default: makeDefault }) => {
    await addPaymentMethod(deps, actor, { idempotencyKey: key(), type: 'card', token, makeDefault });
    return undefined;
  },
  subscribe: async ({ deps, actor, key, code }, { plan, ...more }) => {
    refuseUnknown(more);
    return (await subscribe(deps, actor, { idempotencyKey: key(), planCode: code(plan) })).error;
  },
  change_plan: async (run, { plan, timing, proration, ...more }) => {
    refuseUnknown(more);
    const subscriptionId = await idOfSubscription(run);
    const input = { idempotencyKey: run.key(), subscriptionId, planCode: run.code(plan), timing, proration };
    return (await changePlan(run.deps, run.actor, input)).error;
  },
  cancel: async (run, { timing }) => {
    const input = { idempotencyKey: run.key(), subscriptionId: await idOfSubscription(run), timing };
    return (await cancelSubscription(run.deps, run.actor, input)).error;
  },
  /** Back to the plan it is on: the change or cancellation that waits for the period's end is off. */
  undo: async (run) => {
    const subscription = await lastSubscription(run);
    const { code: planCode } = await planById(run.deps.db.orm.em.fork(), subscription.planId);
    const subscriptionId = publicId('subscription', subscription.id);
    const input = {
      idempotencyKey: run.key(),
      subscriptionId,
      planCode,
      timing: 'AUTO',
      proration: 'PER_DAY',
    } as const;
    return (await changePlan(run.deps, run.actor, input)).error;
  },
  usage: async ({ deps, actor, key, code }, events) => {
    const { results } = await recordUsage(
      deps,
      actor,
      events.map(({ metric, value, id, at, properties }) => ({
        transactionId: id ?? key(),
        metric: code(metric),
        value,
        timestamp: at,
        properties,
      })),
    );
    const rejected = results.find(({ status }) => status === 'REJECTED')?.error;
    return rejected && new BillingError(rejected.code, rejected.message, { field: rejected.field });
  },
  top_up: async ({ deps, actor, key, scenario }, amount) =>
    (await topUp(deps, actor, { idempotencyKey: key(), amount: parseMoney(amount, scenario.account.currency) })).error,
  pay_invoice: async (run, number) => {
    const input = { idempotencyKey: run.key(), invoiceId: publicId('invoice', (await nthInvoice(run, number)).id) };
    return (await payInvoice(run.deps, run.actor, input)).error;
  },
  settings: async (run, settings) => {
    await applySettings(run, settings);
    return undefined;
  },
  advance: async (run, by) => {
    await advanceTo(run, await targetOf(run, by));
    return undefined;
  },
};

/** Options of a step that the file may have and the product does not know yet. */
function refuseUnknown(options: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined) throw invalid(`'${name}' is not available in this version`, name);
}

async function lastSubscription({ deps, accountId }: Run): Promise<Subscription> {
  const [last] = await listSubscriptions(deps.db.orm.em.fork(), accountId);
  if (!last) throw new BillingError('NOT_FOUND', 'The account has no subscription yet');
  return last;
}
const idOfSubscription = async (run: Run): Promise<string> =>
  publicId('subscription', (await lastSubscription(run)).id);

async function nthInvoice({ deps, accountId }: Run, number: number): Promise<Invoice> {
  const invoices = await invoicesInOrder(deps.db.orm.em.fork(), accountId);
  const found = invoices[number - 1];
  if (!found) throw new BillingError('NOT_FOUND', `There is no invoice ${number}: the account has ${invoices.length}`);
  return found;
}

/** The account's policy, as an operator would set it. Tax rates replace those before. */
export async function applySettings(
  { deps, accountId }: Pick<Run, 'deps' | 'accountId'>,
  { grace_hours, retry_days, dunning_end, tax_exempt, tax_rates }: ScenarioSettings,
): Promise<void> {
  await transact(deps, accountId, async ({ em, now }) => {
    const account = await em.findOneOrFail(Account, { id: accountId });
    account.gracePeriodHours = grace_hours ?? account.gracePeriodHours;
    account.retryAfterDays = retry_days ?? account.retryAfterDays;
    account.dunningEnd = dunning_end ?? account.dunningEnd;
    account.taxExempt = tax_exempt ?? account.taxExempt;
    if (!tax_rates) return;
    await em.nativeUpdate(TaxRate, { accountId, archivedAt: null }, { archivedAt: now });
    for (const [position, rate] of tax_rates.entries())
      em.create(TaxRate, { accountId, id: newId(), ...rate, position, createdAt: now, archivedAt: null });
  });
}

async function targetOf(run: Run, by: StepArgs['advance']): Promise<Date> {
  if (by instanceof Date) return by;
  if (by === 'period') return (await lastSubscription(run)).periodEnd;
  const { now } = (await readTestClock(run.deps.db.orm.em.fork(), run.accountId))!;
  return new Date(now.getTime() + ((by.days * 24 + by.hours) * 60 + by.minutes) * 60_000);
}

/** Longer than any scenario should take: past it something hangs. */
const advanceWithinMs = 120_000;

/** Moves the account's time, and waits until all that came due has happened. */
export async function advanceTo({ deps, actor, accountId, key }: Run, to: Date): Promise<void> {
  await advanceTestClock(deps, actor, { idempotencyKey: key(), to }, { withinMs: advanceWithinMs });
  const clock = await readTestClock(deps.db.orm.em.fork(), accountId);
  if (clock?.status !== 'READY')
    throw new BillingError(
      'UNAVAILABLE',
      `The clock stands at ${clock?.now.toISOString()} and can't go on to ${to.toISOString()}`,
    );
}
