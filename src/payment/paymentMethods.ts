import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { Account } from '../account/account.entity.js';
import { notFound } from '../domain/errors.js';
import { type BatchFunction, byIdsOf } from '../platform/batch.js';
import { uuidOf } from '../platform/ids.js';
import { rowsOf, sql } from '../platform/sql.js';
import { Payment, PaymentMethod, Refund } from './payment.entity.js';

/** What the account can pay with, the default first, then newest first. */
export const activePaymentMethods = (em: EntityManager, accountId: string): Promise<PaymentMethod[]> =>
  em.find(
    PaymentMethod,
    { accountId, status: 'ACTIVE' },
    { disableIdentityMap: true, orderBy: { isDefault: 'desc', id: 'desc' } },
  );

export const defaultPaymentMethod = (em: EntityManager, accountId: string): Promise<PaymentMethod | null> =>
  em.findOne(PaymentMethod, { accountId, status: 'ACTIVE', isDefault: true });

/** The default methods of many accounts, by account; one without has no entry. */
export const defaultPaymentMethods = async (
  em: EntityManager,
  accountIds: readonly string[],
): Promise<Map<string, PaymentMethod>> => {
  const methods = await em.find(PaymentMethod, {
    accountId: { $in: [...accountIds] },
    status: 'ACTIVE',
    isDefault: true,
  });
  return new Map(methods.map((method) => [method.accountId, method]));
};

/** The account's own method with this public id, ready to pay; NOT_FOUND otherwise. */
export async function ownPaymentMethod(em: EntityManager, accountId: string, id: string): Promise<PaymentMethod> {
  const uuid = uuidOf('paymentMethod', id);
  const method = uuid && (await em.findOne(PaymentMethod, { accountId, id: uuid, status: 'ACTIVE' }));
  if (!method) throw notFound('payment method', id, 'paymentMethodId');
  return method;
}

/** Orders changes of an account's methods, with those that are not there yet. */
export const lockAccount = (em: EntityManager, accountId: string): Promise<unknown> =>
  em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });

/** The account's active methods as they are now, locked in one order. */
export async function lockActivePaymentMethods(em: EntityManager, accountId: string): Promise<PaymentMethod[]> {
  await em.flush();
  return em.find(
    PaymentMethod,
    { accountId, status: 'ACTIVE' },
    { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: 'asc' }, refresh: true },
  );
}

/** Makes an active method the only default. The caller holds the lock on the account's methods. */
export async function makeDefault(em: EntityManager, accountId: string, id: string): Promise<void> {
  await em.flush();
  // Two statements, because the unique index on the default is checked row by row.
  await rowsOf(
    em,
    sql`update payment_method set is_default = false where account_id = ${accountId} and is_default and id <> ${id}`,
  );
  await rowsOf(
    em,
    sql`update payment_method set is_default = true where account_id = ${accountId} and id = ${id} and status = 'ACTIVE'`,
  );
}

export const paymentMethodsByIds: BatchFunction<PaymentMethod> = byIdsOf(PaymentMethod);

export const paymentsByIds: BatchFunction<Payment> = byIdsOf(Payment);
export const refundsByIds: BatchFunction<Refund> = byIdsOf(Refund);

/** Payments by what they pay (an invoice), oldest first. */
export const paymentsBySubjectIds: BatchFunction<Payment[]> = async (em, accountId, ids) =>
  Map.groupBy(
    await em.find(
      Payment,
      { accountId, subjectId: { $in: [...ids] } },
      { disableIdentityMap: true, orderBy: { id: 'asc' } },
    ),
    (payment) => payment.subjectId,
  );
