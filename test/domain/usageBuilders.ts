import { Decimal } from '../../src/domain/decimal.js';
import type { ChargeModel } from '../../src/domain/rating.js';
import type { UsageDecision, UsageEvent, UsageWindow } from '../../src/domain/usage.js';

export const hourMs = 3_600_000;
export const april = { start: new Date('2026-04-01T00:00:00Z'), end: new Date('2026-05-01T00:00:00Z') };
export const may = { start: april.end, end: new Date('2026-06-01T00:00:00Z') };
export const now = new Date('2026-04-15T12:00:00Z');

export const unitCharge = (unitPrice: string): ChargeModel => ({
  model: 'unit',
  unitPrice,
  freeUnits: '0',
  minimum: '0',
});

export const usageWindow = (
  given: Partial<Omit<UsageWindow, 'used' | 'limit' | 'charge'>> & {
    used?: string;
    limit?: string | null;
    charge?: ChargeModel;
  } = {},
): UsageWindow => ({
  id: 'april',
  metric: 'voice_minutes',
  aggregation: 'SUM',
  period: april,
  overage: 'ALLOW',
  currency: 'USD',
  eventCount: 0,
  latestAt: null,
  percents: [80, 90, 100],
  fired: [],
  property: null,
  knownValues: new Set(),
  opening: null,
  level: null,
  accrued: null,
  readings: null,
  closedAt: null,
  draftInvoiceId: null,
  billedAt: (given.period ?? april).end,
  ...given,
  used: new Decimal(given.used ?? 0),
  charge: given.charge ?? null,
  limit: given.limit === null ? null : new Decimal(given.limit ?? 100),
});

export const usageEvent = (
  transactionId: string,
  value: string,
  given: Partial<Omit<UsageEvent, 'value'>> = {},
): UsageEvent => ({
  transactionId,
  metric: 'voice_minutes',
  timestamp: now,
  ...given,
  value: new Decimal(value),
});

export const statuses = (decisions: readonly UsageDecision[]) =>
  decisions.map((decision) => (decision.status === 'REJECTED' ? decision.code : decision.status));
