import type { EntityManager } from '@mikro-orm/postgresql';
import { invalid } from '../domain/errors.js';
import { isCurrency } from '../domain/money.js';
import { isTimeZone } from '../domain/period.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { newId } from '../platform/ids.js';
import { Account } from './account.entity.js';

export interface CreateAccountInput {
  /** A uuid, for accounts that must be the same everywhere; default a new one. */
  id?: string | undefined;
  name: string;
  /** ISO 4217, default USD. */
  currency?: string | undefined;
  /** IANA name, default UTC. */
  timeZone?: string | undefined;
}

/** Opens an account. For the command line only: no door gives an account the right to make another. */
export async function createAccount(deps: Pick<Deps, 'db' | 'clock'>, input: CreateAccountInput): Promise<Account> {
  const name = input.name.trim();
  const currency = input.currency ?? 'USD';
  const timeZone = input.timeZone ?? 'UTC';
  if (name.length === 0 || name.length > 200)
    throw invalid(`An account's name has 1 to 200 characters, found ${name.length}`, 'name');
  if (!isCurrency(currency)) throw invalid(`'${currency}' is not an ISO 4217 currency code such as USD`, 'currency');
  if (!isTimeZone(timeZone)) throw invalid(`'${timeZone}' is not an IANA time zone such as Europe/Berlin`, 'timeZone');

  const id = input.id ?? newId();
  return transact(deps, id, async ({ em, now }) => {
    const account = em.create(Account, {
      id,
      name,
      currency,
      timeZone,
      invoicePrefix: invoicePrefix(name, id),
      createdAt: now,
    });
    await em.persist(account).flush();
    return account;
  });
}

/** Letters of the name, and four of the id so that two accounts of one name have different invoice numbers. */
function invoicePrefix(name: string, id: string): string {
  const letters = name
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9]/g, '')
    .slice(0, 6)
    .toUpperCase();
  return `${letters || 'ACCT'}${id.slice(-4).toUpperCase()}`;
}

/** The account of an actor; it was there when the actor was made, so its absence is a broken invariant. */
export async function accountById(em: EntityManager, accountId: string): Promise<Account> {
  return em.findOneOrFail(Account, { id: accountId });
}
