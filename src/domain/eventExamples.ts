import type { EventType } from './events.js';

const created = '2026-04-01T09:00:00.000Z';

/** The `data` of an event as it may look, in the REST shape; of a type that has no example here, an object with an id alone. */
export const exampleOf = (type: EventType): object => examples[type] ?? { id: 'example' };

const examples: Partial<Record<EventType, object>> = {
  'invoice.paid': {
    id: 'inv_01jqrsx5fyfa8tx6v8m0q3n1zk',
    number: 'INV-000001',
    status: 'paid',
    currency: 'USD',
    total: 49,
    amount_due: 0,
    created_at: created,
  },
  'subscription.created': {
    id: 'sub_01jqrsx5fyfa8tx6v8m0q3n1zm',
    plan_id: 'plan_professional',
    status: 'active',
    created_at: created,
  },
  'usage.threshold': { metric: 'voice_minutes', threshold: 80, used: 4000, limit: 5000 },
};
