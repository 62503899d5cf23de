import { majorUnits } from '../domain/money.js';
import type { grant as grantShape, hold as holdShape, Shape, wallet as walletShape } from '../domain/resources.js';
import { lowerCase } from '../domain/shape.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { Wallet, WalletGrant, WalletHold } from './wallet.entity.js';

/** REST shape of the wallet (integration guide, "Check Balance"); also the `data` of its events. */
export function presentWallet({
  wallet,
  balanceMinor,
}: {
  wallet: Wallet;
  balanceMinor: bigint;
}): Shape<typeof walletShape> {
  const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: wallet.currency }));
  const amountOrNull = (minorUnits: bigint | null | undefined) => (minorUnits == null ? null : amount(minorUnits));
  return {
    balance: amount(balanceMinor),
    currency: wallet.currency,
    auto_recharge: {
      enabled: wallet.autoRechargeEnabled,
      threshold: amountOrNull(wallet.autoRechargeThresholdMinor),
      amount: amountOrNull(wallet.autoRechargeAmountMinor),
      // Only where there is one: the guide's wallet has none.
      ...(wallet.autoRechargeMonthlyLimitMinor == null
        ? {}
        : { monthly_limit: amount(wallet.autoRechargeMonthlyLimitMinor) }),
    },
  };
}

/** A grant as its events show it, beside the wallet. */
export function presentGrant(grant: WalletGrant): Shape<typeof grantShape> {
  const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: grant.currency }));
  return {
    id: publicId('creditGrant', grant.id),
    kind: grant.kind,
    amount: amount(grant.amountMinor),
    remaining: amount(grant.remainingMinor),
    held: amount(grant.heldMinor),
    currency: grant.currency,
    priority: grant.priority,
    expires_at: grant.expiresAt?.toISOString() ?? null,
    reason: grant.reason ?? null,
    created_at: grant.createdAt.toISOString(),
  };
}

/** The `data` of a hold's events. */
export function presentHold(hold: WalletHold): Shape<typeof holdShape> {
  const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: hold.currency }));
  return {
    id: publicId('hold', hold.id),
    status: lowerCase(hold.status),
    amount: amount(hold.amountMinor),
    captured: amount(hold.capturedMinor),
    currency: hold.currency,
    description: hold.description,
    expires_at: hold.expiresAt.toISOString(),
    created_at: hold.createdAt.toISOString(),
    ended_at: hold.endedAt?.toISOString() ?? null,
  };
}
