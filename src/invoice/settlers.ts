import type { Settlers } from '../payment/applyProviderEvent.js';
import type { Deps } from '../platform/deps.js';
import { settleRecharge } from '../wallet/autoRecharge.js';
import { settleTopUp } from '../wallet/topUp.js';
import { settleInvoicePayment } from './collectInvoice.js';
import { settleCreditNoteRefund } from './refundCreditNote.js';

/** Which use case settles a payment, by what it pays. */
export const settlersOf = (deps: Pick<Deps, 'db' | 'clock'>): Settlers => ({
  payment: {
    invoice: (settled) => settleInvoicePayment(deps, settled),
    top_up: (settled) => settleTopUp(deps, settled),
    recharge: (settled) => settleRecharge(deps, settled),
  },
  refund: (settled) => settleCreditNoteRefund(deps, settled),
});
