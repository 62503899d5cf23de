import { LockMode } from '@mikro-orm/postgresql';
import { BillingError } from '../domain/errors.js';
import { paymentError } from '../payment/charge.js';
import { Payment } from '../payment/payment.entity.js';
import { defaultPaymentMethod } from '../payment/paymentMethods.js';
import { type Actor, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey, inFlight } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { collectInvoice, isPaymentUnderWay } from './collectInvoice.js';
import { Invoice } from './invoice.entity.js';
import { ownInvoice } from './invoices.js';
import { intendInvoicePayment } from './issueInvoice.js';

export interface PayInvoiceInput {
  idempotencyKey?: string | undefined;
  invoiceId: string;
}

export interface PayInvoiceAnswer {
  invoiceId: string;
  replayed: boolean;
  error: BillingError | undefined;
}

/** Collects an open invoice now from the default payment method. ILLEGAL_STATE when it isn't open or has no method. */
export async function payInvoice(
  deps: Pick<Deps, 'db' | 'clock' | 'payments' | 'log'>,
  actor: Actor,
  { idempotencyKey, ...input }: PayInvoiceInput,
): Promise<PayInvoiceAnswer> {
  requireScope(actor, 'invoices:write');
  const { accountId } = actor;
  const claim = await transact(deps, accountId, async (tx) => {
    const { id } = await ownInvoice(tx.em, accountId, input.invoiceId);
    const claimed = await claimKey(tx, {
      operation: 'payInvoice',
      key: idempotencyKey,
      input,
      answer: { invoiceId: id, paymentId: newId() },
    });
    if (claimed.replayed) return claimed;
    const invoice = await tx.em.findOneOrFail(
      Invoice,
      { accountId, id },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    if (invoice.status !== 'OPEN') {
      throw new BillingError(
        'ILLEGAL_STATE',
        `Invoice ${invoice.number ?? input.invoiceId} is ${invoice.status}, expected OPEN`,
        {
          field: ['invoiceId'],
        },
      );
    }
    if (await isPaymentUnderWay(tx, id))
      throw new BillingError('CONFLICT', 'A payment of this invoice is under way', {
        field: ['invoiceId'],
        retryable: true,
      });
    const method = await defaultPaymentMethod(tx.em, accountId);
    if (!method)
      throw new BillingError('ILLEGAL_STATE', 'The account has no payment method: add one first', {
        field: ['invoiceId'],
      });
    intendInvoicePayment(tx, invoice, method, claimed.answer.paymentId);
    return claimed;
  });
  const { invoiceId, paymentId } = claim.answer;
  if (!claim.replayed) await collectInvoice(deps, { accountId, paymentId });

  const payment = await deps.db.orm.em.fork().findOneOrFail(Payment, { accountId, id: paymentId });
  if (claim.replayed && payment.status === 'PENDING') throw inFlight();
  return { invoiceId, replayed: claim.replayed, error: paymentError(payment) };
}
