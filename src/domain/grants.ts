/** Bought (a top-up), or given: by an operator, by a change that left something over. */
export type GrantKind = 'purchased' | 'granted';

/** Credit that came into a wallet at once, as far as spending it goes. Amounts in minor units of the wallet's currency. */
export interface BurnableGrant {
  readonly id: string;
  readonly kind: GrantKind;
  /** 0 to 100; the lower number is spent first. */
  readonly priority: number;
  /** From then on it can't be spent; null: never. */
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
  /** What is left of it and not held. */
  readonly freeMinor: bigint;
}

export interface GrantPart {
  readonly grantId: string;
  readonly amountMinor: bigint;
}

/** The range of priorities and what a grant has without one, as Stripe's credit grants have them. */
export const grantPriority = { min: 0, max: 100, usual: 50 } as const;

/** Which of two grants is spent first: by priority, then the one that expires first, given before bought, the older one. */
export function burnsBefore(a: BurnableGrant, b: BurnableGrant): number {
  const never = Number.POSITIVE_INFINITY;
  return (
    a.priority - b.priority ||
    ascending(a.expiresAt?.getTime() ?? never, b.expiresAt?.getTime() ?? never) ||
    ascending(kindOrder[a.kind], kindOrder[b.kind]) ||
    ascending(a.createdAt.getTime(), b.createdAt.getTime()) ||
    ascending(a.id, b.id)
  );
}

const kindOrder: Readonly<Record<GrantKind, number>> = { granted: 0, purchased: 1 };
/** Not by subtraction: two grants that never expire would be `NaN` apart. */
const ascending = <T extends number | string>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

/** Has its time passed? Its last moment is the one before `expiresAt`. */
const isExpired = ({ expiresAt }: Pick<BurnableGrant, 'expiresAt'>, now: Date): boolean =>
  expiresAt !== null && expiresAt <= now;

/**
 * Takes up to `amountMinor` out of grants, in the order they are spent; the parts sum to the amount, or to all there is where
 * that is less. Credit counts until the sweep has taken it at its time: what a balance or a preview shows can be spent.
 */
export const burn = (grants: readonly BurnableGrant[], amountMinor: bigint): GrantPart[] =>
  upTo(
    grants.toSorted(burnsBefore).map(({ id, freeMinor }) => ({ grantId: id, amountMinor: freeMinor })),
    amountMinor,
  );

/** The first parts that make up an amount; the last of them is cut to fit. */
export function upTo<Part extends { readonly amountMinor: bigint }>(
  parts: readonly Part[],
  amountMinor: bigint,
): Part[] {
  let left = amountMinor;
  return parts.flatMap((part) => {
    const taken = part.amountMinor < left ? part.amountMinor : left;
    if (taken <= 0n) return [];
    left -= taken;
    return [{ ...part, amountMinor: taken }];
  });
}

/** What is still out of a grant for one purpose, such as an invoice. */
export interface TakenPart extends GrantPart {
  /** When its grant expires, or has expired. */
  readonly expiresAt: Date | null;
  /** How long before its expiry it was taken; of no meaning where it never expires. */
  readonly leftMs: number;
}

/** Credit on its way back; `livesUntil`: its grant had expired, and lives again until then. */
export interface ReturnedPart extends GrantPart {
  readonly livesUntil: Date | null;
}

/**
 * Puts up to `amountMinor` back where it came from. `taken` is in the order of taking; what was taken last comes back first,
 * as it would never have been taken for the smaller amount. A grant that has expired meanwhile lives again for as long as it
 * had left then: the time its credit was tied up doesn't count.
 */
export function giveBack(
  taken: readonly TakenPart[],
  { amountMinor, now }: { amountMinor: bigint; now: Date },
): ReturnedPart[] {
  return upTo(taken.toReversed(), amountMinor).map(({ grantId, amountMinor, expiresAt, leftMs }) => ({
    grantId,
    amountMinor,
    livesUntil: isExpired({ expiresAt }, now) ? new Date(now.getTime() + leftMs) : null,
  }));
}

/** What a capture takes of each part that a hold keeps: the first ones first. The rest of the hold is free again. */
export const capture = (
  held: readonly GrantPart[],
  capturedMinor: bigint,
): (GrantPart & { capturedMinor: bigint })[] => {
  const captured = upTo(held, capturedMinor);
  return held.map((part, i) => ({ ...part, capturedMinor: captured[i]?.amountMinor ?? 0n }));
};
