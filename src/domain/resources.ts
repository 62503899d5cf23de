import { z } from 'zod';
import { amount, currency, day, decimal, flag, id, instant, text, whole } from './shape.js';

/**
 * The objects of the REST API, which are the `data` of events too. What presents one has its shape as its type, so that a
 * member that is added, removed or renamed on one side only doesn't compile.
 */

export const subscription = z
  .strictObject({
    id: id('sub'),
    plan_id: text.meta({ description: 'The code of the plan' }),
    quantity: whole,
    status: z.enum(['incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled']),
    current_period_start: day,
    current_period_end: day.meta({ description: 'The last day of the period, which belongs to it' }),
    trial_ends_at: instant.nullable(),
    cancel_at: instant.nullable(),
    canceled_at: instant.nullable(),
    pending_plan_id: text.nullable().meta({ description: 'The plan that takes over when the period ends' }),
    pending_quantity: whole.nullable(),
    paused_at: instant.nullable(),
    resume_at: instant.nullable(),
    created_at: instant,
  })
  .meta({ id: 'Subscription' });

const period = { period_start: day.nullable(), period_end: day.nullable() };
const tax = z
  .strictObject({
    name: text,
    percent: decimal,
    inclusive: flag.meta({ description: 'Contained in the prices, not on top of them' }),
    taxable: amount,
    amount,
  })
  .meta({ id: 'AppliedTax' });

export const invoice = z
  .strictObject({
    id: id('inv'),
    number: text.nullable().meta({ description: 'Without gaps, given when the invoice is finalised' }),
    status: z.enum(['draft', 'open', 'paid', 'uncollectible', 'void']),
    subscription_id: id('sub').nullable(),
    currency,
    ...period,
    issued_at: instant.nullable(),
    due_at: instant.nullable(),
    finalizes_at: instant.nullable().meta({ description: 'Until then a draft waits for late usage' }),
    subtotal: amount,
    discount: amount,
    discounts: z.array(z.strictObject({ code: text, name: text, amount })),
    tax: amount,
    taxes: z.array(tax),
    tax_exempt: flag,
    total: amount,
    credit_noted: amount,
    credit_applied: amount,
    wallet_applied: amount,
    amount_paid: amount,
    amount_due: amount,
    next_payment_attempt_at: instant.nullable(),
    lines: z.array(
      z.strictObject({
        id: id('il'),
        description: text,
        ...period,
        quantity: decimal,
        unit_amount: decimal.nullable(),
        amount,
        discount: amount,
        kind: z.enum(['fee', 'proration_credit', 'proration_charge', 'usage', 'minimum_spend', 'one_off']),
        proration: flag,
      }),
    ),
    pdf_url: text.meta({ description: 'A path; it takes the same token as everything else' }),
  })
  .meta({ id: 'Invoice' });

export const refund = z
  .strictObject({
    id: id('re'),
    payment_id: id('pay'),
    amount,
    currency,
    status: z.enum(['pending', 'succeeded', 'failed']),
    failure_code: text.nullable(),
    created_at: instant,
    settled_at: instant.nullable(),
  })
  .meta({ id: 'Refund' });

/** A refund that pays a credit note out. */
export const noteRefund = refund.extend({ credit_note_id: id('cn') }).meta({ id: 'CreditNoteRefund' });

export const creditNote = z
  .strictObject({
    id: id('cn'),
    number: text,
    invoice_id: id('inv'),
    kind: z.enum(['credit', 'refund']),
    status: z.enum(['issued', 'void']),
    reason: text,
    currency,
    subtotal: amount,
    tax: amount,
    taxes: z.array(tax),
    total: amount,
    applied_to_invoice: amount,
    refunded: amount,
    returned_to_wallet: amount,
    balance: amount.meta({ description: 'Credit that later invoices will take' }),
    issued_at: instant,
    voided_at: instant.nullable(),
    lines: z.array(z.strictObject({ invoice_line_id: id('il'), description: text, amount })),
    refunds: z.array(noteRefund),
    pdf_url: text,
  })
  .meta({ id: 'CreditNote' });

export const dispute = z
  .strictObject({
    id: id('dp'),
    payment_id: id('pay'),
    amount,
    currency,
    reason: text,
    status: z.enum(['open', 'won', 'lost']),
  })
  .meta({ id: 'Dispute' });

export const paymentMethod = z
  .strictObject({
    id: id('pm'),
    type: text,
    brand: text.nullable(),
    last4: text.nullable(),
    exp_month: whole.nullable(),
    exp_year: whole.nullable(),
    is_default: flag,
  })
  .meta({ id: 'PaymentMethod' });

export const appliedCoupon = z
  .strictObject({
    id: id('ac'),
    code: text,
    name: text,
    amount_off: amount.nullable(),
    currency: currency.nullable(),
    percent_off: decimal.nullable(),
    periods_left: whole.nullable().meta({ description: 'null: for ever' }),
    applied_at: instant,
    ended_at: instant.nullable(),
  })
  .meta({ id: 'AppliedCoupon' });

const windowPeriod = { period_start: day, period_end: day, starts_at: instant, ends_at: instant };

export const threshold = z
  .strictObject({
    metric: text,
    threshold_percent: whole,
    limit: decimal.nullable(),
    used: decimal,
    ...windowPeriod,
  })
  .meta({ id: 'UsageThreshold' });

const content = z.strictObject({
  value: decimal.nullable(),
  timestamp: instant,
  properties: z.record(z.string(), z.unknown()).nullable(),
});

export const correction = z
  .strictObject({
    transaction_id: text,
    metric: text,
    action: z.enum(['void', 'replace']),
    reason: text.nullable(),
    before: content,
    after: content.nullable().meta({ description: 'null: the event was taken back' }),
    used: decimal.meta({ description: 'Of its period, since' }),
    ...windowPeriod,
  })
  .meta({ id: 'UsageCorrection' });

export const wallet = z
  .strictObject({
    balance: amount,
    currency,
    auto_recharge: z.strictObject({
      enabled: flag,
      threshold: amount.nullable(),
      amount: amount.nullable(),
      monthly_limit: amount.optional(),
    }),
  })
  .meta({ id: 'Wallet' });

export const grant = z
  .strictObject({
    id: id('cg'),
    kind: z.enum(['purchased', 'granted']),
    amount,
    remaining: amount,
    held: amount,
    currency,
    priority: whole,
    expires_at: instant.nullable(),
    reason: text.nullable(),
    created_at: instant,
  })
  .meta({ id: 'CreditGrant' });

export const hold = z
  .strictObject({
    id: id('hold'),
    status: z.enum(['open', 'captured', 'released', 'expired']),
    amount,
    captured: amount,
    currency,
    description: text,
    expires_at: instant,
    created_at: instant,
    ended_at: instant.nullable(),
  })
  .meta({ id: 'WalletHold' });

export const webhookEndpoint = z
  .strictObject({
    id: id('we'),
    url: text,
    events: z.array(text).meta({ description: 'Types of events it gets, or kinds as invoice.*; empty: all' }),
    enabled: flag,
    disabled_at: instant.nullable(),
    disabled_reason: z
      .enum(['failing', 'gone', 'owner'])
      .nullable()
      .meta({ description: 'It failed for five days, it answered 410, or its owner disabled it' }),
    failing_since: instant.nullable().meta({ description: 'The first failure after the last success' }),
    created_at: instant,
  })
  .meta({ id: 'WebhookEndpoint' });

/** An object as it is presented, for the return type of whatever presents it. */
export type Shape<Of extends z.ZodType> = z.output<Of>;
