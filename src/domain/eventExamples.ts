import type { z } from 'zod';
import type { EventType } from './events.js';
import { rawNumber } from './rawNumber.js';
import type * as shapes from './resources.js';

/** Numbers with the digits that the product writes. */
const n = rawNumber;

type Of<Name extends Exclude<keyof typeof shapes, 'Shape'>> = z.output<(typeof shapes)[Name]>;

// One story: an account on the Starter plan, its card, its second invoice, and what may become of them.
const ids = {
  subscription: 'sub_01kavw8481f4ytbk270sjvv038',
  invoice: 'inv_01kavw84g2e6gte34831ms3am5',
  line: 'il_01kavw84r3e5mtzbqbjzebygdr',
  method: 'pm_01kavw8585fznt15m5faaamqyn',
  payment: 'pay_01kavw85g6fa8akpbeg9233cvb',
  note: 'cn_01kavw85r7ejptdsd4qfsprcbm',
  refund: 're_01kavw8608frstc2hdv08a9czs',
  dispute: 'dp_01kavw8689ew3a0p988983czjb',
  coupon: 'ac_01kavw86gaf4qtkfty1swdajav',
  grant: 'cg_01kavw86rbftna6xf0z5hsnwb0',
  hold: 'hold_01kavw870ce67tezqxyfyrwxhq',
  endpoint: 'we_01kavw878gf1ssyk4npyq1c0pz',
};

const subscription: Of<'subscription'> = {
  id: ids.subscription,
  plan_id: 'plan_starter',
  quantity: 1,
  status: 'active',
  current_period_start: '2026-11-25',
  current_period_end: '2026-12-24',
  trial_ends_at: null,
  cancel_at: null,
  canceled_at: null,
  pending_plan_id: null,
  pending_quantity: null,
  paused_at: null,
  resume_at: null,
  created_at: '2026-10-25T09:00:00.000Z',
};

const vat = { name: 'VAT', percent: n('19'), inclusive: false, taxable: n('49.00'), amount: n('9.31') };

const openInvoice: Of<'invoice'> = {
  id: ids.invoice,
  number: 'ACME-000002',
  status: 'open',
  subscription_id: ids.subscription,
  currency: 'USD',
  period_start: '2026-11-25',
  period_end: '2026-12-24',
  issued_at: '2026-11-25T09:00:00.000Z',
  due_at: '2026-11-25T09:00:00.000Z',
  finalizes_at: null,
  subtotal: n('49.00'),
  discount: n('0.00'),
  discounts: [],
  tax: n('9.31'),
  taxes: [vat],
  tax_exempt: false,
  total: n('58.31'),
  credit_noted: n('0.00'),
  credit_applied: n('0.00'),
  wallet_applied: n('0.00'),
  amount_paid: n('0.00'),
  amount_due: n('58.31'),
  next_payment_attempt_at: null,
  lines: [
    {
      id: ids.line,
      description: 'Starter',
      period_start: '2026-11-25',
      period_end: '2026-12-24',
      quantity: n('1'),
      unit_amount: n('49'),
      amount: n('49.00'),
      discount: n('0.00'),
      kind: 'fee',
      proration: false,
    },
  ],
  pdf_url: `/api/v1/billing/invoices/${ids.invoice}/pdf`,
};
const paid = { status: 'paid', amount_paid: n('58.31'), amount_due: n('0.00') } as const;

const card: Of<'paymentMethod'> = {
  id: ids.method,
  type: 'card',
  brand: 'visa',
  last4: '4242',
  exp_month: 12,
  exp_year: 2030,
  is_default: true,
};

const refund: Of<'noteRefund'> = {
  id: ids.refund,
  credit_note_id: ids.note,
  payment_id: ids.payment,
  amount: n('11.90'),
  currency: 'USD',
  status: 'succeeded',
  failure_code: null,
  created_at: '2026-11-26T10:00:00.000Z',
  settled_at: '2026-11-26T10:00:01.000Z',
};

