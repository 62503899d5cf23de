import { publicId } from '../platform/ids.js';
import type { PaymentMethod } from './payment.entity.js';

/** REST shape of a payment method; also the `data` of its events. */
export const presentPaymentMethod = (method: PaymentMethod) => ({
  id: publicId('paymentMethod', method.id),
  type: method.type,
  brand: method.brand ?? null,
  last4: method.last4 ?? null,
  exp_month: method.expMonth ?? null,
  exp_year: method.expYear ?? null,
  is_default: method.isDefault,
});
