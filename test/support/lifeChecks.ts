import assert from 'node:assert/strict';
import { Account } from '../../src/account/account.entity.js';
import { Plan } from '../../src/catalog/plan.entity.js';
import { afterStep, dueStep } from '../../src/domain/lifecycle.js';
import { CreditNote } from '../../src/invoice/creditNote.entity.js';
import { Invoice, InvoiceLine } from '../../src/invoice/invoice.entity.js';
import { publicId } from '../../src/platform/ids.js';
import { rowsOf, sql } from '../../src/platform/sql.js';
import { decideSubscribe } from '../../src/subscription/decide.js';
import { firstState } from '../../src/subscription/state.js';
import { Subscription } from '../../src/subscription/subscription.entity.js';
import { expectSoundLedger } from './ledger.js';
import { expectCountersEqualEvents } from './metering.js';
import { type Life, nowOf } from './randomLife.js';

/** All that holds of a life at any time. Returns what is broken, one text each. */
export async function violationsOf(life: Life): Promise<string[]> {
  const { world, account } = life;
  const checks: [string, () => Promise<void>][] = [
    ['the money', () => expectSoundLedger(world, account.id)],
    ['the counters', () => expectCountersEqualEvents(world, account)],
    ['the numbers', () => checkNumbers(life)],
    ['the totals', () => checkTotals(life)],
    ['what is given back', () => checkGivenBack(life)],
    ['the periods', () => checkPeriods(life)],
    ['what is due', () => checkNothingOverdue(life)],
  ];
  const broken: string[] = [];
  for (const [what, check] of checks)
    await check().catch((error: Error) => broken.push(`life ${life.seed}, ${what}: ${error.message}`));
  return broken;
}

const plain = { disableIdentityMap: true } as const;

/** `<PREFIX>-<NNNNNN>` from 1 on, without a gap, of invoices and of credit notes. */
async function checkNumbers({ world, account: { id: accountId } }: Life): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  const invoices = await em.find(
    Invoice,
    { accountId, number: { $ne: null } },
    { ...plain, orderBy: { number: 'asc' } },
  );
  const notes = await em.find(CreditNote, { accountId }, { ...plain, orderBy: { number: 'asc' } });
  for (const numbers of [invoices, notes].map((documents) => documents.map(({ number }) => Number(number!.slice(-6)))))
    assert.deepEqual(
      numbers,
      Array.from({ length: numbers.length }, (_, i) => i + 1),
    );
}

/** No total is below zero, lines sum to it, and no invoice is credited beyond it. */
async function checkTotals({ world, account: { id: accountId } }: Life): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  for (const invoice of await em.find(Invoice, { accountId }, plain)) {
    const { number, status, totalMinor, amountDueMinor, creditNotedMinor } = invoice;
    const lines = await em.find(InvoiceLine, { accountId, invoiceId: invoice.id }, plain);
    const sumOf = (of: 'amountMinor' | 'discountMinor') => lines.reduce((sum, line) => sum + line[of], 0n);
    assert.ok(
      totalMinor >= 0n && amountDueMinor >= 0n,
      `${number} has a total of ${totalMinor}, ${amountDueMinor} due`,
    );
    assert.ok(creditNotedMinor <= totalMinor, `${number} over ${totalMinor} has notes over ${creditNotedMinor}`);
    assert.deepEqual(
      [sumOf('amountMinor'), sumOf('discountMinor')],
      [invoice.subtotalMinor, invoice.discountMinor],
      `${number}, ${status}`,
    );
  }
}

/** Of no line more is given back, by credit notes and later credits together, than it came to. */
async function checkGivenBack({ world, account: { id } }: Life): Promise<void> {
  const rows = await world.rows(
    sql<{ line: string }>`
      select l.description || ' over ' || l.amount_minor || ' on ' || i.id as line
      from invoice_line l join invoice i on i.account_id = l.account_id and i.id = l.invoice_id
      where l.account_id = ${id} and l.amount_minor > 0 and l.amount_minor - l.discount_minor <
        (select coalesce(sum(n.amount_minor), 0) from credit_note_line n join credit_note c on c.account_id = n.account_id
          and c.id = n.credit_note_id and c.status = 'ISSUED' where n.account_id = l.account_id and n.invoice_line_id = l.id)
        - (select coalesce(sum(k.amount_minor), 0) from invoice_line k join invoice g on g.account_id = k.account_id
          and g.id = k.invoice_id and g.status <> 'VOID' where k.account_id = l.account_id and k.credits_line_id = l.id)`,
  );
  assert.deepEqual(rows, []);
}

/** Time has arrived: nothing is due any more. */
async function checkNothingOverdue({ world, account: { id } }: Life): Promise<void> {
  const now = await nowOf({ world, account: { id } } as Life);
  assert.equal(await world.deps.dueWork.nextDueAt(id, now), undefined);
}

/** A period that an invoice bills in advance. */
interface BilledPeriod {
  start: Date;
  end: Date;
  /** It begins before the one before it was over: another rhythm took over. */
  cuts: boolean;
  number: string;
}

/**
 * Each subscription's periods are invoiced once each, and follow each other without a gap: only a pause leaves one, only a
 * change to another rhythm cuts one short. What never changed is counted against the calendar of `domain/lifecycle`.
 */
