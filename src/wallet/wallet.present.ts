import { majorUnits } from '../domain/money.js';
import { rawNumber } from '../platform/exactJson.js';
import { publicId } from '../platform/ids.js';
import type { Wallet, WalletGrant, WalletHold } from './wallet.entity.js';

/** REST shape of the wallet (integration guide, "Check Balance"); also the `data` of its events. */
export function presentWallet({ wallet, balanceMinor }: { wallet: Wallet; balanceMinor: bigint }) {
  const amount = (minorUnits: bigint | null | undefined) =>
    minorUnits == null ? null : rawNumber(majorUnits({ minorUnits, currency: wallet.currency }));
  return {
    balance: amount(balanceMinor),
    currency: wallet.currency,
    auto_recharge: {
      enabled: wallet.autoRechargeEnabled,
      threshold: amount(wallet.autoRechargeThresholdMinor),
      amount: amount(wallet.autoRechargeAmountMinor),
      // Only where there is one: the guide's wallet has none.
      ...(wallet.autoRechargeMonthlyLimitMinor == null
        ? {}
        : { monthly_limit: amount(wallet.autoRechargeMonthlyLimitMinor) }),
    },
  };
}

/** A grant as its events show it, beside the wallet. */
export function presentGrant(grant: WalletGrant) {
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
export function presentHold(hold: WalletHold) {
  const amount = (minorUnits: bigint) => rawNumber(majorUnits({ minorUnits, currency: hold.currency }));
  return {
    id: publicId('hold', hold.id),
    status: hold.status.toLowerCase(),
    amount: amount(hold.amountMinor),
    captured: amount(hold.capturedMinor),
    currency: hold.currency,
    description: hold.description,
    expires_at: hold.expiresAt.toISOString(),
    created_at: hold.createdAt.toISOString(),
    ended_at: hold.endedAt?.toISOString() ?? null,
  };
}
