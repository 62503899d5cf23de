import type { TaskList } from 'graphile-worker';
import { advanceTestClocks } from './account/advanceTestClock.js';
import { hasTestClock } from './account/testClock.js';
import type { Core } from './app.js';
import type { Retention } from './config.js';
import { collectDueInvoices, retryOpenInvoices } from './invoice/collectInvoice.js';
import { settlersOf } from './invoice/settlers.js';
import { announceExpiringMethods } from './payment/announceExpiringMethods.js';
import { readProviderEvents } from './payment/readProviderEvents.js';
import { reconcileAttachments } from './payment/reconcileAttachments.js';
import { reconcilePayments } from './payment/reconcilePayments.js';
import { reconcileRefunds } from './payment/reconcileRefunds.js';
import type { Deps } from './platform/deps.js';
import type { DueSweep } from './platform/dueWork.js';
import type { LoggedEvent } from './platform/eventLog.js';
import { pruneKeys } from './platform/idempotency.js';
import { uuidOf } from './platform/ids.js';
import type { Sink } from './platform/relay.js';
import type { Sweep } from './platform/sweeps.js';
import { followInvoice } from './subscription/followInvoice.js';
import { advanceDueSubscriptions } from './subscription/renewDue.js';
import { finalizeDueInvoices } from './usage/finalizeDrafts.js';
import { announceIfLow, announceLowWallets } from './wallet/announceLow.js';
import { rechargeDueWallets, rechargeIfLow } from './wallet/autoRecharge.js';
import { expireDueCredit } from './wallet/expireCredit.js';
import { expireDueHolds } from './wallet/expireHolds.js';
import { planDeliveries } from './webhook/planDeliveries.js';
import { pruneDeliveries } from './webhook/pruneDeliveries.js';
import { pruneEvents } from './webhook/pruneEvents.js';

const rechargeJob = 'wallet.recharge';

/** How long what may be thrown away is kept, and who may throw away what is append-only. */
export interface Keeping extends Pick<Core, 'asOwner'> {
  readonly retention: Retention;
}

/**
 * What comes due on an account's rows. The order is that of one billing night; a test clock goes through it at each time
 * something is due. All but the clock and the outside world is said here: add a line, and both know it.
 */
export const dueSweepsOf = (deps: Omit<Deps, 'dueWork'>): DueSweep[] => [
  {
    name: 'reconcilePayments',
    due: ['payment', 'reconcile_at'],
    run: (of) => reconcilePayments(deps, settlersOf(deps).payment, of),
  },
  {
    name: 'reconcileAttachments',
    due: ['payment_method', 'reconcile_at'],
    run: (of) => reconcileAttachments(deps, of),
  },
  {
    name: 'reconcileRefunds',
    due: ['refund', 'reconcile_at'],
    run: (of) => reconcileRefunds(deps, settlersOf(deps).refund, of),
  },
  // Before the renewals: credit that ends with a period doesn't pay the next.
  { name: 'expireHolds', due: ['wallet_hold', 'expiry_due_at'], run: (of) => expireDueHolds(deps, of) },
  { name: 'expireCredit', due: ['wallet_grant', 'expiry_due_at'], run: (of) => expireDueCredit(deps, of) },
  {
    name: 'advanceSubscriptions',
    due: ['subscription', 'due_at'],
    run: (of) => advanceDueSubscriptions(deps, of),
  },
  { name: 'finalizeInvoices', due: ['invoice', 'finalize_at'], run: (of) => finalizeDueInvoices(deps, of) },
  { name: 'collectInvoices', due: ['invoice', 'next_payment_attempt_at'], run: (of) => collectDueInvoices(deps, of) },
  { name: 'announceLowWallets', due: ['wallet', 'low_due_at'], run: (of) => announceLowWallets(deps, of) },
  { name: 'rechargeWallets', due: ['wallet', 'recharge_due_at'], run: (of) => rechargeDueWallets(deps, of) },
  {
    name: 'announceExpiringMethods',
    due: ['payment_method', 'expiry_notice_at'],
    run: (of) => announceExpiringMethods(deps, of),
  },
];

/** What happens by itself: each sweep finds the rows whose due time has passed, and last what is too old to be kept. */
export const sweepsOf = (deps: Deps, { retention, asOwner }: Keeping): Record<string, Sweep> => ({
  ...Object.fromEntries(dueSweepsOf(deps).map(({ name, run }): [string, Sweep] => [name, () => run({})])),
  advanceTestClocks: () => advanceTestClocks(deps),
  readProviderEvents: () => readProviderEvents(deps, settlersOf),
  pruneDeliveries: () => pruneDeliveries(deps, { days: retention.deliveryDays }),
  pruneEvents: () => pruneEvents({ ...deps, asOwner }, { days: retention.eventDays }),
  pruneKeys: () => pruneKeys(deps),
});

/** Job name → handler. A job only does sooner what a sweep would do. */
export const jobsOf = (deps: Deps): TaskList => ({
  [rechargeJob]: async (payload) => {
    const { accountId } = payload as { accountId: string };
    await announceIfLow(deps, accountId);
    await rechargeIfLow(deps, accountId);
  },
});

/** Where the relay hands every event; sockets hear of it before any of these. */
export const sinksOf = (deps: Omit<Deps, 'dueWork'>): Sink[] => [
  { name: 'webhooks', handleBatch: (events) => planDeliveries(deps, events) },
  { name: 'reactions', handle: (event) => react(deps, event) },
];

/** What one feature does because of another's event. Every reaction bears being repeated. */
async function react(deps: Omit<Deps, 'dueWork'>, { accountId, type, data }: LoggedEvent): Promise<void> {
  switch (type) {
    case 'invoice.paid':
    case 'invoice.failed':
    case 'invoice.uncollectible':
      return followInvoice(deps, { accountId, invoiceId: uuidOf('invoice', String(data.id))! });
    case 'payment_method.added':
    case 'payment_method.updated':
      return data.is_default ? retryOpenInvoices(deps, accountId) : undefined;
    case 'wallet.drawn_down':
    case 'wallet.updated':
    case 'wallet.credit_expired':
    case 'wallet.hold_created':
      // A job would run at some other time of the account; its own clock looks after what is due.
      if (await hasTestClock(deps.db.orm.em.fork(), accountId)) return;
      return deps.jobs.add(rechargeJob, { accountId }, { jobKey: `recharge-${accountId}` });
  }
}
