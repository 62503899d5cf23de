import type { EntityManager } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import type { Tx } from '../platform/db.js';
import { rowsOf, sql } from '../platform/sql.js';
import type { Subscription } from './subscription.entity.js';

/**
 * Is a renewal of this subscription unpaid although it has been tried to collect: is it PAST_DUE? One that was given up
 * counts until a later one is paid, or the fee of a period that a resumption by hand began.
 */
export async function failsToPay(em: EntityManager, { accountId, id }: Subscription): Promise<boolean> {
  await em.flush();
  const [row] = await rowsOf(
    em,
    sql<{ fails: boolean }>`
      select coalesce(bool_or(status = 'OPEN' and failed_attempts > 0 and reason = 'subscription_cycle'), false)
        or coalesce((array_agg(status order by created_at desc, id desc)
          filter (where status in ('PAID', 'UNCOLLECTIBLE')))[1] = 'UNCOLLECTIBLE', false) as fails
      from invoice where account_id = ${accountId} and subscription_id = ${id}
        and reason in ('subscription_cycle', 'subscription_resume')`,
  );
  return row!.fails;
}

/**
 * Part of a statement over `subscription`: has an invoice of it an attempt due when its period ends, or before? What that comes
 * to decides whether there is a next period, so it goes first.
 */
export const retryIsDue = sql<boolean>`exists (
  select 1 from invoice retried where retried.account_id = subscription.account_id
    and retried.subscription_id = subscription.id and retried.reason = 'subscription_cycle' and retried.status = 'OPEN'
    and retried.next_payment_attempt_at <= subscription.due_at)`;

/** Those of these subscriptions of which that is so. */
export async function retriedFirst(em: EntityManager, subscriptions: readonly Subscription[]): Promise<Set<string>> {
  const accountIds = subscriptions.map(({ accountId }) => accountId);
  const rows = await rowsOf(
    em,
    sql<{ id: string }>`
      select id from subscription where account_id = any(${accountIds}::uuid[])
        and id = any(${subscriptions.map(({ id }) => id)}::uuid[]) and ${retryIsDue}`,
  );
  return new Set(rows.map(({ id }) => id));
}

/**
 * CONFLICT while the fee of the current period is being charged, or about to be: what a change at once gives back and charges
 * depends on whether that is paid.
 */
export async function refuseWhileCharging({ em, now }: Tx, subscription: Subscription): Promise<void> {
  const owed = await owedFee(em, subscription, now);
  if (!owed?.charging) return;
  throw new BillingError('CONFLICT', 'The fee of the current period is being charged: try again when that has ended', {
    field: ['subscriptionId'],
    retryable: true,
  });
}

/**
 * ILLEGAL_STATE while the fee of the current period is owed: nothing could be given back of it, and the rest of the period
 * would be charged on the new plan and, when the invoice is paid at last, on the old one too.
 */
export async function refuseUnpaid(em: EntityManager, subscription: Subscription, at: Date): Promise<void> {
  const owed = await owedFee(em, subscription, at);
  if (!owed || owed.charging) return;
  throw new BillingError(
    'ILLEGAL_STATE',
    `Invoice ${owed.number} for the current period is OPEN, expected PAID: pay it first, or change at the period's end`,
    { field: ['subscriptionId'] },
  );
}

/** The unpaid invoice for the current period's fee, and whether a charge of it has no answer yet or is due. */
async function owedFee(
  em: EntityManager,
  { accountId, id, periodEnd }: Subscription,
  now: Date,
): Promise<{ number: string; charging: boolean } | undefined> {
  const [owed] = await rowsOf(
    em,
    sql<{ number: string; charging: boolean }>`
      select invoice.number, coalesce(invoice.next_payment_attempt_at <= ${now}, false) or exists (
          select 1 from payment where payment.account_id = invoice.account_id and payment.subject_id = invoice.id
            and payment.status = 'PENDING') as charging
      from invoice where invoice.account_id = ${accountId} and invoice.subscription_id = ${id}
        and invoice.period_end = ${periodEnd} and invoice.reason = 'subscription_cycle' and invoice.status = 'OPEN' limit 1`,
  );
  return owed;
}
