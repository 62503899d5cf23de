import { majorUnits } from '../domain/money.js';
import type { dispute as disputeShape, paymentMethod, refund as refundShape, Shape } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { Dispute, PaymentMethod, Refund } from './payment.entity.js';

/** REST shape of a payment method; also the `data` of its events. */
export const presentPaymentMethod = (method: PaymentMethod): Shape<typeof paymentMethod> => ({
  id: publicId('paymentMethod', method.id),
  type: method.type,
  brand: method.brand ?? null,
  last4: method.last4 ?? null,
  exp_month: method.expMonth ?? null,
  exp_year: method.expYear ?? null,
  is_default: method.isDefault,
});

/** REST shape of a refund; also the `data` of its events. Whoever owns it adds what it belongs to. */
export const presentRefund = (refund: Refund): Shape<typeof refundShape> => ({
  id: publicId('refund', refund.id),
  payment_id: publicId('payment', refund.paymentId),
  amount: rawNumber(majorUnits({ minorUnits: refund.amountMinor, currency: refund.currency })),
  currency: refund.currency,
  status: lowerCase(refund.status),
  failure_code: refund.failureCode ?? null,
  created_at: refund.createdAt.toISOString(),
  settled_at: refund.settledAt?.toISOString() ?? null,
});

/** The `data` of a dispute's events. */
export const presentDispute = (dispute: Dispute): Shape<typeof disputeShape> => ({
  id: publicId('dispute', dispute.id),
  payment_id: publicId('payment', dispute.paymentId),
  amount: rawNumber(majorUnits({ minorUnits: dispute.amountMinor, currency: dispute.currency })),
  currency: dispute.currency,
  reason: dispute.reason,
  status: lowerCase(dispute.status),
});
