import { Account } from '../account/account.entity.js';
import { type ProviderEvent, type ProviderNews, ProviderStillWorking } from '../integrations/payments/provider.js';
import type { Tx } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { callProvider } from './callProvider.js';
import { followPaymentMethod } from './followPaymentMethod.js';
import { Payment, Refund } from './payment.entity.js';
import type { Settle } from './reconcilePayments.js';
import type { SettleRefund } from './reconcileRefunds.js';
import { recordDispute } from './recordDispute.js';
import { methodIdOfKey, settleAttachment } from './settleAttachment.js';

type Needs = Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>;

/** The use cases that settle a payment, by what is paid, and a refund, by what it gives back; the same that settle the synchronous answer. */
export interface Settlers {
  payment: Record<Payment['purpose'], Settle>;
  refund: Record<Refund['purpose'], SettleRefund>;
}

/** Thrown in a transaction whose event has had its effect meanwhile. */
class AlreadyApplied extends Error {
  override readonly name = 'AlreadyApplied';
}

/**
 * Brings what an event of the provider speaks of to the state it has there now. Events come late, twice and in any order, and
 * all end in the same state, because none is believed: each only makes us look. Its id is written in the transaction of its
 * effect. Throws `ProviderUnavailable` when there was no answer within `deadlineMs`: the event is then to be sent again.
 */
export async function applyProviderEvent(
  deps: Needs,
  settlersOf: (deps: Needs) => Settlers,
  { event, deadlineMs }: { event: ProviderEvent; deadlineMs?: number },
): Promise<void> {
  const { payments, log } = deps;
  const em = deps.db.orm.em.fork();
  if ((await appliedEvents(em, [event.ref])).has(event.ref)) return;

  let news: ProviderNews | undefined;
  try {
    news = await callProvider(payments.events!.read(event), deadlineMs);
  } catch (error) {
    if (!(error instanceof ProviderStillWorking)) throw error;
    return log.debug(
      { event: event.ref, type: event.type },
      'an event about what has no end yet; another will tell it',
    );
  }
  const accountId = news && (await ownerOf(deps, news));
  if (!news || !accountId)
    return log.debug({ event: event.ref, type: event.type }, 'an event that does not concern billing');

  const noting = { ...deps, db: { ...deps.db, alongside: (tx: Tx) => noteEvent(tx, event) } };
  try {
    await settle(noting, settlersOf(noting), { accountId, news });
  } catch (error) {
    if (!(error instanceof AlreadyApplied)) throw error;
  }
}

async function settle(
  deps: Needs,
  settlers: Settlers,
  { accountId, news }: { accountId: string; news: ProviderNews },
): Promise<void> {
  const em = deps.db.orm.em.fork();
  switch (news.about) {
    case 'charge': {
      if (!uuid.test(news.paymentId)) return;
      const payment = await em.findOne(Payment, { accountId, id: news.paymentId });
      if (!payment) return;
      return settlers.payment[payment.purpose]({ accountId, paymentId: payment.id, outcome: news.outcome });
    }
    case 'refund': {
      if (!uuid.test(news.refundId)) return;
      const refund = await em.findOne(Refund, { accountId, id: news.refundId });
      if (!refund) return;
      return settlers.refund[refund.purpose]({ accountId, refundId: refund.id, outcome: news.outcome });
    }
    case 'attachment': {
      const methodId = methodIdOfKey(news.key);
      if (methodId) await settleAttachment(deps, { accountId, methodId, outcome: news.outcome });
      return;
    }
    case 'method':
      return followPaymentMethod(deps, { accountId, ...news });
    case 'dispute':
      if (!uuid.test(news.paymentId)) return;
      return recordDispute(deps, { accountId, ...news });
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whose object it is: by our own id on it, else by the customer it belongs to. Undefined: another system's on the same key. */
async function ownerOf({ db, payments }: Needs, { accountId, customerRef }: ProviderNews): Promise<string | undefined> {
  const em = db.orm.em.fork();
  if (accountId !== undefined) {
    return uuid.test(accountId) ? (await em.findOne(Account, { id: accountId }))?.id : undefined;
  }
  if (customerRef === undefined) return undefined;
  const [customer] = await rowsOf(
    em,
    sql<{ account_id: string }>`
      select account_id from payment_customer where provider = ${payments.name} and customer_ref = ${customerRef} limit 1`,
  );
  return customer?.account_id;
}

/** Which of these events have had their effect. */
export async function appliedEvents(
  em: Parameters<typeof rowsOf>[0],
  refs: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await rowsOf(
    em,
    sql<{ event_ref: string }>`select event_ref from provider_event where event_ref = any(${refs}::text[])`,
  );
  return new Set(rows.map(({ event_ref }) => event_ref));
}

/** Of two that apply one event at once the second waits here for the first, and then finds that there is nothing left. */
async function noteEvent(tx: Tx, { ref, type }: ProviderEvent): Promise<void> {
  const noted = await rowsOf(
    tx.em,
    sql`insert into provider_event (account_id, id, event_ref, type, created_at)
        values (${tx.accountId}, ${newId()}, ${ref}, ${type}, ${tx.now})
        on conflict (account_id, event_ref) do nothing returning id`,
  );
  if (noted.length === 0) throw new AlreadyApplied(ref);
}
