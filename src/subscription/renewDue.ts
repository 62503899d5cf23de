import type { Period } from '../domain/period.js';
import { collectInvoices } from '../invoice/collectInvoices.js';
import { sweepNow } from '../platform/clock.js';
import type { Deps } from '../platform/deps.js';
import { instantOf, rowsOf, sql } from '../platform/sql.js';
import { type DuePlace, finishEach, finishPages, firstPlace, type SweepOf, sweptRows } from '../platform/sweeps.js';
import { advanceSubscription } from './renew.js';
import {
  type BatchOutcome,
  decideEach,
  type Renewed,
  readRenewals,
  renewBatch,
  type SubscriptionKey,
} from './renewBatch.js';
import { retryIsDue } from './standing.js';
import { Subscription } from './subscription.entity.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** Subscriptions that are renewed in one transaction: more make it long without making it faster. */
const batchSize = 500;

/** Batches in a row of one sweep; then the other sweeps have their turn, and this one goes on in its next round. */
const batchesASweep = 10;

/**
 * Sweep: renews, ends, activates or abandons every subscription whose time has come. Plain renewals go by the set, all
 * else, and what has a clock of its own, one by one.
 */
export async function advanceDueSubscriptions(deps: Needs, of: SweepOf = {}): Promise<number> {
  let finished = 0;
  const failed = new Set<string>();
  for (let batches = 0; of.accountId === undefined && batches < batchesASweep; ) {
    const claimed = await claim(deps, { failed, limit: batchSize });
    const failedBefore = failed.size;
    const renewed = claimed.length === 0 ? [] : await renewClaimed(deps, claimed, failed);
    if (renewed.length === 0 && failed.size === failedBefore) break;
    finished += renewed.length;
    if (renewed.length > 0) batches++; // one in which all failed is no turn: those behind it have theirs
  }
  const singles = await finishPages(
    deps.log,
    (page) => dueSingles(deps, of, page),
    (key) => advanceSubscription(deps, key).then(() => {}),
  );
  return finished + singles;
}

/**
 * Does all that is due on subscriptions now, until nothing is left, and yields each renewal when it is done. At most
 * `limit` subscriptions are begun with; what fails is logged and left for a later run.
 */
export async function* renewDue(deps: Needs, { limit }: { limit: number }): AsyncGenerator<Renewed[]> {
  const failed = new Set<string>();
  let left = limit;
  while (left > 0) {
    const claimed = await claim(deps, { failed, limit: Math.min(batchSize, left) });
    if (claimed.length === 0) break;
    left -= claimed.length;
    yield await renewClaimed(deps, claimed, failed);
  }
  for (const key of await dueSingles(deps, {}, { after: firstPlace, limit: left })) {
    const renewed: Renewed[] = [];
    await finishEach(deps.log, [key], async () => {
      renewed.push(...(await advanceSubscription(deps, key)));
    });
    yield renewed;
  }
}

/** A renewal that is due, as it would come out now. */
export interface DueRenewal extends SubscriptionKey {
  planCode: string;
  period: Period;
  currency: string;
  totalMinor: bigint;
  dueAt: Date;
}

/**
 * What `renewDue` would renew, the longest due first; writes and locks nothing. Of several missed periods it knows the
 * first, and a change that waits for its payment is taken for dropped.
 */
export async function* previewDue(
  deps: Pick<Deps, 'db' | 'clock'>,
  { limit }: { limit: number },
): AsyncGenerator<DueRenewal[]> {
  const now = deps.clock.now();
  let after = firstPlace;
  for (let left = limit; left > 0; ) {
    const em = deps.db.orm.em.fork();
    const rows = await rowsOf(
      em,
      sql<{ account_id: string; id: string; due_at: string }>`
        select account_id, id, due_at from subscription
        where due_at <= ${now} and ${sweptRows('subscription', {})} and (due_at, id) > (${after.dueAt}, ${after.id}::uuid)
        order by due_at, id limit ${batchSize}`,
    );
    const last = rows.at(-1);
    if (!last) return;
    after = { dueAt: instantOf(last.due_at), id: last.id };
    const subscriptions = await em.find(
      Subscription,
      { accountId: { $in: rows.map((row) => row.account_id) }, id: { $in: rows.map((row) => row.id) } },
      { orderBy: { dueAt: 'asc', id: 'asc' } },
    );
    const renewals = await readRenewals(em, subscriptions, { lock: false });
    const due = renewals.filter(({ step }) => step.at <= now).slice(0, left);
    left -= due.length;
    yield (await decideEach(em, due, () => now)).map(({ subscription, step, after: { terms, period }, invoice }) => ({
      ...{ accountId: subscription.accountId, subscriptionId: subscription.id },
      planCode: terms.code,
      period,
      currency: invoice.invoice.currency,
      totalMinor: invoice.invoice.totalMinor,
      dueAt: step.at,
    }));
  }
}

