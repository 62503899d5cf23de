import { majorUnits } from '../domain/money.js';
import { rawNumber } from '../platform/exactJson.js';
import type { Wallet } from './wallet.entity.js';

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
    },
  };
}
