import { fromString, fromUUID, parseTypeId, toUUID } from 'typeid-js';
import { v7 } from 'uuid';

/** The prefix of every public id, by what it names. */
export const idPrefixes = {
  account: 'acct',
  apiKey: 'key',
  plan: 'plan',
  metric: 'met',
  paymentMethod: 'pm',
  payment: 'pay',
  wallet: 'wal',
  walletTransaction: 'wtx',
  ledgerMovement: 'mov',
  creditGrant: 'cg',
  hold: 'hold',
  invoice: 'inv',
  invoiceLine: 'il',
  invoiceItem: 'ii',
  creditNote: 'cn',
  appliedCoupon: 'ac',
  refund: 're',
  dispute: 'dp',
  subscription: 'sub',
  event: 'evt',
  webhookEndpoint: 'we',
  webhookDelivery: 'whd',
} as const;

export type IdKind = keyof typeof idPrefixes;

const kindByPrefix = new Map<string, IdKind>(
  Object.entries(idPrefixes).map(([kind, prefix]) => [prefix, kind as IdKind]),
);

/**
 * A new UUIDv7: sorts by time of creation, so a primary key is also a keyset cursor. By `uuid`, because it counts on within
 * a millisecond, where Node's own generator is unordered.
 */
export const newId = (): string => v7();

/** Smaller than every id made at this time or later, and larger than all before; whatever clock an account lives by. */
export const firstIdAt = (at: Date): string => {
  const ms = Math.max(0, at.getTime()).toString(16).padStart(12, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7000-8000-000000000000`;
};

/** A uuid as callers see it: `inv_01jd…` (TypeID, https://github.com/jetify-com/typeid). */
export const publicId = (kind: IdKind, uuid: string): string => fromUUID(uuid, idPrefixes[kind]);

/** The uuid behind a public id; `undefined` for malformed ids and those of another kind. */
export function uuidOf(kind: IdKind, id: string): string | undefined {
  const parsed = anyIdOf(id);
  return parsed?.kind === kind ? parsed.uuid : undefined;
}

/** Kind and uuid of any public id; `undefined` when malformed. */
export function anyIdOf(id: string): { kind: IdKind; uuid: string } | undefined {
  try {
    const typeId = fromString(id);
    const kind = kindByPrefix.get(parseTypeId(typeId).prefix);
    return kind === undefined ? undefined : { kind, uuid: toUUID(typeId) };
  } catch {
    return undefined; // not a TypeID: callers answer as for an unknown id
  }
}
