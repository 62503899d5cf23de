import type { Plan } from '../catalog/plan.entity.js';
import { currentPlan, planById } from '../catalog/plans.js';
import { BillingError } from '../domain/errors.js';
import { type Actor, requireScope, systemActor } from '../platform/actor.js';
import { accountNow } from '../platform/clock.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { hashOf } from '../platform/idempotency.js';
import { publicId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { changePlan, quoteChange } from './changePlan.js';
import { feeMinor } from './lines.js';
import { Subscription } from './subscription.entity.js';

export interface MigrateSubscribersInput {
  /** Undefined: a repeat tries again whoever isn't on the newest version yet. */
  idempotencyKey?: string | undefined;
  planCode: string;
  /** Only subscribers of these versions; undefined: of all but the newest. */
  fromVersions?: readonly number[] | undefined;
  timing: 'PERIOD_END' | 'IMMEDIATE';
  /** Only say what would happen. */
  dryRun: boolean;
  /** Continues behind this account. */
  after?: string | undefined;
}

/** What became, or would become, of one subscriber. */
export interface Migration {
  accountId: string;
  subscriptionId: string;
  fromVersion: number;
  toVersion: number;
  currency: string;
  /** The fee of a whole period, before and after. */
  oldFeeMinor: bigint;
  newFeeMinor: bigint;
  /** Null: nothing happens. */
  effectiveAt: Date | null;
  dueNowMinor: bigint;
  outcome: 'PLANNED' | 'MIGRATED' | 'SKIPPED' | 'FAILED';
  /** Why it was skipped or failed. */
  reason: string | null;
}

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

const batchSize = 100;
const firstAccount = '00000000-0000-0000-0000-000000000000';

/**
 * Moves the subscribers of older versions of a plan to the newest one, account by account, each in a transaction of its
 * own: may be stopped at any time and repeated, as whoever has been moved is no longer found. Yields one by one. For
 * operators only.
 */
export async function* migrateSubscribers(
  deps: Needs,
  actor: Actor,
  input: MigrateSubscribersInput,
): AsyncGenerator<Migration> {
  requireScope(actor, 'subscriptions:write');
  if (!actor.operator) throw new BillingError('FORBIDDEN', "Only an operator's token may migrate subscribers");
  const target = await currentPlan(deps.db.orm.em.fork(), input.planCode, 'planCode');
  for (let after = input.after ?? firstAccount, more = true; more; ) {
    const found = await olderSubscribers(deps.db.orm.em.fork(), { target, ...input, after });
    for (const row of found) yield await migrateOne(deps, input, { target, ...row });
    more = found.length === batchSize;
    after = found.at(-1)?.accountId ?? after;
  }
}

/** Of all accounts, in their order. At most one subscription of each is live. */
async function olderSubscribers(
  em: Tx['em'],
  { target, fromVersions, after }: { target: Plan; fromVersions?: readonly number[] | undefined; after: string },
): Promise<{ accountId: string; subscriptionId: string }[]> {
  const rows = await rowsOf(
    em,
    sql<{ account_id: string; id: string }>`
      select subscription.account_id, subscription.id from subscription join plan on plan.id = subscription.plan_id
      where plan.code = ${target.code} and plan.id <> ${target.id} and subscription.status <> 'CANCELED'
        and (${fromVersions === undefined} or plan.version = any(${[...(fromVersions ?? [])]}::int[]))
        and subscription.account_id > ${after}
      order by subscription.account_id limit ${batchSize}`,
  );
  return rows.map(({ account_id, id }) => ({ accountId: account_id, subscriptionId: id }));
}

async function migrateOne(
  deps: Needs,
  { idempotencyKey, planCode, timing, dryRun }: MigrateSubscribersInput,
  { target, accountId, subscriptionId }: { target: Plan; accountId: string; subscriptionId: string },
): Promise<Migration> {
  const em = deps.db.orm.em.fork();
  const at = await accountNow(em, deps.clock, accountId);
  const subscription = await em.findOneOrFail(Subscription, { accountId, id: subscriptionId });
  const from = await planById(em, subscription.planId);
  const { quantity, periodEnd } = subscription;
  const migration: Migration = {
    accountId,
    subscriptionId,
    fromVersion: from.version,
    toVersion: target.version,
    currency: target.currency,
    oldFeeMinor: feeMinor(from, quantity),
    newFeeMinor: feeMinor(target, quantity),
    effectiveAt: null,
    dueNowMinor: 0n,
    outcome: 'SKIPPED',
    reason: whySkipped(subscription, { target, timing }),
  };
  if (migration.reason !== null) return migration;
  try {
    const request = { timing, proration: 'PER_DAY' } as const;
    const { decision, amounts } = await quoteChange(em, {
      subscription,
      to: { plan: target, quantity },
      request,
      at,
    });
    const effectiveAt = decision.effective === 'now' ? at : periodEnd;
    const quoted = { ...migration, effectiveAt, dueNowMinor: amounts.dueNowMinor };
    if (dryRun) return { ...quoted, outcome: 'PLANNED' };
    const { error } = await changePlan(deps, systemActor(accountId), {
      idempotencyKey: idempotencyKey === undefined ? undefined : keyOf(idempotencyKey, target),
      subscriptionId: publicId('subscription', subscriptionId),
      planCode,
      ...request,
    });
    if (error) throw error;
    return { ...quoted, outcome: 'MIGRATED' };
  } catch (error) {
    if (!(error instanceof BillingError)) throw error;
    return { ...migration, outcome: 'FAILED', reason: `${error.code}: ${error.message}` };
  }
}

/** Of any length that a key may have, and another for the next version: a repeat then is no repeat of this move. */
const keyOf = (idempotencyKey: string, target: Plan): string =>
  `migrate-${hashOf({ idempotencyKey, target: target.id })}`;

/** What the customer has arranged for stays as it is. */
function whySkipped(
  { status, cancelAt, pendingPlanId, pendingQuantity }: Subscription,
  { target, timing }: { target: Plan; timing: MigrateSubscribersInput['timing'] },
): string | null {
  if (status === 'INCOMPLETE') return 'its first invoice is not paid';
  if (status === 'PAUSED') return 'it is paused';
  if (cancelAt != null) return 'it ends with this period';
  const scheduled = pendingPlanId === target.id && pendingQuantity == null;
  if (scheduled) return timing === 'PERIOD_END' ? 'it is scheduled already' : null;
  return pendingPlanId != null || pendingQuantity != null ? 'another change is scheduled' : null;
}
