import { accountById } from '../account/createAccount.js';
import { type Money, parseMoney } from '../domain/money.js';
import { paymentsByIds } from '../payment/paymentMethods.js';
import { readEvents, requireKept } from '../platform/eventLog.js';
import { publicId } from '../platform/ids.js';
import { correctionsByIds } from '../usage/corrections.js';
import { correctUsage } from '../usage/correctUsage.js';
import { recordUsage } from '../usage/recordUsage.js';
import { presentUsage } from '../usage/usage.present.js';
import { usageHistory, usageSummary } from '../usage/usageSummary.js';
import { configureAutoRecharge } from '../wallet/configureAutoRecharge.js';
import { walletBalance } from '../wallet/ledger.js';
import { topUp } from '../wallet/topUp.js';
import { LedgerTransaction } from '../wallet/wallet.entity.js';
import { presentWallet } from '../wallet/wallet.present.js';
import { walletTransactions, walletView } from '../wallet/wallets.js';
import {
  autoRechargeBody,
  eventsQuery,
  historyQuery,
  pageQuery,
  readQuery,
  topUpBody,
  usageCorrectionsBody,
  usageEventsBody,
} from './parseRest.js';
import {
  presentCorrection,
  presentEvent,
  presentProposal,
  presentTopUp,
  presentTransaction,
  presentUsageResult,
} from './presentRest.js';
import { type Call, type Route, route } from './restRoute.js';

/** Usage, the wallet and the event log. */
export const meteringRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/usage',
    scope: 'usage:read',
    handle: async ({ deps, em, accountId }) => {
      const { timeZone } = await accountById(em, accountId);
      return { body: presentUsage(await usageSummary(em, { accountId, clock: deps.clock }), timeZone) };
    },
  }),
  route({
    method: 'GET',
    path: '/usage/history',
    scope: 'usage:read',
    handle: async ({ em, accountId, query }) => {
      const { period } = readQuery(historyQuery, query);
      const { timeZone } = await accountById(em, accountId);
      const summaries = await usageHistory(em, { accountId, last: period });
      return { body: { history: summaries.map((summary) => presentUsage(summary, timeZone)) } };
    },
  }),
  route({
    method: 'POST',
    path: '/usage/events',
    scope: 'usage:write',
    anyAccount: true,
    body: usageEventsBody,
    bulk: true,
    handle: async ({ deps, actor }, events) => {
      const { results, watermark } = await recordUsage(deps, actor, events);
      return { body: { results: results.map(presentUsageResult), watermark } };
    },
  }),
  route({
    method: 'POST',
    path: '/usage/corrections',
    scope: 'usage:correct',
    body: usageCorrectionsBody,
    handle: async ({ deps, actor, em, accountId, idempotencyKey }, { corrections }) => {
      const { correctionIds, proposals, replayed } = await correctUsage(deps, actor, { idempotencyKey, corrections });
      const made = await correctionsByIds(em, accountId, correctionIds);
      const { timeZone } = await accountById(em, accountId);
      const body = {
        usage: presentUsage(await usageSummary(em, { accountId, clock: deps.clock }), timeZone),
        corrections: correctionIds.map((id) => presentCorrection(made.get(id)!)),
        proposals: proposals.map(presentProposal),
      };
      return { body, replayed };
    },
  }),

  route({
    method: 'GET',
    path: '/wallet',
    scope: 'wallet:read',
    handle: async (call) => ({ body: await presentOwnWallet(call) }),
  }),
  route({
    method: 'POST',
    path: '/wallet/top-up',
    scope: 'wallet:write',
    body: topUpBody,
    handle: async (call, { amount, currency, payment_method_id }) => {
      const { deps, actor, em, accountId, idempotencyKey } = call;
      const money = parseMoney(amount, currency ?? (await accountById(em, accountId)).currency);
      const input = { idempotencyKey, amount: money, paymentMethodId: payment_method_id };
      const { paymentId, replayed, error } = await topUp(deps, actor, input);
      if (error && error.code !== 'UNAVAILABLE') {
        return { failure: { error, more: { payment_id: publicId('payment', paymentId) } }, replayed };
      }
      return { status: error ? 202 : 201, body: await presentOwnTopUp(call, paymentId), replayed };
    },
  }),
  route({
    method: 'PUT',
    path: '/wallet/auto-recharge',
    scope: 'wallet:write',
    body: autoRechargeBody,
    handle: async (call, { enabled, monthly_limit: limit, ...amounts }) => {
      const { deps, actor, em, accountId, idempotencyKey } = call;
      const { currency } = await accountById(em, accountId);
      const money = (field: 'threshold' | 'amount'): Money | undefined => {
        const text = amounts[field];
        return text === undefined ? undefined : parseMoney(text, currency, field);
      };
      const input = {
        idempotencyKey,
        enabled,
        threshold: money('threshold'),
        amount: money('amount'),
        monthlyLimit: limit == null ? limit : parseMoney(limit, currency, 'monthly_limit'),
      };
      const { replayed } = await configureAutoRecharge(deps, actor, input);
      return { body: await presentOwnWallet(call), replayed };
    },
  }),
  route({
    method: 'GET',
    path: '/wallet/transactions',
    scope: 'wallet:read',
    handle: async ({ em, accountId, query }) => {
      const { limit, after } = readQuery(pageQuery('walletTransaction'), query);
      const { nodes, pageInfo } = await walletTransactions(em, accountId, { first: limit, after });
      const transactions = nodes.map(presentTransaction);
      return { body: { transactions }, next: pageInfo.hasNextPage ? transactions.at(-1)?.id : undefined };
    },
  }),

  route({
    method: 'GET',
    path: '/events',
    scope: 'events:read',
    handle: async ({ em, accountId, query }) => {
      const { limit, after } = readQuery(eventsQuery, query);
      if (after !== undefined) await requireKept(em, { accountId, after });
      const found = await readEvents(em, { accountId, after: after ?? 0n, limit: limit + 1 });
      const events = found.slice(0, limit);
      return {
        body: { events: events.map(presentEvent) },
        next: found.length > limit ? String(events.at(-1)?.seq) : undefined,
      };
    },
  }),
];

async function presentOwnWallet({ deps, em, accountId }: Call): Promise<object> {
  return presentWallet(await walletView(deps, em, accountId));
}

/** With the balance after this very top-up, so that a repeat gets the same answer whatever happened since. */
async function presentOwnTopUp({ em, accountId }: Call, paymentId: string): Promise<object> {
  const payment = (await paymentsByIds(em, accountId, [paymentId])).get(paymentId)!;
  const movement = await em.findOne(LedgerTransaction, { accountId, type: 'top_up', referenceId: paymentId });
  if (payment.status === 'SUCCEEDED' && movement?.walletBalanceAfterMinor == null) {
    throw new Error(`top-up ${paymentId} is paid but not in the ledger`);
  }
  const balanceMinor =
    movement?.walletBalanceAfterMinor ?? (await walletBalance(em, { accountId, currency: payment.currency }));
  return presentTopUp(payment, balanceMinor);
}
