import type { EntityManager } from '@mikro-orm/postgresql';
import { Decimal } from '../domain/decimal.js';
import type { TaxTerms } from '../domain/tax.js';
import { type Account, TaxRate } from './account.entity.js';

/** How an account is billed. */
export interface BillingSettings
  extends Pick<Account, 'gracePeriodHours' | 'retryAfterDays' | 'dunningEnd' | 'taxExempt'> {
  taxRates: TaxTerms[];
}

export async function billingSettings(em: EntityManager, account: Account): Promise<BillingSettings> {
  const rates = await em.find(
    TaxRate,
    { accountId: account.id, archivedAt: null },
    { disableIdentityMap: true, orderBy: { position: 'asc' } },
  );
  const { gracePeriodHours, retryAfterDays, dunningEnd, taxExempt } = account;
  const taxRates = rates.map(({ name, percent, inclusive }) => ({ name, percent: new Decimal(percent), inclusive }));
  return { gracePeriodHours, retryAfterDays, dunningEnd, taxExempt, taxRates };
}