/**
 * The subscriptions that a batch may renew: the end of their period is what is due, and their renewal is a plain one. What
 * decides is asked again under the locks; this only keeps apart what would be left over. What another scheduler has in
 * work is skipped, so that many share what is due.
 */
async function claim(
  deps: Needs,
  { failed, limit }: { failed: ReadonlySet<string>; limit: number },
): Promise<SubscriptionKey[]> {
  const rows = await rowsOf(
    deps.db.orm.em.fork(),
    sql<{ account_id: string; id: string }>`
      select account_id, id from subscription
      where due_at <= ${deps.clock.now()} and ${sweptRows('subscription', {})} and ${plain}
        and not id = any(${[...failed]}::uuid[])
      order by due_at limit ${limit} for update of subscription skip locked`,
  );
  return rows.map(keyOf);
}

const plain = sql<boolean>`(
  subscription.status in ('ACTIVE', 'PAST_DUE', 'TRIALING') and subscription.due_at = subscription.period_end
  and (subscription.cancel_at is null or subscription.cancel_at > subscription.period_end)
  and subscription.change_invoice_id is null and not ${retryIsDue}
  and not exists (select 1 from account where account.id = subscription.account_id and account.grace_period_hours > 0)
  and not exists (select 1 from invoice_item item where item.account_id = subscription.account_id and item.invoice_id is null)
  and not exists (select 1 from applied_coupon applied
    where applied.account_id = subscription.account_id and applied.ended_at is null and applied.periods_left is not null)
  and not exists (select 1 from credit_note note
    where note.account_id = subscription.account_id and note.balance_minor > 0 and note.status = 'ISSUED'))`;

/** Due as well, and not for a batch. */
async function dueSingles(
  deps: Needs,
  of: SweepOf,
  { after, limit }: { after: DuePlace; limit: number },
): Promise<(SubscriptionKey & DuePlace)[]> {
  const em = deps.db.orm.em.fork();
  const now = await sweepNow(em, deps.clock, of.accountId);
  const rows = await rowsOf(
    em,
    sql<{ account_id: string; id: string; due_at: string }>`
      select account_id, id, due_at from subscription
      where due_at <= ${now} and ${sweptRows('subscription', of)} and (${of.accountId !== undefined} or not ${plain})
        and (due_at, id) > (${after.dueAt}, ${after.id}::uuid)
      order by due_at, id limit ${limit}`,
  );
  return rows.map((row) => ({ ...keyOf(row), id: row.id, dueAt: instantOf(row.due_at) }));
}

/** Renews a batch, collects what it leaves to collect, and advances by itself what was left out of it. */
async function renewClaimed(deps: Needs, claimed: readonly SubscriptionKey[], failed: Set<string>): Promise<Renewed[]> {
  const { renewed, left } = await renewHalving(deps, claimed);
  await collectInvoices(
    deps,
    renewed.flatMap(({ accountId, paymentId }) => (paymentId === undefined ? [] : [{ accountId, paymentId }])),
  );
  for (const key of left) {
    const done = await finishEach(deps.log, [key], async () => {
      renewed.push(...(await advanceSubscription(deps, key)));
    });
    if (done === 0) failed.add(key.subscriptionId);
  }
  return renewed;
}

/**
 * Renews a batch; one that fails is halved until the account that makes it fail is alone, so that it never blocks the
 * others. That one is advanced by itself, and says what is wrong with it.
 */
async function renewHalving(deps: Needs, keys: readonly SubscriptionKey[]): Promise<BatchOutcome> {
  try {
    return await renewBatch(deps, keys);
  } catch (error) {
    if (keys.length === 1) {
      deps.log.warn({ err: error, ...keys[0] }, 'a subscription could not be renewed by the set; it goes by itself');
      return { renewed: [], left: [...keys] };
    }
    await rowsOf(deps.db.orm.em.fork(), sql`select 1`); // without a database the halves would fail as well
    const middle = Math.ceil(keys.length / 2);
    const first = await renewHalving(deps, keys.slice(0, middle));
    const second = await renewHalving(deps, keys.slice(middle));
    return { renewed: [...first.renewed, ...second.renewed], left: [...first.left, ...second.left] };
  }
}

const keyOf = ({ account_id: accountId, id: subscriptionId }: { account_id: string; id: string }): SubscriptionKey => ({
  accountId,
  subscriptionId,
});
