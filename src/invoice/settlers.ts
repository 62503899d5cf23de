import type { Settlers } from '../payment/applyProviderEvent.js';
import type { Deps } from '../platform/deps.js';
import { settleRecharge } from '../wallet/autoRecharge.js';
import { settleTopUpRefund } from '../wallet/refundTopUp.js';
import { settleTopUp } from '../wallet/topUp.js';
import { settleInvoicePayment } from './collectInvoice.js';
import { settleCreditNoteRefund } from './refundCreditNote.js';

/** Which use case settles a payment, by what it pays, and a refund, by what goes back. */
export const settlersOf = (deps: Pick<Deps, 'db' | 'clock'>): Settlers => ({
  payment: {
    invoice: (settled) => settleInvoicePayment(deps, settled),
    top_up: (settled) => settleTopUp(deps, settled),
    recharge: (settled) => settleRecharge(deps, settled),
  },
  refund: {
    credit_note: (settled) => settleCreditNoteRefund(deps, settled),
    top_up: (settled) => settleTopUpRefund(deps, settled),
  },
});
