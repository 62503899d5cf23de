import { LockMode } from '@mikro-orm/postgresql';
import type { Decimal } from '../domain/decimal.js';
import { invalid } from '../domain/errors.js';
import { type Actor, requireOperator, requireScope } from '../platform/actor.js';
import { transact } from '../platform/db.js';
import type { Deps } from '../platform/deps.js';
import { claimKey } from '../platform/idempotency.js';
import { newId } from '../platform/ids.js';
import { Account, TaxRate } from './account.entity.js';

export interface TaxRateInput {
  name: string;
  /** 19 for 19 %. */
  percent: Decimal;
  inclusive: boolean;
}

/** What is left out stays as it is. */
export interface BillingSettingsInput {
  idempotencyKey?: string | undefined;
  gracePeriodHours?: number | undefined;
  retryAfterDays?: readonly number[] | undefined;
  dunningEnd?: Account['dunningEnd'] | undefined;
  taxExempt?: boolean | undefined;
  /** All of them, in the order of the invoice: they replace the ones before. */
  taxRates?: readonly TaxRateInput[] | undefined;
}

/** Sets how an account is billed. Holds for invoices finalised from now on. For operators: it changes tax and policy. */
export async function updateBillingSettings(
  deps: Pick<Deps, 'db' | 'clock'>,
  actor: Actor,
  { idempotencyKey, ...input }: BillingSettingsInput,
): Promise<{ replayed: boolean }> {
  requireScope(actor, 'invoices:write');
  requireOperator(actor);
  checkSettings(input);
  const { accountId } = actor;
  return transact(deps, accountId, async (tx) => {
    const { em, now } = tx;
    const claimed = await claimKey(tx, { operation: 'updateBillingSettings', key: idempotencyKey, input, answer: {} });
    if (claimed.replayed) return { replayed: true };
    const account = await em.findOneOrFail(Account, { id: accountId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    account.gracePeriodHours = input.gracePeriodHours ?? account.gracePeriodHours;
    account.retryAfterDays = input.retryAfterDays ? [...input.retryAfterDays] : account.retryAfterDays;
    account.dunningEnd = input.dunningEnd ?? account.dunningEnd;
    account.taxExempt = input.taxExempt ?? account.taxExempt;
    if (input.taxRates) {
      await em.nativeUpdate(TaxRate, { accountId, archivedAt: null }, { archivedAt: now });
      for (const [position, { name, percent, inclusive }] of input.taxRates.entries()) {
        em.create(TaxRate, {
          accountId,
          id: newId(),
          name: name.trim(),
          percent: percent.toFixed(),
          inclusive,
          position,
          createdAt: now,
          archivedAt: null,
        });
      }
    }
    return { replayed: false };
  });
}

function checkSettings({ gracePeriodHours: hours, retryAfterDays: days, taxRates: rates }: BillingSettingsInput): void {
  if (hours !== undefined && !(Number.isInteger(hours) && hours >= 0 && hours <= 72))
    throw invalid(`Expected 0 to 72 whole hours, found ${hours}`, 'gracePeriodHours');
  const ascend = days?.every((day, i) => Number.isInteger(day) && day > (days[i - 1] ?? 0) && day <= 60);
  if (days && !(days.length <= 10 && ascend))
    throw invalid(
      `Expected at most 10 ascending whole days from 1 to 60, found [${days.slice(0, 20).join(', ')}]`,
      'retryAfterDays',
    );
  if (rates && rates.length > 10) throw invalid(`Expected at most 10 tax rates, found ${rates.length}`, 'taxRates');
  for (const [i, { name, percent }] of rates?.entries() ?? []) {
    if (name.trim().length === 0 || name.length > 100)
      throw invalid(`A tax rate's name has 1 to 100 characters, found ${name.length}`, 'taxRates', i, 'name');
    if (percent.lessThan(0) || percent.greaterThan(100))
      throw invalid(`Expected 0 to 100 percent, found ${percent.toFixed()}`, 'taxRates', i, 'percent');
  }
}
