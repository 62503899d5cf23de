import { z } from 'zod';
import { correction, webhookEndpoint } from '../domain/resources.js';
import { amount, currency, day, decimal, flag, id, instant, text, whole } from '../domain/shape.js';

/** The answers of the REST shim that are no resource of the event catalogue. */

export const plan = z
  .strictObject({
    id: text.meta({ description: 'The code of the plan' }),
    name: text,
    price: amount,
    currency,
    interval: z.enum(['day', 'week', 'month', 'year']),
    interval_count: whole.optional().meta({ description: 'Only where it is not 1' }),
    features: z.record(z.string(), z.union([z.literal(true), decimal.nullable()])).meta({
      description: 'The limit of each metric (null: none), or true for what is simply there',
    }),
  })
  .meta({ id: 'Plan' });

/** `users: {limit, used}`, `storage: {limit_gb, used_gb}`: the members are the metrics of the plan. */
export const usage = z
  .object({ period_start: day, period_end: day })
  .catchall(z.record(z.string(), decimal.nullable()))
  .meta({ id: 'Usage' });

export const usageResult = z.strictObject({
  transaction_id: text,
  status: z.enum(['accepted', 'duplicate', 'rejected']),
  error: z.strictObject({ code: text, message: text, field: text.nullable() }).optional(),
});

const content = correction.shape.before;
export const madeCorrection = z.strictObject({
  transaction_id: text,
  action: z.enum(['void', 'replace']),
  before: content,
  after: content.nullable(),
  reason: text.nullable(),
  created_at: instant,
});

export const proposal = z.strictObject({
  kind: z.enum(['credit_note', 'extra_line']),
  metric: text,
  invoice_id: id('inv').nullable(),
  invoice_line_id: id('il').nullable(),
  currency,
  previous_amount: amount,
  corrected_amount: amount,
  difference: amount,
  amount,
});

export const topUp = z
  .strictObject({
    id: id('pay'),
    amount,
    currency,
    status: z.enum(['pending', 'requires_action', 'succeeded', 'failed', 'refunded']),
    balance: amount.meta({ description: 'Of the wallet, after this very top-up' }),
    created_at: instant,
  })
  .meta({ id: 'TopUp' });

export const walletTransaction = z.strictObject({
  id: id('wtx'),
  type: text,
  amount: amount.meta({ description: 'What was taken is negative' }),
  currency,
  balance_after: amount.nullable(),
  created_at: instant,
});

export const event = z
  .strictObject({
    id: id('evt'),
    type: text,
    sequence: whole,
    timestamp: instant,
    data: z.record(z.string(), z.unknown()).meta({ description: 'As a webhook of this type has it' }),
  })
  .meta({ id: 'Event' });

/** As the answer that makes or rotates its secret has it. */
export const webhookEndpointWithSecret = webhookEndpoint
  .extend({ secret: text.meta({ description: 'whsec_…, in no other answer' }) })
  .meta({ id: 'WebhookEndpointWithSecret' });

export const webhookDelivery = z
  .strictObject({
    id: id('whd'),
    event_id: id('evt'),
    event_type: text.nullable(),
    test: flag.meta({ description: 'An example that was asked for: no event of the account' }),
    status: z.enum(['pending', 'delivered', 'failed']),
    attempts: whole,
    next_attempt_at: instant.nullable(),
    response_status: whole.nullable(),
    duration_ms: whole.nullable(),
    created_at: instant,
  })
  .meta({ id: 'WebhookDelivery' });

/** With its log of attempts, oldest first. */
export const loggedDelivery = webhookDelivery
  .extend({
    log: z.array(
      z.strictObject({
        attempted_at: instant,
        response_status: whole.nullable(),
        duration_ms: whole,
        response_excerpt: text.meta({ description: 'The first 1 kB of the answer' }),
        error: text.nullable(),
      }),
    ),
  })
  .meta({ id: 'LoggedWebhookDelivery' });

export const testClock = z
  .strictObject({ now: instant, target: instant, status: z.enum(['ready', 'advancing']) })
  .meta({ id: 'TestClock' });
