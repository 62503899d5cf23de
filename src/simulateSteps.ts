import { advanceTestClock } from './account/advanceTestClock.js';
import { readTestClock } from './account/testClock.js';
import { updateBillingSettings } from './account/updateBillingSettings.js';
import type { Core } from './app.js';
import type { Catalog } from './catalog/catalogFile.js';
import { publishCatalog } from './catalog/publishCatalog.js';
import { Decimal } from './domain/decimal.js';
import { BillingError } from './domain/errors.js';
import { parseMoney } from './domain/money.js';
import { addInvoiceItem } from './invoice/addInvoiceItem.js';
import { liveCoupons } from './invoice/appliedCoupons.js';
import { applyCoupon } from './invoice/applyCoupon.js';
import { createCreditNote } from './invoice/createCreditNote.js';
import { createInvoice } from './invoice/createInvoice.js';
import type { CreditNote } from './invoice/creditNote.entity.js';
import type { Invoice } from './invoice/invoice.entity.js';
import { payInvoice } from './invoice/payInvoice.js';
import { removeCoupon } from './invoice/removeCoupon.js';
import { voidCreditNote } from './invoice/voidCreditNote.js';
import { addPaymentMethod } from './payment/addPaymentMethod.js';
import type { Actor } from './platform/actor.js';
import { publicId } from './platform/ids.js';
import { creditNotesInOrder, grantsInOrder, invoicesInOrder, linesInOrder } from './simulateExpect.js';
import type { Scenario, ScenarioSettings, StepArgs, StepName } from './simulateScenario.js';
import { cancelSubscription } from './subscription/cancelSubscription.js';
import { changePlan } from './subscription/changePlan.js';
import { migrateSubscribers } from './subscription/migrateSubscribers.js';
import { pauseSubscription } from './subscription/pauseSubscription.js';
import { resumeSubscription } from './subscription/resumeSubscription.js';
import { subscribe } from './subscription/subscribe.js';
import type { Subscription } from './subscription/subscription.entity.js';
import { listSubscriptions } from './subscription/subscriptions.js';
import { undoScheduledChange } from './subscription/undoScheduledChange.js';
import { correctUsage } from './usage/correctUsage.js';
import type { UsageProposal } from './usage/proposals.js';
import { recordUsage } from './usage/recordUsage.js';
import { captureHold } from './wallet/captureHold.js';
import { configureAutoRecharge } from './wallet/configureAutoRecharge.js';
import { createHold } from './wallet/createHold.js';
import { giveCredit } from './wallet/giveCredit.js';
import { refundTopUp } from './wallet/refundTopUp.js';
import { releaseHold } from './wallet/releaseHold.js';
import { setLowBalanceThreshold } from './wallet/setLowBalanceThreshold.js';
import { topUp } from './wallet/topUp.js';
import { WalletHold } from './wallet/wallet.entity.js';

/** A scenario on its way through an account. */
export interface Run {
  readonly deps: Core['deps'];
  readonly actor: Actor;
  readonly accountId: string;
  readonly scenario: Scenario;
  /** As it was published last, under the codes of this run. */
  catalog: Catalog;
  /** What the last correction of usage proposed. */
  proposals: readonly UsageProposal[];
  /** Code of a plan, metric or coupon in the file → its code in this run, which no other run has. */
  code(name: string): string;
  /** A text without what `code` added. */
  name(text: string): string;
  /** An idempotency key, or an event's id, of its own for each use. */
  key(): string;
}

/** What a step did not achieve (a declined payment, an event rejected) comes back; what it refused is thrown. */
type Step<Name extends StepName> = (run: Run, args: StepArgs[Name]) => Promise<BillingError | undefined>;

