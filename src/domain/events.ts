/** Every event type, spelled once. The first six are the integration guide's. Past tense: they tell what happened. */
export const eventTypes = [
  'subscription.created',
  'subscription.updated',
  'subscription.canceled',
  'invoice.paid',
  'invoice.failed',
  'usage.threshold',
  'usage.threshold_cleared',
  'subscription.renewed',
  'subscription.past_due',
  'invoice.finalized',
  'invoice.payment_action_required',
  'invoice.uncollectible',
  'invoice.voided',
  'payment_method.added',
  'payment_method.updated',
  'payment_method.removed',
  'payment_method.expiring',
  'subscription.trial_ending',
  'subscription.paused',
  'subscription.resumed',
  'invoice.created',
  'credit_note.created',
  'credit_note.voided',
  'refund.succeeded',
  'refund.failed',
  'dispute.opened',
  'dispute.closed',
  'coupon.applied',
  'coupon.removed',
  'usage.corrected',
  'wallet.topped_up',
  'wallet.top_up_failed',
  'wallet.credited',
  'wallet.drawn_down',
  'wallet.updated',
  'wallet.recharge_failed',
] as const;

export type EventType = (typeof eventTypes)[number];

const known: ReadonlySet<string> = new Set(eventTypes);
export const isEventType = (type: string): type is EventType => known.has(type);
