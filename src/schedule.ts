import type { TaskList } from 'graphile-worker';
import { collectDueInvoices, retryOpenInvoices, settleInvoicePayment } from './invoice/collectInvoice.js';
import { settleCreditNoteRefund } from './invoice/refundCreditNote.js';
import { reconcilePayments } from './payment/reconcilePayments.js';
import { reconcileRefunds } from './payment/reconcileRefunds.js';
import type { Deps } from './platform/deps.js';
import type { LoggedEvent } from './platform/eventLog.js';
import { uuidOf } from './platform/ids.js';
import type { Sink } from './platform/relay.js';
import type { Sweep } from './platform/sweeps.js';
import { followInvoice } from './subscription/followInvoice.js';
import { advanceDueSubscriptions } from './subscription/renew.js';
import { finalizeDueInvoices } from './usage/finalizeDrafts.js';
import { rechargeDueWallets, rechargeIfLow, settleRecharge } from './wallet/autoRecharge.js';
import { settleTopUp } from './wallet/topUp.js';
import { type Delivering, deliver, hurryDueDeliveries } from './webhook/deliver.js';
import { deliverJob, planDeliveries } from './webhook/planDeliveries.js';

const rechargeJob = 'wallet.recharge';

/** What happens by itself: each sweep finds the rows whose due time has passed. The order is that of one billing night. */
export const sweepsOf = (deps: Deps): Record<string, Sweep> => ({
  reconcilePayments: () =>
    reconcilePayments(deps, {
      invoice: (settled) => settleInvoicePayment(deps, settled),
      top_up: (settled) => settleTopUp(deps, settled),
      recharge: (settled) => settleRecharge(deps, settled),
    }),
  reconcileRefunds: () => reconcileRefunds(deps, (settled) => settleCreditNoteRefund(deps, settled)),
  advanceSubscriptions: () => advanceDueSubscriptions(deps),
  finalizeInvoices: () => finalizeDueInvoices(deps),
  collectInvoices: () => collectDueInvoices(deps),
  rechargeWallets: () => rechargeDueWallets(deps),
  hurryDeliveries: () => hurryDueDeliveries(deps),
});

/** Job name → handler. A job only does sooner what a sweep would do. */
export const jobsOf = (deps: Deps & Delivering): TaskList => ({
  [deliverJob]: (payload) => deliver(deps, payload as { accountId: string; deliveryId: string }),
  [rechargeJob]: (payload) => rechargeIfLow(deps, (payload as { accountId: string }).accountId),
});

/** Where the relay hands every event; sockets hear of it before any of these. */
export const sinksOf = (deps: Deps): Sink[] => [
  { name: 'webhooks', handle: (event) => planDeliveries(deps, event) },
  { name: 'reactions', handle: (event) => react(deps, event) },
];

/** What one feature does because of another's event. Every reaction bears being repeated. */
async function react(deps: Deps, { accountId, type, data }: LoggedEvent): Promise<void> {
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
      return deps.jobs.add(rechargeJob, { accountId }, { jobKey: `recharge-${accountId}` });
  }
}