const creditNote: Of<'creditNote'> = {
  id: ids.note,
  number: 'ACME-CN-000001',
  invoice_id: ids.invoice,
  kind: 'refund',
  status: 'issued',
  reason: 'Two days without service',
  currency: 'USD',
  subtotal: n('10.00'),
  tax: n('1.90'),
  taxes: [{ ...vat, taxable: n('10.00'), amount: n('1.90') }],
  total: n('11.90'),
  applied_to_invoice: n('0.00'),
  refunded: n('11.90'),
  returned_to_wallet: n('0.00'),
  balance: n('0.00'),
  issued_at: '2026-11-26T10:00:00.000Z',
  voided_at: null,
  lines: [{ invoice_line_id: ids.line, description: 'Starter', amount: n('10.00') }],
  refunds: [{ ...refund, status: 'pending', settled_at: null }],
  pdf_url: `/api/v1/billing/credit-notes/${ids.note}/pdf`,
};

const dispute: Of<'dispute'> = {
  id: ids.dispute,
  payment_id: ids.payment,
  amount: n('58.31'),
  currency: 'USD',
  reason: 'fraudulent',
  status: 'open',
};

const coupon: Of<'appliedCoupon'> = {
  id: ids.coupon,
  code: 'WELCOME25',
  name: 'Welcome',
  amount_off: null,
  currency: null,
  percent_off: n('25'),
  periods_left: 3,
  applied_at: '2026-11-25T09:00:00.000Z',
  ended_at: null,
};

const window = {
  period_start: '2026-11-25',
  period_end: '2026-12-24',
  starts_at: '2026-11-25T00:00:00.000Z',
  ends_at: '2026-12-25T00:00:00.000Z',
};
const threshold: Of<'threshold'> = {
  metric: 'voice_minutes',
  threshold_percent: 80,
  limit: n('500'),
  used: n('412.5'),
  ...window,
};

const wallet: Of<'wallet'> = {
  balance: n('250.00'),
  currency: 'USD',
  auto_recharge: { enabled: true, threshold: n('50.00'), amount: n('100.00') },
};
const grant: Of<'grant'> = {
  id: ids.grant,
  kind: 'granted',
  amount: n('20.00'),
  remaining: n('20.00'),
  held: n('0.00'),
  currency: 'USD',
  priority: 100,
  expires_at: '2027-01-01T00:00:00.000Z',
  reason: 'Welcome',
  created_at: '2026-11-25T09:00:00.000Z',
};
const hold: Of<'hold'> = {
  id: ids.hold,
  status: 'open',
  amount: n('25.00'),
  captured: n('0.00'),
  currency: 'USD',
  description: 'Campaign 7',
  expires_at: '2026-11-26T09:00:00.000Z',
  created_at: '2026-11-25T09:00:00.000Z',
  ended_at: null,
};
const endedAt = '2026-11-25T15:00:00.000Z';
const retryAt = '2026-11-26T09:00:00.000Z';