async function checkPeriods(life: Life): Promise<void> {
  const { world, account } = life;
  const em = world.deps.db.orm.em.fork();
  for (const subscription of await em.find(Subscription, { accountId: account.id }, plain)) {
    const periods = await billedPeriods(life, subscription);
    const abandoned =
      subscription.status === 'INCOMPLETE' || (subscription.status === 'CANCELED' && periods.length === 0);
    if (abandoned) continue;
    const pauses = await pausesOf(life, subscription);
    checkTiling(subscription, { periods, pauses });
    if (pauses.length === 0) await checkCalendar(life, subscription, periods);
  }
}

async function billedPeriods(
  { world, account: { id: accountId } }: Life,
  { id }: Subscription,
): Promise<BilledPeriod[]> {
  const rows = await world.rows(
    sql<{ period_start: string; period_end: string; reason: string; number: string | null }>`
      select period_start, period_end, reason, number from invoice i
      where account_id = ${accountId} and subscription_id = ${id} and status <> 'VOID'
        and (reason in ('subscription_create', 'subscription_cycle', 'subscription_resume')
          or reason = 'subscription_change' and exists (
            select 1 from invoice_line l where l.account_id = i.account_id and l.invoice_id = i.id and l.kind = 'fee'))
      order by period_start, created_at, id`,
  );
  return rows.map((row) => ({
    start: new Date(row.period_start),
    end: new Date(row.period_end),
    cuts: row.reason === 'subscription_change',
    number: row.number ?? 'a draft',
  }));
}

/** When it was paused. */
async function pausesOf({ world, account: { id: accountId } }: Life, { id }: Subscription): Promise<Date[]> {
  const em = world.deps.db.orm.em.fork();
  const rows = await rowsOf(
    em,
    sql<{ at: string }>`select occurred_at as at from event where account_id = ${accountId}
      and type = 'subscription.paused' and data ->> 'id' = ${publicId('subscription', id)} order by seq`,
  );
  return rows.map(({ at }) => new Date(at));
}

function checkTiling(
  { id, createdAt, trialEndsAt, status, periodStart, periodEnd, canceledAt }: Subscription,
  { periods, pauses }: { periods: readonly BilledPeriod[]; pauses: readonly Date[] },
): void {
  let last = { start: createdAt, end: trialEndsAt ?? createdAt };
  for (const { start, end, cuts, number } of periods) {
    const follows = start.getTime() === last.end.getTime();
    const cut = cuts && start >= last.start && start < last.end;
    const pause = pauses.find((at) => at >= last.start && at <= last.end && at <= start);
    assert.ok(
      follows || cut || pause !== undefined,
      `${number} of ${id} bills ${start.toISOString()} – ${end.toISOString()} after ${last.start.toISOString()} – ${last.end.toISOString()}`,
    );
    last = { start, end };
  }
  const pausedSince = pauses.some((at) => at >= last.start && at <= last.end);
  if (status === 'CANCELED')
    assert.ok(pausedSince || canceledAt! <= last.end, `${id} ran until ${canceledAt}, billed until ${last.end}`);
  else if (status === 'PAUSED') assert.ok(periodEnd <= last.end, `${id} is paused`);
  else assert.deepEqual([periodStart, periodEnd], [last.start, last.end], `${id} is in a period that is billed`);
}

/** Folds the lifecycle from its beginning over a subscription that was left alone: the very same periods. */
async function checkCalendar(
  { world, account }: Life,
  subscription: Subscription,
  periods: readonly BilledPeriod[],
): Promise<void> {
  const em = world.deps.db.orm.em.fork();
  const changes = await world.rows(
    sql`select 1 from invoice_line line join invoice on invoice.account_id = line.account_id and invoice.id = line.invoice_id
      where line.account_id = ${account.id} and invoice.subscription_id = ${subscription.id} and line.kind = 'fee' and invoice.status <> 'VOID'
      group by invoice.subscription_id having count(distinct line.plan_code) > 1 or bool_or(invoice.reason = 'subscription_change')`,
  );
  const plan = await em.findOneOrFail(Plan, { id: subscription.planId });
  const { timeZone } = await em.findOneOrFail(Account, { id: account.id });
  const { createdAt: at, quantity } = subscription;
  const first = decideSubscribe({ plan, quantity, at, timeZone });
  if (changes.length > 0 || first.trial !== (subscription.trialEndsAt != null)) return;
  let state = firstState({ plan, quantity, at, timeZone, ...first });
  const expected = first.trial ? [] : [state.period];
  const until = subscription.canceledAt ?? subscription.periodEnd;
  for (let step = dueStep(state); step && step.at < until; step = dueStep(state)) {
    state = afterStep(state, step);
    if (step.kind !== 'trial_notice') expected.push(state.period);
  }
  // Without retries a renewal can be given up, and the subscription end, at the instant at which it began a period.
  const billed = periods.filter(({ start }) => subscription.canceledAt == null || start < subscription.canceledAt);
  assert.deepEqual(
    billed.map(({ start, end }) => ({ start, end })),
    expected,
    `the periods of ${subscription.id} on ${plan.code}`,
  );
}