/** How each step is done: by the use case of its name. */
export const steps: { readonly [Name in Exclude<StepName, 'expect'>]: Step<Name> } = {
  card: async ({ deps, actor, key }, { token, default: makeDefault }) => {
    await addPaymentMethod(deps, actor, { idempotencyKey: key(), type: 'card', token, makeDefault });
    return undefined;
  },
  subscribe: async ({ deps, actor, key, code }, { plan, quantity, coupon }) => {
    if (coupon !== undefined) await applyCoupon(deps, actor, { idempotencyKey: key(), couponCode: code(coupon) });
    return (await subscribe(deps, actor, { idempotencyKey: key(), planCode: code(plan), quantity })).error;
  },
  change_plan: async (run, { plan, ...how }) =>
    (await changePlan(run.deps, run.actor, { ...(await own(run)), planCode: run.code(plan), ...how })).error,
  cancel: async (run, how) => (await cancelSubscription(run.deps, run.actor, { ...(await own(run)), ...how })).error,
  undo: async (run) => (await undoScheduledChange(run.deps, run.actor, await own(run))).error,
  pause: async (run, { resume_at: resumeAt }) =>
    (await pauseSubscription(run.deps, run.actor, { ...(await own(run)), resumeAt })).error,
  resume: async (run) => (await resumeSubscription(run.deps, run.actor, await own(run))).error,
  /** The plan in a new version, which differs in its price alone. */
  publish: async (run, { plan, price }) => {
    const change = (one: Catalog['plans'][number]) =>
      one.code === run.code(plan) ? { ...one, priceMinor: parseMoney(price, one.currency).minorUnits } : one;
    run.catalog = { ...run.catalog, plans: run.catalog.plans.map(change) };
    await publishCatalog(run.deps, run.catalog);
    return undefined;
  },
  migrate: async ({ deps, actor, code }, { plan, timing }) => {
    for await (const { outcome, reason } of migrateSubscribers(deps, actor, {
      planCode: code(plan),
      timing,
      dryRun: false,
    }))
      if (outcome !== 'MIGRATED') return new BillingError('ILLEGAL_STATE', reason ?? outcome);
    return undefined;
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
  correct_usage: async (run, corrections) => {
    const input = corrections.map(({ id, ...how }) => ({ transactionId: id, ...how }));
    run.proposals = (
      await correctUsage(run.deps, run.actor, { idempotencyKey: run.key(), corrections: input })
    ).proposals;
    return undefined;
  },
  top_up: async ({ deps, actor, key, scenario }, amount) =>
    (await topUp(deps, actor, { idempotencyKey: key(), amount: parseMoney(amount, scenario.account.currency) })).error,
  grant: async ({ deps, actor, key, scenario }, { amount, expires_at: expiresAt, priority }) => {
    const given = { amount: parseMoney(amount, scenario.account.currency), expiresAt, priority };
    await giveCredit(deps, actor, { idempotencyKey: key(), reason: 'As the scenario says', ...given });
    return undefined;
  },
  hold: async ({ deps, actor, key, scenario }, { amount, expires_at: expiresAt }) => {
    const kept = { amount: parseMoney(amount, scenario.account.currency), expiresAt };
    await createHold(deps, actor, { idempotencyKey: key(), description: 'As the scenario says', ...kept });
    return undefined;
  },
  capture: async (run, { hold, amount }) => {
    const { currency } = run.scenario.account;
    await captureHold(run.deps, run.actor, {
      idempotencyKey: run.key(),
      holdId: await nthHold(run, hold),
      amount: amount === undefined ? undefined : parseMoney(amount, currency),
    });
    return undefined;
  },
  release: async (run, number) => {
    await releaseHold(run.deps, run.actor, { idempotencyKey: run.key(), holdId: await nthHold(run, number) });
    return undefined;
  },
  refund_top_up: async (run, { top_up: number, amount }) => {
    const { currency } = run.scenario.account;
    await refundTopUp(run.deps, run.actor, {
      idempotencyKey: run.key(),
      paymentId: await nthTopUp(run, number),
      amount: amount === undefined ? undefined : parseMoney(amount, currency),
    });
    return undefined;
  },
  auto_recharge: async ({ deps, actor, key, scenario }, { enabled, threshold, amount, monthly_limit: limit }) => {
    const money = (text: string) => parseMoney(text, scenario.account.currency);
    await configureAutoRecharge(deps, actor, {
      idempotencyKey: key(),
      enabled,
      threshold: threshold === undefined ? undefined : money(threshold),
      amount: amount === undefined ? undefined : money(amount),
      monthlyLimit: limit == null ? limit : money(limit),
    });
    return undefined;
  },
  low_balance: async ({ deps, actor, key, scenario }, threshold) => {
    const money = parseMoney(threshold, scenario.account.currency);
    await setLowBalanceThreshold(deps, actor, { idempotencyKey: key(), threshold: money });
    return undefined;
  },
  apply_coupon: async ({ deps, actor, key, code }, coupon) => {
    await applyCoupon(deps, actor, { idempotencyKey: key(), couponCode: code(coupon) });
    return undefined;
  },
  remove_coupon: async (run, coupon) => {
    const live = await liveCoupons(run.deps.db.orm.em.fork(), run.accountId);
    const found = live.find((one) => coupon === null || one.coupon.code === run.code(coupon));
    if (!found) throw new BillingError('NOT_FOUND', 'The account has no such coupon');
    const appliedCouponId = publicId('appliedCoupon', found.applied.id);
    await removeCoupon(run.deps, run.actor, { idempotencyKey: run.key(), appliedCouponId });
    return undefined;
  },
  invoice_item: async ({ deps, actor, key, scenario }, { description, amount: text }) => {
    const amount = parseMoney(text, scenario.account.currency);
    await addInvoiceItem(deps, actor, { idempotencyKey: key(), description, amount });
    return undefined;
  },
  create_invoice: async ({ deps, actor, key }) => {
    await createInvoice(deps, actor, { idempotencyKey: key(), items: [] });
    return undefined;
  },
  credit_note: async (run, { invoice: number, kind, lines }) => {
    const invoice = await nthInvoice(run, number);
    await createCreditNote(run.deps, run.actor, {
      idempotencyKey: run.key(),
      invoiceId: publicId('invoice', invoice.id),
      kind,
      reason: 'As the scenario says',
      lines: lines === 'all' ? undefined : await creditedLines(run, invoice, lines),
    });
    return undefined;
  },
  void_credit_note: async (run, number) => {
    const creditNoteId = publicId('creditNote', (await nthCreditNote(run, number)).id);
    await voidCreditNote(run.deps, run.actor, { idempotencyKey: run.key(), creditNoteId });
    return undefined;
  },
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

async function lastSubscription({ deps, accountId }: Run): Promise<Subscription> {
  const [last] = await listSubscriptions(deps.db.orm.em.fork(), accountId);
  if (!last) throw new BillingError('NOT_FOUND', 'The account has no subscription yet');
  return last;
}

/** What every change of the account's subscription names. */
const own = async (run: Run): Promise<{ idempotencyKey: string; subscriptionId: string }> => ({
  idempotencyKey: run.key(),
  subscriptionId: publicId('subscription', (await lastSubscription(run)).id),
});

/** The one at a place, from 1; NOT_FOUND when there are fewer. */
function nth<Row>(rows: readonly Row[], place: number, what: string, owner = 'account'): Row {
  const found = rows[place - 1];
  if (!found) throw new BillingError('NOT_FOUND', `There is no ${what} ${place}: the ${owner} has ${rows.length}`);
  return found;
}

const nthInvoice = async ({ deps, accountId }: Run, number: number): Promise<Invoice> =>
  nth(await invoicesInOrder(deps.db.orm.em.fork(), accountId), number, 'invoice');

const nthCreditNote = async ({ deps, accountId }: Run, number: number): Promise<CreditNote> =>
  nth(await creditNotesInOrder(deps.db.orm.em.fork(), accountId), number, 'credit note');

/** The public id of a hold, by its place among the account's. */
async function nthHold({ deps, accountId }: Run, number: number): Promise<string> {
  const holds = await deps.db.orm.em.fork().find(WalletHold, { accountId }, { orderBy: { id: 'asc' } });
  return publicId('hold', nth(holds, number, 'hold').id);
}

/** The public id of the payment that bought a grant, by its place among those that were bought. */
async function nthTopUp({ deps, accountId }: Run, number: number): Promise<string> {
  const bought = (await grantsInOrder(deps.db.orm.em.fork(), accountId)).filter(({ kind }) => kind === 'purchased');
  return publicId('payment', nth(bought, number, 'top-up').referenceId);
}

/** Lines of an invoice by their place on it, from 1. Without an amount: all of the line, less its discount. */
async function creditedLines(
  { deps }: Run,
  invoice: Invoice,
  chosen: Exclude<StepArgs['credit_note']['lines'], 'all'>,
): Promise<Parameters<typeof createCreditNote>[2]['lines']> {
  const { currency } = invoice;
  const lines = await linesInOrder(deps.db.orm.em.fork(), invoice);
  return chosen.map(({ line: place, amount }) => {
    const line = nth(lines, place, 'line', 'invoice');
    const whole = { minorUnits: line.amountMinor - line.discountMinor, currency };
    return {
      invoiceLineId: publicId('invoiceLine', line.id),
      amount: amount === undefined ? whole : parseMoney(amount, currency),
    };
  });
}

/** The account's policy, as an operator sets it. */
export async function applySettings(
  { deps, actor, key }: Pick<Run, 'deps' | 'actor' | 'key'>,
  { grace_hours, retry_days, dunning_end, tax_exempt, tax_rates }: ScenarioSettings,
): Promise<void> {
  await updateBillingSettings(deps, actor, {
    idempotencyKey: key(),
    gracePeriodHours: grace_hours,
    retryAfterDays: retry_days,
    dunningEnd: dunning_end,
    taxExempt: tax_exempt,
    taxRates: tax_rates?.map((rate) => ({ ...rate, percent: new Decimal(rate.percent) })),
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