/** What each type of event carries, as the product emits it. */
const examples: Readonly<Record<EventType, object>> = {
  'subscription.created': subscription,
  'subscription.updated': { ...subscription, plan_id: 'plan_professional' },
  'subscription.canceled': { ...subscription, status: 'canceled', canceled_at: '2026-11-28T12:00:00.000Z' },
  'invoice.paid': { ...openInvoice, ...paid },
  'invoice.failed': { ...openInvoice, next_payment_attempt_at: retryAt, decline_code: 'insufficient_funds' },
  'usage.threshold': threshold,
  'usage.threshold_cleared': { ...threshold, limit: n('5000') },
  'subscription.renewed': subscription,
  'subscription.past_due': { ...subscription, status: 'past_due' },
  'invoice.finalized': openInvoice,
  'invoice.payment_action_required': openInvoice,
  'invoice.uncollectible': { ...openInvoice, status: 'uncollectible' },
  'invoice.voided': { ...openInvoice, status: 'void', amount_due: n('0.00') },
  'payment_method.added': card,
  'payment_method.updated': { ...card, exp_year: 2034, last4: '1881' },
  'payment_method.removed': { ...card, is_default: false },
  'payment_method.expiring': { ...card, exp_year: 2026 },
  'subscription.trial_ending': { ...subscription, status: 'trialing', trial_ends_at: '2026-12-25T00:00:00.000Z' },
  'subscription.paused': {
    ...subscription,
    status: 'paused',
    paused_at: '2026-11-28T12:00:00.000Z',
    resume_at: '2027-01-01T00:00:00.000Z',
  },
  'subscription.resumed': { ...subscription, current_period_start: '2027-01-01', current_period_end: '2027-01-31' },
  'invoice.created': {
    ...openInvoice,
    number: null,
    status: 'draft',
    issued_at: null,
    due_at: null,
    finalizes_at: '2026-11-26T09:00:00.000Z',
  },
  'credit_note.created': creditNote,
  'credit_note.voided': {
    ...creditNote,
    kind: 'credit',
    status: 'void',
    refunded: n('0.00'),
    refunds: [],
    voided_at: '2026-11-27T10:00:00.000Z',
  },
  'refund.succeeded': refund,
  'refund.failed': { ...refund, status: 'failed', failure_code: 'expired_or_canceled_card' },
  'dispute.opened': dispute,
  'dispute.closed': { ...dispute, status: 'won' },
  'coupon.applied': coupon,
  'coupon.removed': { ...coupon, ended_at: '2026-11-28T12:00:00.000Z' },
  'usage.corrected': {
    transaction_id: 'call-81',
    metric: 'voice_minutes',
    action: 'replace',
    reason: 'Counted in seconds',
    before: { value: n('600'), timestamp: '2026-11-25T10:00:00.000Z', properties: { region: 'eu' } },
    after: { value: n('10'), timestamp: '2026-11-25T10:00:00.000Z', properties: { region: 'eu' } },
    used: n('412.5'),
    ...window,
  } satisfies Of<'correction'>,
  'wallet.topped_up': { ...wallet, payment_id: ids.payment },
  'wallet.top_up_failed': { ...wallet, payment_id: ids.payment, decline_code: 'card_declined' },
  'wallet.credited': { ...wallet, grant },
  'wallet.drawn_down': { ...wallet, balance: n('191.69'), invoice_id: ids.invoice },
  'wallet.updated': {
    ...wallet,
    auto_recharge: { ...wallet.auto_recharge, monthly_limit: n('500.00') },
  },
  'wallet.recharge_failed': {
    ...wallet,
    balance: n('12.50'),
    decline_code: 'insufficient_funds',
    next_attempt_at: '2026-11-25T10:00:00.000Z',
  },
  'wallet.recharge_capped': { ...wallet, balance: n('12.50'), next_attempt_at: '2026-12-01T00:00:00.000Z' },
  'wallet.low': {
    ...wallet,
    balance: n('45.00'),
    held: n('25.00'),
    available: n('20.00'),
    threshold: n('50.00'),
  },
  'wallet.credit_expired': {
    ...wallet,
    balance: n('230.00'),
    expired: n('20.00'),
    grant: { ...grant, remaining: n('0.00') },
  },
  'wallet.hold_created': hold,
  'wallet.hold_captured': { ...hold, status: 'captured', captured: n('18.40'), ended_at: endedAt },
  'wallet.hold_released': { ...hold, status: 'released', ended_at: endedAt },
  'wallet.hold_expired': { ...hold, status: 'expired', ended_at: hold.expires_at },
  'webhook_endpoint.disabled': {
    id: ids.endpoint,
    url: 'https://example.com/billing-events',
    events: ['invoice.*', 'usage.threshold'],
    enabled: false,
    disabled_at: '2026-11-30T09:00:07.000Z',
    disabled_reason: 'failing',
    failing_since: '2026-11-25T09:00:02.000Z',
    created_at: '2026-10-25T09:00:00.000Z',
    reason: 'failing',
  },
};

/** The `data` of a typical event of this type, as it is emitted: the log adds `sequence`. */
export const exampleOf = (type: EventType): object => examples[type];

/** The same as a webhook brings it. */
export const exampleDelivery = (type: EventType): { type: EventType; timestamp: string; data: object } => ({
  type,
  timestamp: '2026-11-25T09:00:00.000Z',
  data: { ...exampleOf(type), sequence: 42 },
});
