import { type IdKind, publicId } from '../platform/ids.js';

/**
 * What each type of movement is about: `reference_id` is the uuid of one of these; null: of its entries in grants, which no public
 * id names. A movement of another type is unknown to `billing ledger verify`.
 */
export const movementDocuments = {
  top_up: 'payment',
  invoice_payment: 'payment',
  invoice_issued: 'invoice',
  invoice_voided: 'invoice',
  credit: 'invoice',
  credit_granted: 'creditGrant',
  credit_expired: null,
  hold_captured: 'hold',
  wallet_payment: 'invoice',
  wallet_payment_returned: 'invoice',
  credit_applied: 'invoice',
  credit_returned: 'invoice',
  credit_note: 'creditNote',
  credit_note_voided: 'creditNote',
  top_up_refund: 'refund',
  refund: 'refund',
  refund_failed: 'refund',
  refund_returned: 'refund',
} as const satisfies Readonly<Record<string, IdKind | null>>;

export type MovementType = keyof typeof movementDocuments;

/** The public id of what a movement is about; null: of nothing that has one. */
export function documentIdOf({ type, referenceId }: { type: string; referenceId: string }): string | null {
  const kind = (movementDocuments as Readonly<Record<string, IdKind | null>>)[type];
  return kind == null ? null : publicId(kind, referenceId);
}
